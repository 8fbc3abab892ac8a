"""The keeper: holds the descriptors of a worker, and starts the next worker with them when it dies.

    python -m vballoond.keeper -- COMMAND...

It is to its worker what systemd and its descriptor store are to a service, by the same protocol: sd_notify(3).
Guests die with the keeper, so it has no reason to die: it stands on the standard library and on nothing else of
vballoond.

keeper    the loop: signals, messages, the worker's end
store     the descriptors, and messages taken apart
worker    from the fork to the worker's first instruction
backoff   how long to wait before the next worker
"""

from .backoff import Backoff
from .keeper import Keeper
from .store import DescriptorStore, parse_message, same_file, valid_name

__all__ = ["Backoff", "DescriptorStore", "Keeper", "parse_message", "same_file", "valid_name"]
