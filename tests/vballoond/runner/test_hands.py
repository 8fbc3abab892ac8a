"""Targets that somebody sets while policies are at work."""

import asyncio
from dataclasses import replace

from support.policy_views import MIB
from support.scripts_here import Thinking, policy, wishing

from vballoond.config.models import BalloonSettings
from vballoond.policy import Plan, View, Wish
from vballoond.policy.guard.state import GuardState, GuestRecord
from vballoond.runner.acting import Acting
from vballoond.runner.hands import Hands

FRAMES_PER_MIB = 256


async def set_by_hand(it) -> list[str]:
    return list((await it.runner.status()).by_hand_until_s)


async def test_what_is_set_by_hand_is_left_alone_for_a_while(bench) -> None:
    async with bench("a", "b", policies=(wishing("p", a=8, b=8),), name="p", by_hand_s=25, start=True) as it:
        await asyncio.sleep(5)
        it.life.service("a").set_target(1024)
        await asyncio.sleep(10)
        assert (it.target_mib("a"), it.target_mib("b")) == (4, 8)
        status = await it.runner.status()
        assert list(status.by_hand_until_s) == ["a"]
        _, newest = next(it.runner.log.newest_first())
        (left,) = [decision for decision in newest["decisions"] if decision["balloon"] == "a"]
        assert (left["wished_bytes"], left["target_bytes"]) == (8 * MIB, 4 * MIB)
        assert left["changes"][0]["rule"] == "set by hand"
        await asyncio.sleep(30)
        assert it.target_mib("a") == 8


async def test_without_a_time_for_hands_the_next_round_moves_it(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8),), name="p", by_hand_s=0) as it:
        await it.runner.round()
        it.life.service("a").set_target(1024)
        await asyncio.sleep(10)
        await it.runner.round()
        assert it.target_mib("a") == 8


async def test_choosing_a_policy_lets_go_of_what_was_set_by_hand(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8), wishing("q", a=12)), name="p", start=True) as it:
        await asyncio.sleep(5)
        it.life.service("a").set_target(1024)
        await asyncio.sleep(10)
        assert it.target_mib("a") == 4
        await it.runner.choose(Acting("q"), None, change_shadow=False)
        await asyncio.sleep(1)
        assert it.target_mib("a") == 12


async def test_choosing_lets_go_of_what_was_set_since_the_last_round_too(bench) -> None:
    async with bench("a", policies=(wishing("q", a=12),), start=True) as it:
        await asyncio.sleep(5)
        it.life.service("a").set_target(1024)
        await it.runner.choose(Acting("q"), None, change_shadow=False)
        await asyncio.sleep(15)
        assert it.target_mib("a") == 12
        assert (await it.runner.status()).by_hand_until_s == {}


async def test_a_balloon_that_is_new_can_be_set_by_hand_before_a_round_has_seen_it(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8, b=8),), name="p", guard={"new_for_s": 0}, start=True) as it:
        await asyncio.sleep(5)
        added = BalloonSettings.model_validate({"name": "b", "transport": "in-process", "memory": "64MiB"})
        (await it.life.fleet.add(added)).set_target(1024)
        assert list((await it.runner.status()).by_hand_until_s) == ["b"]
        await asyncio.sleep(60)
        assert (it.target_mib("a"), it.target_mib("b")) == (8, 4)


async def test_what_comes_again_with_an_old_target_was_not_set_by_hand(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8),), name="p", guard={"new_for_s": 0}, start=True) as it:
        await asyncio.sleep(5)
        again = it.life.service("a").settings
        await it.life.keep()
        await it.life.fleet.remove("a", force=True)
        service = await it.life.fleet.add(again)
        assert service.target_frames == 2048
        assert await set_by_hand(it) == []
        service.set_target(1024)
        assert await set_by_hand(it) == ["a"]
        await it.life.keep()
        await it.life.fleet.remove("a", force=True)  # as a reload does with one that changes
        assert (await it.life.fleet.add(again)).target_frames == 1024
        assert await set_by_hand(it) == ["a"]


async def test_what_the_daemon_moves_by_itself_is_nobodys_hand(bench) -> None:
    async with bench("a", policies=(wishing("p", a=32),), name="p") as it:
        await it.runner.round()
        service = it.life.service("a")
        service.change_settings(service.settings.model_copy(update={"max": 16 * MIB}))
        assert it.target_mib("a") == 16
        await it.runner.round()
        assert (await it.runner.status()).by_hand_until_s == {}


async def test_a_hand_that_is_quicker_than_the_round_wins(bench) -> None:
    async with bench("a", name="p") as it:

        def plan(view: View) -> Plan:  # noqa: ARG001
            it.life.service("a").set_target(1024)  # while the policy thinks
            return Plan((Wish("a", 8 * MIB, "too late"),))

        it.scripts.add(policy("p", plan))
        await it.runner.round()
        assert it.target_mib("a") == 4


