"""Inflating and deflating: what binds the driver."""

import pytest
from support.fake_device import OFFERED, Bench, bench

from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.movable import MigrateMode
from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.features import BalloonFeature

WITH_OOM = OFFERED | BalloonFeature.DEFLATE_ON_OOM
WITHOUT_MUST_TELL = OFFERED & ~BalloonFeature.MUST_TELL_HOST


def listed(made: Bench, queue: str) -> set[int]:
    return {page for request in made.seen(queue) for page in request}


def all_that_can_be_had(made: Bench) -> set[int]:
    """Allocate until there is nothing left."""
    return set(iter(lambda: made.guest.mm.alloc_page(Gfp.HIGHUSER_MOVABLE), None))


def migrate(made: Bench, page: int, newpage: int):
    """Do what compaction does with a page of the balloon."""
    mm = made.guest.mm
    assert mm.page_mapping(page).isolate(page)
    assert mm.trylock_page(page)
    yield from mm.page_mapping(page).migrate(newpage, page, MigrateMode.SYNC)
    mm.unlock_page(page)


def ask_for_memory(made: Bench) -> None:
    """Do what the out-of-memory killer does first."""
    for notifier in made.guest.mm.oom_notifiers:
        made.start(notifier())


@pytest.mark.clause(25, "5.5.6.1", "SHOULD supply pages while num_pages is above actual")
def test_the_balloon_grows_to_the_target():
    with bench() as made:
        made.resize(600)
        assert len(listed(made, "inflateq")) == made.device.config.actual == 600


@pytest.mark.clause(26, "5.5.6.1", "MAY use pages of the balloon while num_pages is below actual", "used")
def test_pages_above_the_target_are_the_guests_again():
    with bench() as made:
        made.resize(600)
        free = made.guest.counts.free
        made.resize(100)
        assert made.guest.counts.free == free + 500
        assert made.device.config.actual == 100


@pytest.mark.clause(27, "5.5.6.1", "MAY supply pages while num_pages is not below actual", "used")
def test_a_page_is_supplied_for_another_one_though_the_target_is_reached():
    with bench() as made:
        made.resize(10)
        page, newpage = made.seen("inflateq")[0][0], made.guest.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
        made.start(migrate(made, page, newpage))
        assert made.seen("inflateq")[1:] == [[newpage]]
        assert made.device.config.actual == made.device.config.num_pages == 10


@pytest.mark.clause(28, "5.5.6.1", "without DEFLATE_ON_OOM MUST NOT use pages that the target covers")
def test_a_guest_without_memory_leaves_the_balloon_alone():
    """The text says "num_pages is less than or equal to actual", which would forbid deflating at all."""
    with bench() as made:
        made.resize(500)
        assert not all_that_can_be_had(made) & listed(made, "inflateq")
        ask_for_memory(made)
        made.run_for(10)
        assert made.seen("deflateq") == []
        assert made.driver.num_pages == 500


@pytest.mark.clause(29, "5.5.6.1", "with DEFLATE_ON_OOM MAY use pages where the guest needs them to survive", "used")
def test_a_guest_without_memory_takes_pages_from_the_balloon():
    with bench(offered=WITH_OOM) as made:
        made.resize(500)
        all_that_can_be_had(made)
        ask_for_memory(made)
        assert made.driver.num_pages == made.device.config.actual == 244


@pytest.mark.clause(30, "5.5.6.1", "MUST use the deflateq to get pages back")
@pytest.mark.parametrize("offered", [WITH_OOM, WITHOUT_MUST_TELL])
def test_what_comes_back_in_whatever_way_stood_on_the_deflateq(offered):
    with bench(offered=offered) as made:
        free = made.guest.counts.free
        made.resize(600)
        ask_for_memory(made)
        assert made.guest.counts.free == free - 600 + len(listed(made, "deflateq"))
        made.resize(40)
        assert made.guest.counts.free == free - 40
        made.start(made.driver.remove())
        made.run_for(1)
        assert listed(made, "deflateq") == listed(made, "inflateq")


