import pytest
from support.fake_device import OFFERED, Bench, bench

from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.zone import ZoneCount
from guest_driver.virtio_balloon import DriverOptions
from protocol.balloon.features import BalloonFeature
from protocol.virtio import RingFeature

FRAMES = 40 * 1024
STOP, DONE, FIRST = 0, 1, 2
WITH_HINTS = OFFERED | BalloonFeature.FREE_PAGE_HINT

every_ring = pytest.mark.parametrize(
    "offered", [WITH_HINTS & ~RingFeature.EVENT_IDX, WITH_HINTS], ids=["flags", "event index"]
)


def hints(made: Bench) -> list:
    return made.seen("free_page_vq")


def blocks(made: Bench) -> list[tuple[int, int]]:
    return [pieces[0] for pieces in hints(made) if isinstance(pieces, list)]


def load_with_small_rings(made: Bench) -> None:
    made.guest.options = DriverOptions(queue_size=8)
    made.start(made.driver.remove())
    made.run_for(0.01)
    made.driver = made.guest.load_driver(made.device)
    made.settle()


@every_ring
def test_a_round_is_the_id_then_all_free_blocks_then_stop(offered):
    """D11; clauses 47, 48 and 52."""
    with bench(FRAMES, offered=offered) as made:
        free = made.guest.counts.free
        made.device.set_command(FIRST)
        made.run_for(1)
        assert (hints(made)[0], hints(made)[-1]) == (FIRST, STOP)
        assert all(len(pieces) == 1 and pieces[0][1] == 1024 for pieces in hints(made)[1:-1])
        assert made.driver.hinting.blocks == len(set(blocks(made))) == len(hints(made)) - 2
        assert made.guest.counts.free == free - made.driver.hinting.count()
        assert made.guest.counts.free - 1024 <= made.guest.mm.counts[ZoneCount.WMARK_MIN]


def test_without_the_feature_a_command_is_nobodys():
    with bench(FRAMES) as made:
        made.device.set_command(FIRST)
        made.run_for(1)
        assert hints(made) == []
        assert made.guest.mm.shrinkers == []


def test_blocks_stay_lent_until_the_device_is_done():
    """Clause 56."""
    with bench(FRAMES, offered=WITH_HINTS) as made:
        free = made.guest.counts.free
        made.device.set_command(FIRST)
        made.run_for(1)
        lent = {page for page, _ in blocks(made)}
        assert all(made.guest.mm.flags[page] == PageFlag.HEAD for page in lent)
        made.device.set_command(DONE)
        made.settle()
        assert made.guest.counts.free == free
        assert made.driver.hinting.blocks == 0
        assert all(not made.guest.mm.refcount[page] for page in lent)


def test_an_id_is_used_for_one_round_and_a_new_one_for_another():
    """Clause 49."""
    with bench(FRAMES, offered=WITH_HINTS) as made:
        for command, rounds in ((FIRST, 1), (FIRST, 1), (DONE, 1), (FIRST + 1, 2)):
            made.device.set_command(command)
            made.run_for(1)
            assert hints(made).count(STOP) == rounds
        assert [said for said in hints(made) if isinstance(said, int)] == [FIRST, STOP, FIRST + 1, STOP]


def test_stop_alone_begins_and_frees_nothing():
    with bench(FRAMES, offered=WITH_HINTS) as made:
        made.device.set_command(FIRST)
        made.run_for(1)
        lent = made.driver.hinting.blocks
        made.device.set_command(STOP)
        made.run_for(1)
        assert made.driver.hinting.blocks == lent
        assert hints(made).count(STOP) == 1


def test_a_full_ring_is_waited_for_with_one_entry_left_for_stop():
    with bench(FRAMES, offered=WITH_HINTS) as made:
        load_with_small_rings(made)
        made.device.answers = False
        made.device.set_command(FIRST)
        made.run_for(0.1)
        assert len(hints(made)) == 7
        made.device.answer()
        made.run_for(0.1)
        assert len(hints(made)) == 14
        assert STOP not in hints(made)
        made.device.answers = True
        made.device.answer()
        made.run_for(0.1)
        assert hints(made)[-1] == STOP


