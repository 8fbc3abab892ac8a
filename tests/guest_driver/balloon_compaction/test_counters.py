import pytest
from support.balloon_interface import GENERATIONS, Balloon, run

from guest_driver.balloon_compaction.counters import BALLOON_COUNTERS, existing_counters
from guest_driver.balloon_compaction.kconfig import configure
from guest_driver.mm.vm_events import VmEvent

OF_2012 = {VmEvent.COMPACT_BALLOON_ISOLATED, VmEvent.COMPACT_BALLOON_MIGRATED, VmEvent.COMPACT_BALLOON_RETURNED}
OF_BALLOON = {VmEvent.BALLOON_INFLATE, VmEvent.BALLOON_DEFLATE}


@pytest.mark.parametrize(
    ("generation", "enabled", "expected"),
    [
        ("2012", True, OF_2012),
        ("2012", False, set()),
        ("2022", True, OF_BALLOON | {VmEvent.BALLOON_MIGRATE}),
        ("2022", False, OF_BALLOON),
        ("2026", True, OF_BALLOON | {VmEvent.BALLOON_MIGRATE}),
        ("2026", False, OF_BALLOON),
    ],
)
def test_counters_exist_where_what_they_count_does(generation, enabled, expected):
    """S14."""
    assert existing_counters(configure(generation, balloon_compaction=enabled)) == expected


def test_without_a_balloon_there_are_no_counters():
    """S14."""
    assert existing_counters(configure("2022", balloon=False)) == set()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_what_does_not_exist_is_never_counted(generation, enabled):
    """S14: off, the counters are absent, and nothing touches them."""
    balloon = Balloon(generation, balloon_compaction=enabled)
    first, second, _ = balloon.inflate(3)
    if balloon.isolate(first):
        run(balloon.mm, balloon.migrate(first))
        balloon.isolate(second)
        run(balloon.mm, balloon.ops(second).putback(second))
    while len(balloon.pages):
        balloon.deflate()
    exist = existing_counters(configure(generation, balloon_compaction=enabled))
    assert {event for event in BALLOON_COUNTERS if balloon.mm.events[event]} == exist


def test_counts_of_2012():
    balloon = Balloon("2012")
    pages = balloon.inflate(5)
    for page in pages[:4]:
        balloon.isolate(page)
    for page in pages[:1]:
        run(balloon.mm, balloon.migrate(page))
    for page in pages[1:4]:
        run(balloon.mm, balloon.ops(page).putback(page))
    assert balloon.mm.events[VmEvent.COMPACT_BALLOON_ISOLATED] == 4
    assert balloon.mm.events[VmEvent.COMPACT_BALLOON_MIGRATED] == 1
    assert balloon.mm.events[VmEvent.COMPACT_BALLOON_RETURNED] == 3


@pytest.mark.parametrize("generation", ["2022", "2026"])
def test_counts_of_later_generations_are_of_pages_enqueued_dequeued_and_moved(generation):
    """D17."""
    balloon = Balloon(generation)
    pages = balloon.inflate(5)
    for page in pages[:2]:
        balloon.isolate(page)
        run(balloon.mm, balloon.migrate(page))
    for _ in range(3):
        balloon.deflate()
    assert balloon.mm.events[VmEvent.BALLOON_INFLATE] == 5
    assert balloon.mm.events[VmEvent.BALLOON_MIGRATE] == 2
    assert balloon.mm.events[VmEvent.BALLOON_DEFLATE] == 3
