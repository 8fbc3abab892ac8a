"""The whole in-process device and the modelled guest, in combinations of all features of rings and balloon.

Any three of them are together on and off in every way. The guest takes or leaves what the settings do not govern: the
features of rings are always on offer. Its driver makes no indirect descriptors, so here its rings do.

Which frames the guest picks depends on two of the features only, and only where they are at work: a reported block goes
to the end of its free list, and a block that is lent as a hint is not free. All other combinations lead to the same
frames as the plainest one that has the same of these two.
"""

import asyncio
from collections.abc import Sequence
from itertools import combinations, cycle
from math import prod
from typing import Final, NamedTuple

import pytest
from support.backend_rig import running_service
from support.pairwise import Row, all_together, covering

from guest_driver.buffers import Piece
from guest_driver.guest import Guest
from guest_driver.kernel_memory import KernelMemory
from guest_driver.packed_ring import PackedDriverRing
from guest_driver.ram import Ram
from guest_driver.rings import Ring, RingAreas, make_ring
from guest_driver.virtio_balloon import driver, queues
from guest_driver.virtio_balloon.features import validated
from guest_driver.virtio_balloon.state import DriverOptions
from protocol.packed_ring import PACKED_DESCRIPTOR, PackedDescriptor, PackedFlag
from protocol.split_ring import DESCRIPTOR, Descriptor, DescriptorFlag
from protocol.virtio import RingFeature
from vballoond.config.models import FEATURE_NAMES, BalloonSettings
from vballoond.lab.in_process_guest import InProcessGuest
from vballoond.memory.frames import FrameRange
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService

RING_FEATURES: Final = {
    "event-idx": RingFeature.EVENT_IDX,
    "indirect-desc": RingFeature.INDIRECT_DESC,
    "in-order": RingFeature.IN_ORDER,
    "packed": RingFeature.RING_PACKED,
}
FACTORS: Final = dict.fromkeys((*RING_FEATURES, *FEATURE_NAMES), (False, True))
COMBINATIONS: Final = covering(FACTORS, 3)
PICKING: Final = ("page-reporting", "free-page-hint")
PLAINEST: Final = dict.fromkeys(FACTORS, False)

MEMORY: Final = "96MiB"
"""Linux reports free blocks only while more than 64 MiB are free."""

INFLATED, DEFLATED = 3000, 700
_MOST_PIECES: Final = 32  # of a buffer of the balloon's: a report of free blocks


class Outcome(NamedTuple):
    """Frames that the device held: after inflating, and after deflating to less."""

    inflated: frozenset[int]
    deflated: frozenset[int]


# The guest.


def name_of(row: Row) -> str:
    return "+".join(name for name, chosen in row.items() if chosen) or "nothing"


def bits_of(row: Row) -> int:
    """What is to be negotiated."""
    chosen = [bit for name, bit in (RING_FEATURES | FEATURE_NAMES).items() if row[name]]
    return int(sum(chosen, int(RingFeature.VERSION_1)))


def make_indirect_ring(ram: Ram, memory: KernelMemory, features: int, queue_size: int) -> tuple[Ring, RingAreas]:
    """Make a ring of which each buffer is in a table of its own. Only while no device looks at the same time."""
    ring, areas = make_ring(ram, memory, features, queue_size)
    tables = cycle([memory.alloc(_MOST_PIECES * DESCRIPTOR.size) for _ in range(queue_size)])
    add_chain = ring.add_chain
    packed = isinstance(ring, PackedDriverRing)

    def add_indirect(readable: Sequence[Piece], writable: Sequence[Piece]) -> int:
        table = next(tables)
        data = (_packed_table if packed else _split_table)(readable, writable)
        ram.write(table, data)
        at = ring._next_avail.offset if packed else None
        head = add_chain(((table, len(data)),), ())
        if packed:
            ring._ring[at * PACKED_DESCRIPTOR.size + PACKED_DESCRIPTOR.offset_of("flags")] |= PackedFlag.INDIRECT
        else:
            ring._table[head * DESCRIPTOR.size + DESCRIPTOR.offset_of("flags")] |= DescriptorFlag.INDIRECT
        return head

    ring.add_chain = add_indirect
    return ring, areas


def _split_table(readable: Sequence[Piece], writable: Sequence[Piece]) -> bytes:
    pieces = (*readable, *writable)
    last = len(pieces) - 1
    return b"".join(
        DESCRIPTOR.pack(
            Descriptor(
                *piece,
                (DescriptorFlag.WRITE if number >= len(readable) else 0)
                | (DescriptorFlag.NEXT if number < last else 0),
                number + 1 if number < last else 0,
            )
        )
        for number, piece in enumerate(pieces)
    )