@pytest.mark.parametrize(("command", "lent"), [(STOP, 6), (DONE, 0)])
def test_a_command_on_the_way_ends_the_round(command, lent):
    """Clause 51, and D11: the ID is looked at before each block."""
    with bench(FRAMES, offered=WITH_HINTS) as made:
        load_with_small_rings(made)
        made.device.answers = False
        made.device.set_command(FIRST)
        made.run_for(0.1)
        made.device.set_command(command)
        made.run_for(0.1)
        assert hints(made)[7:] == [STOP]
        assert made.driver.hinting.blocks == lent


def test_a_new_id_on_the_way_ends_the_round_and_begins_another():
    with bench(FRAMES, offered=WITH_HINTS) as made:
        load_with_small_rings(made)
        made.device.answers = False
        made.device.set_command(FIRST)
        made.run_for(0.1)
        made.device.answers = True
        made.device.answer()
        made.device.set_command(FIRST + 1)
        made.run_for(0.1)
        assert [said for said in hints(made) if isinstance(said, int)] == [FIRST, STOP, FIRST + 1, STOP]


def test_an_id_for_which_the_ring_has_no_room_is_lost_with_a_warning():
    """As in Linux, where the round goes on all the same: the device has to ignore what it is given then."""
    with bench(FRAMES, offered=WITH_HINTS) as made:
        load_with_small_rings(made)
        made.device.answers = False
        made.device.set_command(FIRST)
        made.run_for(0.1)
        made.device.set_command(FIRST + 1)
        made.run_for(0.1)
        made.device.answers = True
        made.device.answer()
        made.run_for(0.1)
        assert [said for said in hints(made) if isinstance(said, int)] == [FIRST, STOP, STOP]
        assert made.guest.mm.warnings == ["free_page_vq has no room for command ID 3"]


@every_ring
def test_the_device_is_asked_not_to_interrupt_for_hints(offered):
    with bench(FRAMES, offered=offered) as made:
        interrupts, interrupt = [], made.driver.queue_interrupt
        made.driver.queue_interrupt = lambda index: (interrupts.append(index), interrupt(index))
        made.device.set_command(FIRST)
        made.run_for(1)
        assert len(hints(made)) > 3
        # With an event index there is no way to say never: the one that stands where the ring began may come.
        assert interrupts.count(3) <= (1 if offered & RingFeature.EVENT_IDX else 0)


@pytest.mark.parametrize(("wanted", "given"), [(1, 1024), (1024, 1024), (1025, 2048), (1 << 20, None)])
def test_the_shrinker_gives_whole_blocks(wanted, given):
    """D10."""
    with bench(FRAMES, offered=WITH_HINTS) as made:
        made.device.set_command(FIRST)
        made.run_for(1)
        (shrinker,) = made.guest.mm.shrinkers
        lent = shrinker.count()
        assert lent == 1024 * made.driver.hinting.blocks
        given = lent if given is None else given
        free = made.guest.counts.free
        assert made.start(shrinker.scan(wanted)) == [given]
        assert (shrinker.count(), made.guest.counts.free) == (lent - given, free + given)


def test_memory_that_is_short_is_taken_from_the_blocks():
    """D10: what hinting took, the balloon itself can have."""
    with bench(FRAMES, offered=WITH_HINTS) as made:
        made.device.set_command(FIRST)
        made.run_for(1)
        lent = made.driver.hinting.blocks
        made.resize(3000)
        made.run_for(1)
        assert made.driver.num_pages == 3000
        assert made.driver.hinting.blocks < lent


def test_removing_gives_the_blocks_back():
    """D15."""
    with bench(FRAMES, offered=WITH_HINTS) as made:
        free = made.guest.counts.free
        made.device.set_command(FIRST)
        made.run_for(1)
        made.start(made.driver.remove())
        made.run_for(1)
        assert made.guest.counts.free == free


def test_a_command_that_comes_right_before_a_freeze_is_followed_after_it():
    with bench(FRAMES, offered=WITH_HINTS) as made:
        made.guest.kernel.spawn(made.driver.freeze())
        made.device.set_command(FIRST)
        made.run_for(0.01)
        assert hints(made) == []
        made.driver.restore()
        made.run_for(1)
        assert (hints(made)[0], hints(made)[-1]) == (FIRST, STOP)