@pytest.mark.clause(31, "5.5.6.1", "with MUST_TELL_HOST MUST NOT use pages before deflating is answered")
def test_pages_are_the_guests_again_when_deflating_was_answered():
    with bench() as made:
        made.resize(600)
        made.device.answers = False
        made.resize(500)
        assert not all_that_can_be_had(made) & listed(made, "deflateq")
        made.device.answer()
        made.settle()
        assert len(listed(made, "deflateq")) == 100
        assert all_that_can_be_had(made) & listed(made, "deflateq")


@pytest.mark.clause(32, "5.5.6.1", "without MUST_TELL_HOST MAY use pages right after asking for them", "not used")
def test_the_answer_is_waited_for_even_where_the_host_does_not_ask_for_that():
    with bench(offered=WITHOUT_MUST_TELL) as made:
        made.resize(600)
        made.device.answers = False
        free = made.guest.counts.free
        made.resize(500)
        assert len(listed(made, "deflateq")) == 100
        assert made.guest.counts.free == free


@pytest.mark.clause(33, "5.5.6.1", "MUST NOT use a page after listing it to inflate, before that is answered")
def test_a_page_on_its_way_into_the_balloon_is_nobodys():
    with bench() as made:
        made.device.answers = False
        made.resize(200)
        assert len(listed(made, "inflateq")) == 200
        assert not all_that_can_be_had(made) & listed(made, "inflateq")


@pytest.mark.clause(34, "5.5.6.1", "MUST NOT deflate a page before its inflation was answered")
@pytest.mark.parametrize("offered", [OFFERED, WITH_OOM])
def test_deflating_waits_for_the_answer_to_inflating(offered):
    with bench(offered=offered) as made:
        made.device.answers = False
        made.resize(200)
        made.resize(0)
        ask_for_memory(made)
        assert made.seen("deflateq") == []
        made.device.answers = True
        made.device.answer()
        made.settle()
        assert listed(made, "deflateq") == listed(made, "inflateq") != set()


@pytest.mark.clause(35, "5.5.6.1", "MUST update actual after changing how many pages the balloon holds")
def test_actual_is_what_the_balloon_holds():
    with bench(offered=WITH_OOM) as made:
        for target in (700, 30, 0, 300):
            made.resize(target)
            assert made.device.config.actual == made.driver.num_pages == target
        ask_for_memory(made)
        assert made.device.config.actual == made.driver.num_pages == 44


@pytest.mark.clause(36, "5.5.6.1", "MAY update actual once for several requests", "not used")
def test_actual_is_written_after_each_request():
    with bench() as made:
        made.resize(600)
        made.resize(0)
        requests = len(made.seen("inflateq")) + len(made.seen("deflateq"))
        assert requests == len(made.seen("actual")) == 6


@pytest.mark.clause(37, "5.5.6.2.1", "a legacy driver SHOULD ignore how much the device says it wrote", "legacy")
@pytest.mark.parametrize("written_bytes", [0, 4, 0xFFFFFFFF])
def test_the_used_length_is_not_looked_at(written_bytes):
    with bench() as made:
        made.device.answers = False
        made.resize(10)
        ((index, head),) = made.device._unanswered
        made.device._unanswered.clear()
        made.device._rings[index].push(head, written_bytes)
        made.driver.queue_interrupt(index)
        made.settle()
        assert made.device.config.actual == 10


@pytest.mark.clause(38, "5.5.6.2.1", "a legacy driver MUST write actual in one access", "legacy")
def test_actual_is_written_whole():
    with bench() as made:
        writes = []
        write_config = made.device.write_config
        made.device.write_config = lambda offset, data: [writes.append((offset, len(data))), write_config(offset, data)]
        made.resize(600)
        assert writes == [(BALLOON_CONFIG.offset_of("actual"), 4)] * 3
