"""Making the interface of a generation for a balloon driver."""

from ..mm.mem_map import MemMap
from .embedded.pages import BalloonPages2022, BalloonPages2026
from .embedded.v2022 import Balloon2022
from .embedded.v2026 import Balloon2026
from .kconfig import Generation, configure
from .known_bugs import NO_BUGS, KnownBugs
from .pages import BalloonPages, MigratePage
from .v2012.interface import BalloonInterface
from .v2012.pages import BalloonPages2012
from .v2012.with_compaction import WithCompaction
from .v2012.without_compaction import WithoutCompaction


def make_balloon_pages(
    generation: Generation,
    mm: MemMap,
    migratepage: MigratePage,
    *,
    balloon_compaction: bool = True,
    known_bugs: KnownBugs = NO_BUGS,
) -> BalloonPages:
    """Return an empty balloon.

    Args:
        generation: Whose interface it is.
        mm: Where its pages come from; the operations by which they are migrated are registered there.
        migratepage: The driver's half of a migration.
        balloon_compaction: The Kconfig option. Without it nothing is migrated, and pages are allocated as unmovable.
        known_bugs: Of 2012; the later generations have none of them.

    Raises:
        OSError: There is no memory for it.
    """
    enabled = configure(generation, balloon_compaction=balloon_compaction).balloon_compaction
    if generation == "2022":
        return BalloonPages2022(Balloon2022(mm, enabled=enabled), migratepage)
    if generation == "2026":
        return BalloonPages2026(Balloon2026(mm, enabled=enabled), migratepage)
    return BalloonPages2012(interface_2012(mm, enabled=enabled, known_bugs=known_bugs), migratepage)


def interface_2012(mm: MemMap, *, enabled: bool, known_bugs: KnownBugs = NO_BUGS) -> BalloonInterface:
    """Return one side or the other of ``#ifdef CONFIG_BALLOON_COMPACTION``."""
    return WithCompaction(mm, known_bugs) if enabled else WithoutCompaction(mm, known_bugs)
