"""A real guest's page frames as they are at the moment when it begins to compact, and a modelled guest in that state.

Rules of this file:

* /proc/kpageflags says of each frame what it is, but not of the last few MiB: user-mode Linux takes the number of pages
  that its allocator was given for the end of memory. What is there is known in part: balloon pages from the device,
  free pageblocks by their number. ``Snapshot.is_complete`` says whether that is all that can be migrated to.
* What type a pageblock is of is not shown; it is taken by what most of it is used for.
* Who refers to a page is not shown either: a page of a process that was not moved is taken for one that cannot be.
* Free pages on per-CPU lists look like pages in use, and compaction takes them for that too.
"""

import base64
import errno
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from support.compaction_run import PAGEBLOCK_ORDER, Asked, ModelledGuest
from support.console_guest import ConsoleGuest

from guest_driver.kernel import Thread
from guest_driver.mm.buddy import free_boot_memory
from guest_driver.mm.mem_map import MemMap
from guest_driver.mm.movable import MIGRATEPAGE_SUCCESS, MigrateMode, MigrateResult
from guest_driver.mm.page_flags import Migratetype, PageFlag
from guest_driver.mm.zone import UNLINKED, Array, MappingId, ZoneCount

_BLOCK_FRAMES: Final = 1 << PAGEBLOCK_ORDER

# While head holds what memory it has, nothing is allocated or freed between its copy of kpageflags and compaction.
# (cat would give its buffer back before it opens the next file.) All is done twice, the first time for nothing, so that
# the shell has its own copy of each page that it writes to by then.
_COPY_AND_COMPACT = (
    "head -q -c 99999999 /tmp/go /proc/kpageflags /tmp/hold /tmp/go /proc/kpageflags /tmp/hold /proc/kpageflags"
    " 1<> /tmp/kpageflags &"
    " for knob in /dev/null /proc/sys/vm/compact_memory; do"
    " exec 8> /tmp/go; exec 8>&-; exec 9> /tmp/hold; echo 1 > $knob; exec 9>&-; done; wait"
)


class Kpf(IntEnum):
    """Bits of /proc/kpageflags."""

    LRU = 5
    SLAB = 7
    BUDDY = 10
    ANON = 12
    SWAPBACKED = 14
    COMPOUND_HEAD = 15
    COMPOUND_TAIL = 16
    UNEVICTABLE = 18
    OFFLINE = 23
    PGTABLE = 26
    RESERVED = 32


@dataclass(frozen=True)
class Snapshot:
    """A guest that is about to compact."""

    kpageflags: Array
    """uint64, of all frames; 0 where nothing is known."""
    watermarks: tuple[int, int, int]
    movable_free_frames: int
    """By its own count, less those on per-CPU lists."""
    moved: dict[str, int]
    """How far compaction moved the lines of /proc/vmstat."""

    def has(self, *bits: Kpf) -> Array:
        """Say of each frame whether it has any of some bits."""
        mask = sum(1 << bit for bit in bits)
        return self.kpageflags & np.uint64(mask) != 0

    def block_types(self) -> Array:
        """The type of each pageblock."""
        fixed = self.has(Kpf.SLAB, Kpf.UNEVICTABLE, Kpf.PGTABLE, Kpf.COMPOUND_HEAD, Kpf.COMPOUND_TAIL)
        movable = self.can_migrate() | self.has(Kpf.OFFLINE)
        in_blocks = [frames.reshape(-1, _BLOCK_FRAMES).sum(axis=1) for frames in (fixed, movable)]
        return np.where(in_blocks[0] > in_blocks[1], Migratetype.UNMOVABLE, Migratetype.MOVABLE)

    def can_migrate(self) -> Array:
        """Pages of tmpfs and of processes, some not on an LRU list until compaction has it done (lru_add_drain()).

        Those of the initial ramdisk, which is not on tmpfs, cannot be migrated: -EINVAL.
        """
        return self.has(Kpf.LRU, Kpf.ANON, Kpf.SWAPBACKED) & ~self.has(Kpf.UNEVICTABLE)

    def is_complete(self) -> bool:
        """Say whether all that is free and movable is seen."""
        movable = np.repeat(self.block_types() == Migratetype.MOVABLE, _BLOCK_FRAMES)
        return int((self.has(Kpf.BUDDY) & movable).sum()) == self.movable_free_frames


