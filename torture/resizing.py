"""A guest that inflates and deflates without end."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from .api import Api
from .checks import check_reached


class Resizer:
    """Sets one target after the other, each when the one before is reached.

    Args:
        api: The API.
        name: The balloon.
        targets_mib: What there is to choose from.
        chance: Chooses.
    """

    def __init__(self, api: Api, name: str, targets_mib: Sequence[int], chance: random.Random) -> None:
        self.reached = 0
        self._api: Final = api
        self._name: Final = name
        self._targets_mib: Final = targets_mib
        self._chance: Final = chance

    async def go_on(self, ending: asyncio.Event) -> None:
        """Resize until ``ending``; the last target is reached then.

        Raises:
            Violation: One is not reached, or not what the daemon says.
        """
        while not ending.is_set():
            target_mib = self._chance.choice(self._targets_mib)
            check_reached(await self._api.reach(self._name, target_mib), target_mib)
            self.reached += 1
