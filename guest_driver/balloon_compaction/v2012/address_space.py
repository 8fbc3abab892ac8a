"""The special mapping of ballooned pages: struct address_space, as far as a balloon uses it.

It is what compaction finds when it looks at a page's mapping, so the interface's operations are reached through it: the
table of callbacks that the interface's reviewer wished for.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from ...kernel import Thread
from ...mm.mem_map import Gfp
from ...mm.movable import MigrateMode, MigrateResult, MovableOperations

if TYPE_CHECKING:
    from collections.abc import Callable

    from .dev_info import BalloonDevInfo

GFP_BITS_SHIFT: Final = 25
"""A mapping's flags begin with its gfp mask, of so many bits."""

AS_BALLOON_MAP: Final = GFP_BITS_SHIFT + 4
"""enum mapping_flags: the bit that says that a mapping is a balloon's."""

_GFP_BITS_MASK: Final = (1 << GFP_BITS_SHIFT) - 1

MappingMigratePage: TypeAlias = "Callable[[AddressSpace, int, int, MigrateMode], MigrateResult]"


@dataclass(frozen=True, slots=True)
class AddressSpaceOperations:
    """struct address_space_operations: the driver's callbacks."""

    migratepage: MappingMigratePage
    """mapping, newpage, page, mode."""


class AddressSpace:
    """A mapping. As :class:`MovableOperations` it passes on to the interface.

    Args:
        interface: Where compaction's calls go.
    """

    def __init__(self, interface: MovableOperations) -> None:
        self.flags = 0
        self.a_ops: AddressSpaceOperations | None = None
        self.private_data: BalloonDevInfo | None = None
        self.number = 0
        """By which pages say that the mapping is theirs."""
        self._interface: Final = interface

    def movable(self, page: int) -> bool:
        """See :class:`MovableOperations`."""
        return self._interface.movable(page)

    def isolate(self, page: int) -> bool:
        """See :class:`MovableOperations`."""
        return self._interface.isolate(page)

    def putback(self, page: int) -> Thread:
        """See :class:`MovableOperations`."""
        return self._interface.putback(page)

    def migrate(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """See :class:`MovableOperations`."""
        return self._interface.migrate(newpage, page, mode)


def mapping_set_balloon(mapping: AddressSpace) -> None:
    """Say that a mapping is a balloon's."""
    mapping.flags |= 1 << AS_BALLOON_MAP


def mapping_clear_balloon(mapping: AddressSpace) -> None:
    """Say that a mapping is no balloon's."""
    mapping.flags &= ~(1 << AS_BALLOON_MAP)


def mapping_balloon(mapping: AddressSpace | None) -> bool:
    """Say whether there is a mapping and it is a balloon's."""
    return mapping is not None and bool(mapping.flags & (1 << AS_BALLOON_MAP))


def mapping_gfp_mask(mapping: AddressSpace) -> Gfp:
    """Return how pages of a mapping are allocated."""
    return Gfp(mapping.flags & _GFP_BITS_MASK)


def mapping_set_gfp_mask(mapping: AddressSpace, mask: Gfp) -> None:
    """Say how pages of a mapping are allocated; its other flags stay."""
    mapping.flags = (mapping.flags & ~_GFP_BITS_MASK) | int(mask)
