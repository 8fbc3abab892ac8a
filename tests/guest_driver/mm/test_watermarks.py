import pytest

from guest_driver.mm.buddy import free_boot_memory
from guest_driver.mm.watermarks import set_min_free_frames, set_recommended_watermarks
from guest_driver.mm.zone import ZoneCount, make_zone


def marks(zone):
    return tuple(zone.counts[[ZoneCount.WMARK_MIN, ZoneCount.WMARK_LOW, ZoneCount.WMARK_HIGH]].tolist())


@pytest.mark.parametrize(
    ("managed", "pageblock_order", "expected"),
    [
        (1 << 20, 9, (16896, 21120, 25344)),
        (1 << 20, 10, (33792, 42240, 50688)),
        (20 * 16896, 9, (16896, 21120, 25344)),
        (20 * 16895, 9, (16895, 21118, 25342)),
        (1000, 9, (50, 62, 75)),
        (0, 9, (0, 0, 0)),
    ],
)
def test_a_booted_guest_keeps_eleven_pageblocks_free_in_each_of_three_zones_but_at_most_a_twentieth(
    managed, pageblock_order, expected
):
    """Section 4.3: watermarks with transparent huge pages."""
    zone = make_zone(64, pageblock_order=pageblock_order)
    zone.counts[ZoneCount.MANAGED] = managed
    set_recommended_watermarks(zone)
    assert marks(zone) == expected


def test_what_is_the_kernels_own_does_not_count():
    zone = make_zone(2048)
    free_boot_memory(zone, 1024, 2048)
    set_recommended_watermarks(zone)
    assert marks(zone) == (51, 63, 76)


def test_the_lowest_can_be_set_and_the_others_follow():
    zone = make_zone(64)
    set_min_free_frames(zone, 256)
    assert marks(zone) == (256, 320, 384)
