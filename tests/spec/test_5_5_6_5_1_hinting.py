"""Free page hinting: what binds the driver."""

import pytest
from support.fake_device import OFFERED, Bench, bench

from guest_driver.mm.page_flags import PageFlag
from guest_driver.virtio_balloon import DriverOptions
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole

STOP, DONE, FIRST = 0, 1, 2
WITH_HINTS = OFFERED | BalloonFeature.FREE_PAGE_HINT
GUEST_FRAMES = 40 * 1024
BLOCK = 1024


def hints(made: Bench) -> list:
    return made.seen("free_page_vq")


def commands(made: Bench) -> list[int]:
    return [said for said in hints(made) if isinstance(said, int)]


def blocks(made: Bench) -> list[tuple[int, int]]:
    return [piece for said in hints(made) if isinstance(said, list) for piece in said]


def command(made: Bench, cmd_id: int, *, run_s: float = 1) -> None:
    made.device.set_command(cmd_id)
    made.run_for(run_s)


def slow_host(made: Bench) -> None:
    """Do not answer, and have rings that a round fills, so that it goes on until it is told to end."""
    made.start(made.driver.remove())
    made.run_for(1)
    made.guest.options = DriverOptions(queue_size=8)
    made.driver = made.guest.load_driver(made.device)
    made.settle()
    made.device.answers = False


@pytest.mark.clause(47, "5.5.6.5.1", "MUST make buffers that the device reads 4 bytes long")
def test_an_id_has_4_bytes():
    with bench(GUEST_FRAMES, offered=WITH_HINTS) as made:
        lengths, meaning = [], made.device._meaning

        def noting(role, chain, data):
            lengths.append((role, len(data)))
            return meaning(role, chain, data)

        made.device._meaning = noting
        command(made, FIRST)
        command(made, DONE)
        assert {read for role, read in lengths if role is QueueRole.FREE_PAGE} == {0, 4}
        assert lengths.count((QueueRole.FREE_PAGE, 4)) == 2


@pytest.mark.clause(48, "5.5.6.5.1", "MUST begin with the command ID that the device shows")
@pytest.mark.clause(50, "5.5.6.5.1", "SHOULD hint its free pages when the ID is 2 or more")
@pytest.mark.parametrize("cmd_id", [FIRST, 0x1234, 0xFFFFFFFF])
def test_a_round_begins_with_its_id_and_lists_free_memory(cmd_id):
    with bench(GUEST_FRAMES, offered=WITH_HINTS) as made:
        command(made, cmd_id)
        assert hints(made)[0] == cmd_id
        assert len(set(blocks(made))) * BLOCK > GUEST_FRAMES // 2


@pytest.mark.clause(49, "5.5.6.5.1", "MUST NOT send a command ID twice")
def test_an_id_that_stands_there_still_is_not_sent_again():
    with bench(GUEST_FRAMES, offered=WITH_HINTS) as made:
        for cmd_id in (FIRST, FIRST, FIRST + 1, FIRST + 1):
            command(made, cmd_id)
        assert commands(made) == [FIRST, STOP, FIRST + 1, STOP]


@pytest.mark.clause(51, "5.5.6.5.1", "SHOULD end a round when STOP or DONE is shown")
@pytest.mark.parametrize("cmd_id", [STOP, DONE])
def test_a_round_ends_where_the_device_wants_no_more(cmd_id):
    with bench(GUEST_FRAMES, offered=WITH_HINTS) as made:
        slow_host(made)
        command(made, FIRST, run_s=0.1)
        listed = len(blocks(made))
        assert STOP not in hints(made)
        command(made, cmd_id)
        made.device.answers = True
        made.device.answer()
        made.run_for(1)
        assert len(blocks(made)) == listed > 0
        assert commands(made) == [FIRST, STOP]


@pytest.mark.clause(52, "5.5.6.5.1", "MUST send STOP when it has no more pages to hint")
def test_a_round_ends_with_stop_when_no_block_is_left():
    with bench(GUEST_FRAMES, offered=WITH_HINTS) as made:
        command(made, FIRST)
        assert hints(made)[-1] == STOP
        assert made.guest.mm.alloc_pages(0, 10) is None


@pytest.mark.clause(53, "5.5.6.5.1", "MAY take hinted pages back at any time", "used")
def test_memory_that_is_short_takes_blocks_back():
    with bench(GUEST_FRAMES, offered=WITH_HINTS) as made:
        command(made, FIRST)
        free, lent = made.guest.counts.free, made.driver.hinting.blocks
        (shrinker,) = made.guest.mm.shrinkers
        assert made.start(shrinker.scan(1)) == [BLOCK]
        assert made.guest.counts.free == free + BLOCK
        assert made.driver.hinting.blocks == lent - 1


@pytest.mark.clause(54, "5.5.6.5.1", "MUST take the content of hinted pages for undefined")
def test_nothing_that_is_in_use_is_hinted():
    with bench(GUEST_FRAMES, offered=WITH_HINTS) as made:
        made.guest.use_memory(5000, 5000)
        command(made, FIRST)
        hinted = {page for first, count in blocks(made) for page in range(first, first + count)}
        flags = made.guest.zone.flags
        in_use = {page for page in range(GUEST_FRAMES) if flags[page] & int(PageFlag.LRU | PageFlag.RESERVED)}
        assert len(in_use) >= 5000
        assert not in_use & hinted


@pytest.mark.clause(55, "5.5.6.5.1", "MUST initialise a hinted page that it takes back before DONE")
@pytest.mark.parametrize(("guest", "byte"), [({"page_poisoning": True}, b"\xaa"), ({"init_on_free": True}, b"\0")])
def test_a_block_that_is_taken_back_is_filled(guest, byte):
    with bench(GUEST_FRAMES, offered=WITH_HINTS | BalloonFeature.PAGE_POISON, **guest) as made:
        command(made, FIRST)
        page = blocks(made)[-1][0]
        made.guest.ram.write(page * FRAME_BYTES, b"?" * BLOCK * FRAME_BYTES)
        (shrinker,) = made.guest.mm.shrinkers
        made.start(shrinker.scan(1))
        with made.guest.ram.view(page * FRAME_BYTES, BLOCK * FRAME_BYTES) as view:
            assert bytes(view) == byte * (BLOCK * FRAME_BYTES)


@pytest.mark.clause(55, "5.5.6.5.1", "but without PAGE_POISON leaves that to whoever allocates it", "not met")
def test_a_block_that_is_taken_back_is_free_memory_like_any_other():
    with bench(GUEST_FRAMES, offered=WITH_HINTS) as made:
        command(made, FIRST)
        page = blocks(made)[-1][0]
        made.guest.ram.write(page * FRAME_BYTES, b"?")
        (shrinker,) = made.guest.mm.shrinkers
        made.start(shrinker.scan(1))
        assert made.guest.mm.flags[page] & PageFlag.BUDDY
        with made.guest.ram.view(page * FRAME_BYTES, 1) as view:
            assert bytes(view) == b"?"


@pytest.mark.clause(56, "5.5.6.5.1", "SHOULD take all hinted pages back at DONE")
def test_done_gives_all_memory_back():
    with bench(GUEST_FRAMES, offered=WITH_HINTS) as made:
        free = made.guest.counts.free
        command(made, FIRST)
        assert made.guest.counts.free < free - BLOCK
        command(made, DONE)
        assert made.guest.counts.free == free
