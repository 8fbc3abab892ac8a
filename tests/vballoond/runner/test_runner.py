"""Who decides, chosen and configured while rounds go on."""

import asyncio
from contextlib import asynccontextmanager

from support.policy_views import MIB
from support.scripts_here import ScriptsHere, Thinking, fails, policy, wishing

from vballoond.config.models import BalloonSettings
from vballoond.runner.acting import Acting


@asynccontextmanager
async def slow_thinks(bench):
    """The policy ``slow`` acts, and has been asked for its first plan; ``q`` is there, too."""
    async with bench("a", policies=(wishing("slow", a=8), wishing("q", a=12)), name="slow", start=True) as it:
        thinking = Thinking(it.scripts, "slow")
        await thinking.asked.wait()
        yield it, thinking


async def test_who_is_chosen_does_not_wait_for_the_one_that_thinks(bench) -> None:
    async with slow_thinks(bench) as (it, thinking):
        await it.runner.choose(Acting("static"), None, change_shadow=False)
        await asyncio.sleep(30)
        assert (it.target_mib("a"), len(it.runner.log)) == (0, 0)
        assert (await it.runner.status()).acting.name == "static"
        thinking.may_answer.set()
        await asyncio.sleep(30)
        assert it.target_mib("a") == 0


async def test_who_is_chosen_acts_although_the_one_before_thinks_on(bench) -> None:
    async with slow_thinks(bench) as (it, _):
        await it.runner.choose(Acting("q"), None, change_shadow=False)
        await asyncio.sleep(1)
        assert it.target_mib("a") == 12
        assert [record["error"] for _, record in it.runner.log.newest_first()] == [None]


async def test_an_end_while_a_policy_thinks_is_no_choice(bench) -> None:
    async with slow_thinks(bench) as (it, _):
        await it.runner.close()
        assert it.runner._task is None
        assert len(it.runner.log) == 0


async def test_what_is_asked_for_the_api_does_not_wait_for_the_one_that_thinks(bench) -> None:
    async with slow_thinks(bench) as (it, _):
        # As where a process has one question at a time:
        it.scripts.look = it.scripts.settle = it.scripts.plan = lambda *_: asyncio.Event().wait()
        (decision,) = (await it.runner.plan("q", None, None)).decisions.explanations
        assert decision.target_bytes == 12 * MIB
        await it.runner.choose(Acting("q"), None, change_shadow=False)
        assert (await it.runner.status()).acting.name == "q"


async def test_a_shadow_that_is_let_go_while_it_thinks_is_gone(bench) -> None:
    async with bench("a", policies=(wishing("p"), wishing("slow", a=8)), name="p", start=True) as it:
        thinking = Thinking(it.scripts, "slow")
        await it.runner.choose(None, Acting("slow"), change_shadow=True)
        await thinking.asked.wait()
        await it.runner.choose(None, None, change_shadow=True)
        thinking.may_answer.set()
        await asyncio.sleep(5)
        status = await it.runner.status()
        assert (status.shadow, status.differences) == (None, ())


async def test_a_shadow_is_judged_as_if_it_acted(bench) -> None:
    async with bench("a", policies=(wishing("p"), wishing("q", a=12)), name="p", start=True) as it:
        await it.runner.choose(None, Acting("q"), change_shadow=True)
        await asyncio.sleep(25)
        shadows = [record for _, record in it.runner.log.newest_first() if record["shadow"]]
        assert [[each["target_bytes"] for each in record["decisions"]] for record in shadows] == [[12 * MIB]] * 3


async def test_where_nobody_decides_a_guest_gets_old_all_the_same(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8),), start=True, old=False) as it:
        assert [guest.state for guest in (await it.runner.snapshot()).guests] == ["new"]
        await asyncio.sleep(40)
        assert [guest.state for guest in (await it.runner.snapshot()).guests] == ["running"]


async def test_a_guest_that_came_while_nobody_decided_is_not_new_for_that(bench) -> None:
    async with bench("a", policies=(wishing("p"), wishing("q", a=8, b=8)), name="p", start=True) as it:
        await asyncio.sleep(15)
        await it.runner.choose(Acting("static"), None, change_shadow=False)
        await asyncio.sleep(15)
        added = BalloonSettings.model_validate({"name": "b", "transport": "in-process", "memory": "64MiB"})
        await it.life.fleet.add(added)
        await asyncio.sleep(60)
        await it.runner.choose(Acting("q"), None, change_shadow=False)
        await asyncio.sleep(1)
        assert (it.target_mib("a"), it.target_mib("b")) == (8, 8)


async def test_what_the_scripts_of_before_still_say_does_not_count(bench) -> None:
    async with bench("a", policies=(wishing("old"),)) as it:
        looked, beside = asyncio.Event(), it.runner._rounds.beside
        old = beside.look

        async def slow_look():
            await looked.wait()
            return await old()

        beside.look = slow_look
        looking = asyncio.create_task(it.runner.status())
        await asyncio.sleep(0)
        it.runner._make_scripts = lambda _: ScriptsHere(wishing("new"))
        await it.runner.follow(it.runner._settings.model_copy(update={"time_limit_s": 1.0}))
        looked.set()
        assert {"old", "new"} & set((await looking).known.policies) == {"new"}


