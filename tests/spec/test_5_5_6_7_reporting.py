import pytest
from support.backend_rig import settled
from support.fake_device import OFFERED, Bench, bench
from support.fake_front_end import RING_FEATURES
from support.in_process_driver import DEFLATE, INFLATE, driven
from support.plain_device import HEAD, PlainDevice

from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.page_flags import PageFlag
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from vballoond.balloon.effects import CompleteRequest, ReleaseFrames
from vballoond.memory.frames import FrameRange

REPORTING, POISON = BalloonFeature.PAGE_REPORTING, BalloonFeature.PAGE_POISON
REPORTING_VQ = 2  # as Linux numbers it where there is no statsq
FRAMES = 96 * 1024


# The device.


@pytest.mark.clause(20, "5.5.6.7.2", "without PAGE_POISON MAY change reported pages until answering", "used")
def test_reported_pages_are_given_back_before_the_report_is_answered():
    effects = PlainDevice(RING_FEATURES | REPORTING).report(QueueRole.REPORTING, 64, 8)
    assert effects == (ReleaseFrames((FrameRange(64, 8),)), CompleteRequest(QueueRole.REPORTING, HEAD))


@pytest.mark.clause(21, "5.5.6.7.2", "with PAGE_POISON MUST leave poison_val, and nothing else, in reported pages")
@pytest.mark.parametrize("value", [0, 0xAAAAAAAA, 0x01000000])
async def test_reported_pages_hold_what_the_driver_filled_them_with(value):
    async with driven(features=["page-reporting", "page-poison"]) as (service, driver):
        content = value.to_bytes(4, "little") * (FRAME_BYTES // 4)
        driver.set_up(INFLATE, DEFLATE, REPORTING_VQ, features=RING_FEATURES | REPORTING | POISON)
        driver.device.write_config(12, value.to_bytes(4, "little"))
        driver.device.driver_ok()
        address = driver.guest.first_free_pfn() * FRAME_BYTES
        driver.guest.ram.write(address, content * 4)
        queue = driver.guest.queues[REPORTING_VQ]
        head = queue.ring.add(address, 4 * FRAME_BYTES, device_writes=True)
        driver.device.kick(REPORTING_VQ)
        await settled(service)
        assert driver.used(REPORTING_VQ) == head
        with driver.guest.ram.view(address, 4 * FRAME_BYTES) as view:
            assert bytes(view) == content * 4


# The driver.


def reported(made: Bench) -> list[tuple[int, int]]:
    return [block for report in made.seen("reporting_vq") for block in report]


def frames(blocks: list[tuple[int, int]]) -> set[int]:
    return {frame for first, count in blocks for frame in range(first, first + count)}


@pytest.mark.clause(60, "5.5.6.7.1", "without PAGE_POISON MUST take the content of reported pages for undefined")
def test_nothing_that_is_in_use_is_reported():
    with bench(FRAMES, offered=OFFERED | REPORTING) as made:
        made.guest.use_memory(5000, 5000)
        made.run_for(60)
        flags = made.guest.zone.flags
        in_use = {page for page in range(FRAMES) if flags[page] & int(PageFlag.LRU | PageFlag.RESERVED)}
        assert len(in_use) >= 5000
        assert reported(made)
        assert not in_use & frames(reported(made))


@pytest.mark.clause(61, "5.5.6.7.1", "with PAGE_POISON MUST fill pages with poison_val before reporting them")
@pytest.mark.parametrize(("guest", "byte"), [({"page_poisoning": True}, b"\xaa"), ({"init_on_free": True}, b"\0")])
def test_reported_pages_hold_the_value_while_the_device_has_them(guest, byte):
    with bench(FRAMES, offered=OFFERED | REPORTING | POISON, **guest) as made:
        for page in range(0, FRAMES, 512):
            made.guest.ram.write(page * FRAME_BYTES + 5, b"??")
        made.device.answers = False
        made.run_for(3)
        ((first, count), *_) = reported(made)
        with made.guest.ram.view(first * FRAME_BYTES, count * FRAME_BYTES) as view:
            assert bytes(view) == byte * (count * FRAME_BYTES)


@pytest.mark.clause(62, "5.5.6.7.1", "MUST NOT use a reported page before the report was answered")
def test_pages_are_nobodys_while_they_are_reported():
    with bench(FRAMES, offered=OFFERED | REPORTING) as made:
        made.device.answers = False
        made.run_for(3)
        on_the_way = frames(reported(made))
        taken = iter(lambda: made.guest.mm.alloc_pages(Gfp.HIGHUSER_MOVABLE, 9), None)
        assert on_the_way
        assert not on_the_way & frames([(page, 512) for page in taken])
        made.device.answers = True
        made.device.answer()
        made.settle()
        again = iter(lambda: made.guest.mm.alloc_pages(Gfp.HIGHUSER_MOVABLE, 9), None)
        assert on_the_way & frames([(page, 512) for page in again])


@pytest.mark.clause(63, "5.5.6.7.1", "MAY report free pages at any time after DRIVER_OK", "used")
def test_reports_come_behind_driver_ok_without_being_asked_for():
    with bench(FRAMES, offered=OFFERED | REPORTING) as made:
        made.run_for(3)
        assert made.device.order("driver_ok", "reporting_vq")[:2] == ["driver_ok", "reporting_vq"]


@pytest.mark.clause(64, "5.5.6.7.1", "SHOULD report large pages rather than small ones")
def test_blocks_smaller_than_a_huge_page_are_not_reported():
    with bench(FRAMES, offered=OFFERED | REPORTING) as made:
        holes = [made.guest.mm.alloc_page(Gfp.HIGHUSER_MOVABLE) for _ in range(1000)]
        for page in holes[::2]:
            made.guest.mm.put_page(page)
        made.run_for(60)
        assert min(count for _, count in reported(made)) >= 512
        assert not set(holes) & frames(reported(made))


@pytest.mark.clause(65, "5.5.6.7.1", "SHOULD avoid touching reported pages without need")
def test_pages_that_were_not_reported_are_used_first():
    with bench(FRAMES, offered=OFFERED | REPORTING) as made:
        made.run_for(2)
        told = reported(made)
        assert len(told) < FRAMES // 1024 - 8
        used = [(made.guest.mm.alloc_pages(Gfp.HIGHUSER_MOVABLE, 10), 1024) for _ in range(8)]
        assert not frames(used) & frames(told)
