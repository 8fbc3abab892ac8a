"""vballoond: a virtio-balloon device that lives outside the VM monitor, as an asyncio daemon."""

import protocol

__version__ = "0.1.0"

_WIRE_VERSION = 1

# The unrelated distribution "protocol" on the public index installs the same package name, and pip overwrites silently.
if getattr(protocol, "WIRE_VERSION", None) != _WIRE_VERSION:
    raise ImportError(
        f"another package named 'protocol' ({protocol.__file__ or protocol.__path__}) is in the place of vballoond's: "
        "install vballoond in a virtual environment of its own, and start it there by its own command"
    )