def _packed_table(readable: Sequence[Piece], writable: Sequence[Piece]) -> bytes:
    flags = [0] * len(readable) + [int(PackedFlag.WRITE)] * len(writable)
    return b"".join(
        PACKED_DESCRIPTOR.pack(PackedDescriptor(*piece, 0, flag))
        for piece, flag in zip((*readable, *writable), flags, strict=True)
    )


@pytest.fixture
def outcome_of(monkeypatch):
    """Boots a guest with one combination, and has its balloon grow and shrink."""

    async def run(row: Row) -> Outcome:
        def chosen(offered: int, options: DriverOptions) -> int:
            taken = validated(offered, options) | offered & RingFeature.INDIRECT_DESC
            return taken & ~sum(bit for name, bit in RING_FEATURES.items() if not row[name])

        monkeypatch.setattr(driver, "validated", chosen)
        monkeypatch.setattr(queues, "make_ring", make_indirect_ring if row["indirect-desc"] else make_ring)
        features = tuple(name for name in FEATURE_NAMES if row[name])
        settings = BalloonSettings.model_validate(
            {
                "name": "g",
                "transport": "in-process",
                "memory": MEMORY,
                "ring": "packed" if row["packed"] else "split",
                "features": features,
            }
        )
        async with running_service(settings) as service:
            guest = Guest(settings.memory, interface="2026", page_poisoning=bool(row["page-poison"]))
            lab = InProcessGuest(service, guest, None, Offload())
            lab.start()
            try:
                await lab.booted()
                outcome = await grow_and_shrink(service, guest, row)
                async with asyncio.timeout(60):
                    await lab.remove_driver()
                return outcome
            finally:
                await lab.stop()

    return run


async def grow_and_shrink(service: BalloonService, guest: Guest, row: Row) -> Outcome:
    """Have every feature do something, and say what the device held meanwhile."""
    assert service.negotiated_features == bits_of(row)
    await asyncio.sleep(10)
    if row["free-page-hint"]:
        service.start_hinting(acknowledge_on_stop=False)
        await asyncio.sleep(1)
    lent = guest.balloon.hinting.blocks
    outcome = Outcome(*[await resized(service, guest, frames) for frames in (INFLATED, DEFLATED)])
    if row["free-page-hint"]:
        service.stop_hinting()
        await asyncio.sleep(1)
    counters = service.device.counters
    at_work = {"stats": counters.statistics_updates, "page-reporting": counters.reported_frames, "free-page-hint": lent}
    assert {name for name, count in at_work.items() if count} == {name for name in at_work if row[name]}
    assert await resized(service, guest, 0) == frozenset()
    assert service.state_name == "running"
    return outcome


async def resized(service: BalloonService, guest: Guest, frames: int) -> frozenset[int]:
    """Reach a target; return the device's frames, which must be the guest's own."""
    assert await service.resizing.wait(service.set_target(frames), 60)
    frame_map = service.device.frame_map
    held = [pfn for part in frame_map.ranges(FrameRange(0, frame_map.space.end)) for pfn in range(part.first, part.end)]
    assert sorted(guest.mm.list_pages(guest.balloon.pages.vb_dev_info.pages)) == held
    assert len(held) == service.actual_frames == frames
    return frozenset(held)


# The tests.

_plain_outcomes: dict[tuple[object, ...], Outcome] = {}


@pytest.mark.parametrize("row", COMBINATIONS, ids=name_of)
async def test_the_map_is_the_guests_own_and_the_same_as_without_the_features(row, outcome_of):
    picking = tuple(row[name] for name in PICKING)
    if picking not in _plain_outcomes:
        _plain_outcomes[picking] = await outcome_of(PLAINEST | {name: row[name] for name in PICKING})

    assert await outcome_of(row) == _plain_outcomes[picking]


async def test_reports_and_hints_lead_to_other_frames(outcome_of):
    """So what is said above of the two is needed, and the frames of all others are compared for something."""
    outcomes = [await outcome_of(PLAINEST | dict.fromkeys(names, True)) for names in ((), *zip(PICKING), PICKING)]
    assert len({outcome.inflated for outcome in outcomes}) > 2


@pytest.mark.parametrize("strength", [1, 2, 3])
@pytest.mark.parametrize(
    "factors",
    [FACTORS, {"a": "xyz", "b": (1, 2), "c": (True, False, None, 3, 4), "d": "u"}, {"a": "x", "b": "y", "c": "z"}],
    ids=["these", "uneven", "nothing to choose"],
)
def test_every_choice_of_a_few_factors_is_in_a_row_of_few(factors, strength):
    rows = covering(factors, strength)
    together = [set(row.items()) for row in rows]
    assert all(any(wanted <= row for row in together) for wanted in map(set, all_together(factors, strength)))
    assert all(list(row) == list(factors) and all(row[name] in factors[name] for name in factors) for row in rows)
    assert rows == covering(factors, strength)
    assert len(rows) <= 2 * strength * max(prod(map(len, each)) for each in combinations(factors.values(), strength))