async def test_what_is_beside_is_ended_with_the_rest(bench) -> None:
    async with bench("a") as it:
        beside = it.runner._rounds.beside
        await it.runner.round()
        assert (beside.ends_if_idle, it.scripts.ends_if_idle) == (1, 0)
        await it.runner.follow(it.runner._settings.model_copy(update={"time_limit_s": 1.0}))
        assert beside.closed
        # Of the same stand-in, but not the same one.
        again = it.runner._rounds.beside
        assert again is not beside
        again.closed = False
    assert again.closed


async def test_a_reload_while_a_policy_thinks_is_no_failure_of_it(bench) -> None:
    async with slow_thinks(bench) as (it, _):
        it.runner._make_scripts = lambda _: ScriptsHere(wishing("slow", a=12))
        await it.runner.follow(it.runner._settings.model_copy(update={"time_limit_s": 1.0}))
        await asyncio.sleep(1)
        assert it.target_mib("a") == 12
        assert [record["error"] for _, record in it.runner.log.newest_first()] == [None]


async def test_who_is_chosen_amid_a_look_at_the_host_is_asked_once(bench) -> None:
    policies = (wishing("p", a=8), wishing("q", a=12))
    async with bench("a", policies=policies, name="p") as it:
        looking, may_see, read = asyncio.Event(), asyncio.Event(), it.runner._lookout.view

        async def slowly(*more, **keys):
            looking.set()
            await may_see.wait()
            return await read(*more, **keys)

        it.runner._lookout.view = slowly
        round_ = asyncio.create_task(it.runner.round())
        await looking.wait()
        await it.runner.choose(Acting("q"), None, change_shadow=False)
        may_see.set()
        await round_
        assert it.scripts.views == []
        await it.runner.round()
        assert (len(it.scripts.views), it.target_mib("a")) == (1, 12)


async def test_a_policy_that_is_gone_and_comes_again_has_failed_as_often(bench) -> None:
    async with bench("a", policies=(policy("bad", fails("no")),), name="bad") as it:
        for _ in range(3):
            await it.runner.round()
        found = it.scripts._found.pop("bad")
        await it.runner.round()
        it.scripts._found["bad"] = found
        await it.runner.round()
        assert (await it.runner.status()).acting.set_aside


async def test_a_reload_is_followed_in_every_part(bench, tmp_path) -> None:
    policies = (wishing("p", a=8), wishing("q", a=12))
    async with bench("a", policies=policies, name="p", start=True, reserve="0MiB") as it:
        it.life.service("a").set_target(1024)
        await asyncio.sleep(5)
        made = []
        it.runner._make_scripts = lambda settings: made.append(settings) or ScriptsHere(*policies)
        new = {"reserve": 96 * MIB, "by_hand_s": 25.0, "directory": tmp_path}
        new["guard"] = it.runner._settings.guard.model_copy(update={"new_for_s": 1e4})
        await it.runner.follow(it.runner._settings.model_copy(update=new))
        assert it.scripts.closed
        assert [settings.directory for settings in made] == [tmp_path]
        snapshot = await it.runner.snapshot()
        assert snapshot.host.reserve_bytes == 96 * MIB
        assert [guest.state for guest in snapshot.guests] == ["running"]
        assert list(it.kept[-1].by_hand_until_s) == ["a"]
        it.life.service("a").set_target(2048)
        before_s = it.runner._rounds.now_s
        assert (await it.runner.status()).by_hand_until_s["a"] - before_s <= 26


async def test_another_policy_in_the_configuration_lets_go_of_hands_and_acts_at_once(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8), wishing("q", a=12)), name="p", start=True) as it:
        await asyncio.sleep(5)
        it.life.service("a").set_target(1024)
        await it.runner.follow(it.runner._settings.model_copy(update={"name": "q"}))
        await asyncio.sleep(1)
        assert it.target_mib("a") == 12


async def test_reservations_are_kept_and_heard_of_as_they_change(bench) -> None:
    async with bench("a", policies=(wishing("p"),), name="p", start=True) as it:
        await asyncio.sleep(5)
        asked = len(it.scripts.views)
        await it.runner.reserve(700 * MIB, within_s=600, keep_s=60, purpose="")
        assert [each.state for each in it.kept[-1].book.reservations] == ["gathering"]
        await asyncio.sleep(0.5)
        assert len(it.scripts.views) == asked + 1
        it.host.available_mib = 1000
        await asyncio.sleep(3)
        assert [each.state for each in it.kept[-1].book.reservations] == ["ready"]
        await it.runner.claim(1, None)
        assert [each.state for each in it.kept[-1].book.reservations] == ["claimed"]
        await it.runner.reserve(900 * MIB, within_s=600, keep_s=60, purpose="")
        await it.runner.cancel(2)
        events = len(it.events("reservation"))
        await it.runner.cancel(2)
        assert [each.state for each in it.kept[-1].book.reservations] == ["claimed", "expired"]
        assert len(it.events("reservation")) == events