async def prepare_snapshot(guest: ConsoleGuest) -> None:
    """Make the files that a snapshot is written to, so that it takes no memory later."""
    await guest.run("mkfifo /tmp/go /tmp/hold; for copy in 1 2 3; do cat /proc/kpageflags; done > /tmp/kpageflags")
    await guest.run("for when in before after; do cat /proc/vmstat > /tmp/$when; done")


async def compact_from_snapshot(guest: ConsoleGuest, held: set[int]) -> Snapshot:
    """Have the guest compact all memory, and return what it was like just before; ``held`` is its balloon."""
    zoneinfo, free = [await guest.run(f"cat /proc/{name}") for name in ("zoneinfo", "pagetypeinfo")]
    await guest.run("cat /proc/vmstat > /tmp/before")
    await guest.run(": > /proc/sys/vm/compact_memory")
    await guest.run(_COPY_AND_COMPACT)
    await guest.run("cat /proc/vmstat > /tmp/after")
    copies = np.frombuffer(await _file(guest, "/tmp/kpageflags"), dtype="<u8").reshape(3, -1)
    before, after = [_lines((await _file(guest, f"/tmp/{when}")).decode()) for when in ("before", "after")]
    free_blocks = _movable_free_blocks(free)
    return Snapshot(
        _completed(_without_pinned(copies[1], copies[2]), _number(zoneinfo, "spanned"), held, free_blocks[-1]),
        (_number(zoneinfo, "min"), _number(zoneinfo, "low"), _number(zoneinfo, "high")),
        sum(count << order for order, count in enumerate(free_blocks)),
        {name: after[name] - before[name] for name in after},
    )


async def _file(guest: ConsoleGuest, name: str) -> bytes:
    return gzip.decompress(base64.b64decode(await guest.run(f"gzip -c {name} | base64")))