async def test_a_hand_is_known_before_a_round_and_kept_at_once(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8),), name="p", start=True) as before:
        await asyncio.sleep(5)
        before.life.service("a").set_target(4 * FRAMES_PER_MIB)
        await before.runner.keep_what_was_set()
        assert await set_by_hand(before) == ["a"]
        left = before.kept[-1]
        assert list(left.by_hand_until_s) == ["a"]
    async with bench("a", policies=(wishing("p", a=8),), name="p", left=left, start=True) as after:
        await asyncio.sleep(5)
        assert (await set_by_hand(after), after.target_mib("a")) == (["a"], 0)
    async with bench("a", policies=(wishing("q", a=8),), name="q", left=left, start=True) as other:
        await asyncio.sleep(5)
        assert (await set_by_hand(other), other.target_mib("a")) == ([], 8)


async def test_before_all_balloons_are_there_nobody_is_forgotten(bench) -> None:
    async with bench("a", policies=(wishing("p"),), name="p", start=True) as before:
        before.life.service("a").set_target(4 * FRAMES_PER_MIB)
        await before.runner.keep_what_was_set()
        left = before.kept[-1]
    async with bench(policies=(wishing("p"),), name="p", left=left) as after:
        await after.runner.keep_what_was_set()  # a target was clamped meanwhile
        assert list(after.runner.kept().by_hand_until_s) == ["a"]


async def test_a_balloon_that_begins_anew_is_not_the_one_that_was_set_by_hand(bench) -> None:
    async with bench("a", "b", policies=(wishing("p"),), name="p", start=True) as it:
        for name in ("a", "b"):
            it.life.service(name).set_target(4 * FRAMES_PER_MIB)
        assert await set_by_hand(it) == ["a", "b"]
        settings = it.life.service("a").settings
        await it.life.fleet.remove("a", force=True)
        await it.life.fleet.add(settings)
        assert await set_by_hand(it) == ["b"]
        await it.life.fleet.remove("b", force=True)
        assert await set_by_hand(it) == []


async def test_another_balloon_of_the_name_counts_its_resizes_anew(bench) -> None:
    async with bench("a", policies=(wishing("p"),), name="p") as it:
        it.life.service("a").set_target(4 * FRAMES_PER_MIB)
        await it.runner.choose(Acting("p"), None, change_shadow=False)
        settings = it.life.service("a").settings
        await it.life.fleet.remove("a", force=True)
        (await it.life.fleet.add(settings)).set_target(4 * FRAMES_PER_MIB)
        assert await set_by_hand(it) == ["a"]


async def test_a_plan_of_the_acting_policy_knows_hands(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8), wishing("q", a=8)), name="p", start=True) as it:
        await asyncio.sleep(5)
        it.life.service("a").set_target(4 * FRAMES_PER_MIB)
        for name, mib in (("p", 4), ("q", 8)):  # choosing q would let go
            dry = await it.runner.plan(name, None, None)
            assert [each.target_bytes for each in dry.decisions.explanations] == [mib * MIB]


def test_what_the_guard_ordered_before_a_hand_is_not_its_to_take_back() -> None:
    record = GuestRecord(first_seen_s=0, actual_bytes=0, progress_at_s=0, asked_at_s=0, ordered_bytes=5, direction=1)
    state = GuardState(at_s=7.0, guests={"a": record, "b": record})
    left = Hands({"a": 99.0}).without_orders(state)
    assert left == replace(state, guests={"a": replace(record, ordered_bytes=None), "b": record})


async def test_the_guard_knows_whose_target_it_is(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8),), name="p", start=True) as it:
        await asyncio.sleep(5)
        assert it.runner._rounds._state.guests["a"].ordered_bytes == 8 * MIB
        it.life.service("a").set_target(8 * FRAMES_PER_MIB)
        await asyncio.sleep(10)
        assert it.runner._rounds._state.guests["a"].ordered_bytes is None


async def test_a_hand_that_somebody_looked_at_while_the_policy_thinks_wins_too(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8),), name="p", start=True) as it:
        thinking = Thinking(it.scripts, "p")
        await thinking.asked.wait()
        it.life.service("a").set_target(4 * FRAMES_PER_MIB)
        assert await set_by_hand(it) == ["a"]
        thinking.may_answer.set()
        await asyncio.sleep(5)
        assert it.target_mib("a") == 4


async def test_a_hand_just_before_the_end_is_kept(bench) -> None:
    async with bench("a", policies=(wishing("p"),), name="p", start=True) as it:
        await asyncio.sleep(5)
        it.life.service("a").set_target(4 * FRAMES_PER_MIB)
    assert list(it.kept[-1].by_hand_until_s) == ["a"]
