import pytest

from guest_driver.balloon_compaction import configure
from guest_driver.balloon_compaction.counters import existing_counters
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import ZoneCount, make_zone
from guest_driver.vmstat import available_frames, vmstat


@pytest.fixture
def zone():
    made = make_zone(1024)
    for count, frames in {
        ZoneCount.FREE: 500,
        ZoneCount.WMARK_LOW: 50,
        ZoneCount.WMARK_HIGH: 60,
        ZoneCount.FILE: 0,
        ZoneCount.SLAB: 0,
    }.items():
        made.counts[count] = frames
    return made


def test_a_line_has_the_counters_name_and_value(zone):
    zone.events[VmEvent.PGFAULT] = 7
    lines = vmstat(zone, frozenset())
    assert lines["pgfault"] == 7
    assert lines["oom_kill"] == 0
    assert type(lines["pgfault"]) is int


@pytest.mark.parametrize(
    ("generation", "balloon_compaction", "lines"),
    [
        ("2012", True, {"compact_balloon_isolated", "compact_balloon_migrated", "compact_balloon_returned"}),
        ("2012", False, set()),
        ("2022", True, {"balloon_inflate", "balloon_deflate", "balloon_migrate"}),
        ("2022", False, {"balloon_inflate", "balloon_deflate"}),
    ],
)
def test_what_a_kernel_does_not_count_has_no_line(zone, generation, balloon_compaction, lines):
    """S14."""
    kconfig = configure(generation, balloon_compaction=balloon_compaction)
    found = vmstat(zone, existing_counters(kconfig))
    assert {line for line in found if "balloon" in line} == lines
    assert len(found) == len(VmEvent) - 6 + len(lines)


@pytest.mark.parametrize("kind", [ZoneCount.FILE, ZoneCount.SLAB])
@pytest.mark.parametrize(("frames", "counted"), [(0, 0), (1, 1), (80, 40), (100, 50), (400, 350)])
def test_of_what_can_be_reclaimed_half_counts_as_needed_up_to_the_low_watermark(zone, kind, frames, counted):
    zone.counts[kind] = frames
    assert available_frames(zone) == 440 + counted


def test_what_is_kept_back_is_not_available(zone):
    zone.counts[ZoneCount.FREE] = 61
    assert available_frames(zone) == 1
    zone.counts[ZoneCount.FREE] = 30
    assert available_frames(zone) == 0
