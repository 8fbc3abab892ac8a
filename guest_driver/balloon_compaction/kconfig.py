"""The options of a kernel's configuration that decide whether a balloon's pages can be migrated.

Rules of this file:

* 2012: BALLOON_COMPACTION is off unless asked for, depends on the balloon driver, and selects COMPACTION.
* 2022: it depends on COMPACTION and the balloon, and is on wherever it can be (``def_bool y``).
* 2026: its name is BALLOON_MIGRATION, it depends on MIGRATION and the balloon, and is on by default.
* COMPACTION selects MIGRATION. Transparent huge pages are why one wants all this, but nothing depends on them.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import GuestModelError

Generation: TypeAlias = Literal["2012", "2022", "2026"]


class KconfigError(GuestModelError):
    """There is no kernel with these options."""


@dataclass(frozen=True, slots=True)
class Kconfig:
    """A configuration that a kernel can have.

    Raises:
        KconfigError: An option is set whose dependencies are not.
    """

    generation: Generation
    compaction: bool
    migration: bool
    balloon: bool
    """VIRTIO_BALLOON, MEMORY_BALLOON or BALLOON."""
    balloon_compaction: bool
    """BALLOON_COMPACTION or BALLOON_MIGRATION."""

    def __post_init__(self) -> None:
        if self.compaction and not self.migration:
            raise KconfigError("COMPACTION selects MIGRATION: it cannot be off")
        if not self.balloon_compaction:
            return
        if not self.balloon:
            raise KconfigError("BALLOON_COMPACTION depends on the balloon, which is off")
        if self.generation == "2026" and not self.migration:
            raise KconfigError("BALLOON_MIGRATION depends on MIGRATION, which is off")
        if self.generation == "2012" and not self.compaction:
            raise KconfigError("BALLOON_COMPACTION selects COMPACTION: it cannot be off")
        if self.generation == "2022" and not self.compaction:
            raise KconfigError("BALLOON_COMPACTION depends on COMPACTION, which is off")


def configure(
    generation: Generation,
    *,
    compaction: bool = True,
    migration: bool | None = None,
    balloon: bool = True,
    balloon_compaction: bool | None = None,
) -> Kconfig:
    """Return the configuration that comes of what was asked for, as ``make config`` would.

    What is ``None`` was not answered and takes its default. An answer is changed by ``select`` only.

    Raises:
        KconfigError: The answers contradict each other.
    """
    if generation == "2012" and balloon_compaction:
        compaction = True
    if migration is None:
        migration = compaction
    if balloon_compaction is None:
        needed = migration if generation == "2026" else compaction
        balloon_compaction = generation != "2012" and balloon and needed
    return Kconfig(generation, compaction, migration, balloon, balloon_compaction)
