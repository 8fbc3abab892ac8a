"""The modelled guest inside the daemon, which is to reach its targets too."""

from random import Random
from typing import Final

from .api import Api
from .front_end import PATIENCE_S
from .vm import MIB
from .worker import Note

MEMORY_MIB: Final = 64
_MOST_MIB: Final = 24


class Modelled:
    """Sets targets and waits for them."""

    def __init__(self, name: str, api: Api) -> None:
        self.name: Final = name
        self.targets_reached = 0
        self._api: Final = api

    def step(self, random: Random, note: Note) -> None:
        """Set a target and see it reached."""
        target_mib = random.randrange(_MOST_MIB + 1)
        note(f"target of {target_mib} MiB")
        self._api.set_target(self.name, target_mib * MIB, wait_s=int(PATIENCE_S))
        self.targets_reached += 1

    def rest(self) -> None:
        """It goes on by itself."""