def _lines(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def _number(zoneinfo: str, name: str) -> int:
    """The first is of the zone that has memory."""
    match = re.search(rf"^ +{name} +(\d+)", zoneinfo, re.MULTILINE)
    assert match is not None
    return int(match[1])


def _movable_free_blocks(pagetypeinfo: str) -> list[int]:
    match = re.search(r"Normal, type +Movable +([\d ]+)", pagetypeinfo)
    assert match is not None
    return [int(count) for count in match[1].split()]


def _without_pinned(before: Array, after: Array) -> Array:
    """Take pages of processes for unmovable that stayed where they were: nothing shows who else refers to a page."""
    return np.where(before & after & np.uint64(1 << Kpf.ANON), 0, before)


def _completed(seen: Array, frames: int, held: set[int], free_pageblocks: int) -> Array:
    """Add what is known of the frames behind those that were seen."""
    flags = np.zeros(frames, dtype=np.uint64)
    flags[: len(seen)] = seen
    flags[[frame for frame in held if frame >= len(seen)]] = 1 << Kpf.OFFLINE
    blocks = flags.reshape(-1, _BLOCK_FRAMES)
    missing = free_pageblocks - int((blocks == 1 << Kpf.BUDDY).all(axis=1).sum())
    first = len(seen) // _BLOCK_FRAMES
    blocks[first : first + missing] = 1 << Kpf.BUDDY
    return flags


class OwnedPages:
    """Pages that compaction takes for their owner's. So what Linux has on one list is on one list in the model too."""

    def __init__(self, mm: MemMap, *, can_migrate: bool) -> None:
        self._mm: Final = mm
        self._can_migrate: Final = can_migrate

    def movable(self, page: int) -> bool:
        del page
        return True

    def isolate(self, page: int) -> bool:
        self._mm.get_page(page)
        return True

    def putback(self, page: int) -> Thread:
        self._mm.put_page(page)
        yield from ()

    def migrate(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        del mode
        yield from ()
        if not self._can_migrate:
            return -errno.EINVAL
        self._mm.get_page(newpage)
        self._mm.mapping[newpage], self._mm.mapping[page] = self._mm.mapping[page], MappingId.NONE
        self._mm.put_page(page)
        return MIGRATEPAGE_SUCCESS


def modelled(snapshot: Snapshot, inflating: list[Asked], *, one_list: bool) -> ModelledGuest:
    """Return a modelled guest in the state of a snapshot, whose balloon was inflated by the same requests.

    Args:
        snapshot: The state.
        inflating: How the real balloon was inflated.
        one_list: Pages of tmpfs and of processes are on one list with the balloon's when they are migrated, as in
            Linux, not before them, as in the model.
    """
    model = ModelledGuest(len(snapshot.kpageflags) // 256)
    _forget_all(model)
    _free(model, snapshot)
    _use(model, snapshot, one_list=one_list)
    allocated = (frame for role, frames in inflating if role == "inflateq" for frame in reversed(frames))
    _inflate(model, allocated, sum(len(frames) for role, frames in inflating if role == "inflateq"))
    return model


def _forget_all(model: ModelledGuest) -> None:
    """Have each frame be in use for something that nothing can move."""
    zone, frames = model.guest.zone, model.guest.total_frames
    for array in (zone.flags, zone.order, zone.mapping, zone.nr_free, zone.block_skip):
        array[:] = 0
    zone.refcount[:] = 1
    for links in (zone.next, zone.prev):
        links[:frames] = UNLINKED
        links[frames:] = np.arange(frames, len(links))
    zone.counts[[ZoneCount.FREE, ZoneCount.MANAGED]] = 0


def _free(model: ModelledGuest, snapshot: Snapshot) -> None:
    zone = model.guest.zone
    zone.block_type[:] = snapshot.block_types()
    zone.counts[[ZoneCount.WMARK_MIN, ZoneCount.WMARK_LOW, ZoneCount.WMARK_HIGH]] = snapshot.watermarks
    edges = np.flatnonzero(np.diff(snapshot.has(Kpf.BUDDY), prepend=False, append=False))
    for first, end in edges.reshape(-1, 2).tolist():
        free_boot_memory(zone, first, end)


def _use(model: ModelledGuest, snapshot: Snapshot, *, one_list: bool) -> None:
    zone, mm = model.guest.zone, model.guest.mm
    zone.flags[snapshot.has(Kpf.RESERVED)] = PageFlag.RESERVED
    zone.flags[snapshot.has(Kpf.SLAB)] = PageFlag.SLAB
    for head, order in _compounds(snapshot):
        zone.flags[head] = PageFlag.HEAD
        zone.order[head] = order
    zone.mapping[snapshot.has(Kpf.UNEVICTABLE)] = mm.register(OwnedPages(mm, can_migrate=False))
    if one_list:
        zone.mapping[snapshot.can_migrate()] = mm.register(OwnedPages(mm, can_migrate=True))
        return
    for frame in np.flatnonzero(snapshot.can_migrate()).tolist():
        zone.flags[frame] = PageFlag.LRU
        zone.mapping[frame] = MappingId.FILE
        zone.counts[ZoneCount.FILE] += 1
        mm.list_add(frame, mm.mapping_list(MappingId.FILE))


def _compounds(snapshot: Snapshot) -> Iterator[tuple[int, int]]:
    tails = snapshot.has(Kpf.COMPOUND_TAIL)
    for head in np.flatnonzero(snapshot.has(Kpf.COMPOUND_HEAD)).tolist():
        behind = tails[head + 1 : head + _BLOCK_FRAMES]
        frames = 1 + (len(behind) if behind.all() else int(behind.argmin()))
        assert frames.bit_count() == 1
        yield head, frames.bit_length() - 1


def _inflate(model: ModelledGuest, allocated: Iterator[int], frames: int) -> None:
    """Inflate the balloon, where the allocator hands out just these frames."""
    model.guest.mm.alloc_page = lambda _gfp: next(allocated)
    model.set_balloon(frames)
    del model.guest.mm.alloc_page
