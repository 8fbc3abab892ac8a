"""Rounds over modelled guests, in virtual time."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from support.policy_views import MIB
from support.scripts_here import fails, policy, wishing

from protocol.balloon.page_frames import FRAME_BYTES
from vballoond.errors import OperatorError, PolicyError
from vballoond.policy import Alert, Plan, View
from vballoond.runner.acting import Acting


def counting(view: View) -> Plan:
    return Plan(memory={"asked": view.memory.get("asked", 0) + 1})


async def test_what_a_policy_wishes_becomes_a_target(bench) -> None:
    async with bench("a", "b", policies=(wishing("p", a=8),), name="p") as it:
        await it.runner.round()
        assert (it.target_mib("a"), it.target_mib("b")) == (8, 0)
        (event,) = it.events()
        assert event["policy"] == "p"
        assert event["problem"] is None
        assert event["decisions"] == [
            {"balloon": "a", "from_bytes": 0, "wished_bytes": 8 * MIB, "target_bytes": 8 * MIB, "reason": "p says so"}
        ]


async def test_rounds_come_each_interval_and_the_first_at_once(bench) -> None:
    async with bench("a", policies=(policy("p", counting),), name="p", interval_s=10, start=True) as it:
        await asyncio.sleep(0.5)
        assert len(it.scripts.views) == 1
        await asyncio.sleep(30)
        assert [view.memory for view in it.scripts.views] == [{}, {"asked": 1}, {"asked": 2}, {"asked": 3}]
        assert it.scripts.views[3].now_s - it.scripts.views[2].now_s == pytest.approx(10, abs=0.1)


async def test_a_process_whose_plan_means_nothing_is_trusted_no_more(bench) -> None:
    async def lie(*_: Any) -> bytes:
        return b'{"wishes": [{"guest": "nobody", "target_bytes": 0, "reason": "x"}]}'

    async with bench("a", policies=(wishing("p", a=8),), name="p") as it:
        it.scripts.plan = lie
        await it.runner.round()
        assert it.scripts.restarts == 1
        assert "nobody" in (await it.runner.status()).acting.problem
        assert it.target_mib("a") == 0


async def test_under_static_nothing_is_asked_and_nothing_moves(bench) -> None:
    async with bench("a", start=True) as it:
        it.life.service("a").set_target(1024)
        it.host.available_mib = 1
        await asyncio.sleep(100)
        assert it.target_mib("a") == 4
        assert it.events() == []
        assert it.scripts.views == []


async def test_a_wish_beyond_the_bounds_is_cut_and_a_quarter_remains_without_bounds(bench) -> None:
    guests = ({"name": "a", "min": "4MiB", "max": "16MiB"}, "b")
    async with bench(*guests, policies=(wishing("p", a=64, b=64),), name="p") as it:
        await it.runner.round()
        assert (it.target_mib("a"), it.target_mib("b")) == (16, 48)


async def test_a_policy_that_fails_changes_nothing_and_is_told_once(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8),), name="p") as it:
        await it.runner.round()
        it.scripts.add(policy("p", fails("no plan today")))
        await it.runner.round()
        await it.runner.round()
        problems = [event["problem"] for event in it.events() if event["problem"]]
        assert len(problems) == 1
        assert "no plan today" in problems[0]
        assert it.target_mib("a") == 8
        assert "no plan today" in (await it.runner.status()).acting.problem


async def test_a_policy_that_fails_three_times_is_set_aside_until_its_file_changes(bench) -> None:
    async with bench("a", policies=(policy("p", fails("no")),), name="p") as it:
        for _ in range(5):
            await it.runner.round()
        assert len(it.scripts.views) == 3
        status = await it.runner.status()
        assert status.acting.set_aside
        assert status.acting.problem.startswith("it is set aside, and the last targets hold")
        assert [event["problem"] for event in it.events()][-1] == status.acting.problem
        it.scripts.add(wishing("p", a=8))
        await it.runner.round()
        assert it.target_mib("a") == 8
        assert (await it.runner.status()).acting.problem is None


async def test_a_policy_that_is_gone_is_a_problem_and_acts_again_when_it_is_back(bench) -> None:
    async with bench("a", name="p") as it:
        await it.runner.round()
        assert "no policy 'p'" in (await it.runner.status()).acting.problem
        it.scripts.add(wishing("p", a=8))
        await it.runner.round()
        assert it.target_mib("a") == 8


async def test_what_cannot_be_loaded_is_told_once(bench) -> None:
    async with bench("a", policies=(wishing("p"),), name="p") as it:
        it.scripts.problems["broken.py"] = "broken.py cannot be loaded"
        await it.runner.round()
        await it.runner.round()
        assert [event["problem"] for event in it.events()] == ["broken.py cannot be loaded"]


async def test_who_listens_is_told_of_a_choice_at_once(bench) -> None:
    async with bench("a", policies=(wishing("p"), wishing("q"))) as it:
        await it.runner.choose(Acting("p"), Acting("q"), change_shadow=True)
        assert it.events() == [{"policy": "p", "decisions": [], "alerts": [], "problem": None}]


async def test_a_policy_in_shadow_is_asked_and_not_heard(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8), wishing("q", a=12)), name="p") as it:
        await it.runner.choose(None, Acting("q"), change_shadow=True)
        await it.runner.round()
        assert it.target_mib("a") == 8
        (difference,) = (await it.runner.status()).differences
        assert (difference.acting_bytes, difference.shadow_bytes) == (8 * MIB, 12 * MIB)
        assert [(record["policy"], record["shadow"]) for _, record in it.runner.log.newest_first()] == [
            ("q", True),
            ("p", False),
        ]
        await it.runner.choose(None, None, change_shadow=True)
        await it.runner.round()
        assert (await it.runner.status()).shadow is None


async def test_a_shadow_that_fails_hurts_nobody(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8), policy("q", fails("no shadow"))), name="p") as it:
        await it.runner.choose(None, Acting("q"), change_shadow=True)
        for _ in range(4):
            await it.runner.round()
        assert it.target_mib("a") == 8
        status = await it.runner.status()
        assert status.acting.problem is None
        assert status.shadow.set_aside


async def test_a_dry_run_says_what_would_be_and_changes_nothing(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8), policy("c", counting))) as it:
        dry = await it.runner.plan("p", None, None)
        assert [(each.guest, each.target_bytes) for each in dry.decisions.explanations] == [("a", 8 * MIB)]
        assert it.target_mib("a") == 0
        assert it.events() == []
        assert len(it.runner.log) == 0
        await it.runner.plan("c", None, None)
        assert (await it.runner.snapshot()).memory == {}


async def test_a_dry_run_about_a_recorded_snapshot_is_about_that(bench) -> None:
    async with bench("a", policies=(policy("c", counting),)) as it:
        recorded = replace(await it.runner.snapshot(), now_s=5.0, memory={"asked": 41})
        await it.runner.plan("c", None, recorded)
        assert it.scripts.views[0] == recorded


async def test_dry_runs_of_what_is_not_there_or_fails_are_errors(bench) -> None:
    async with bench("a", policies=(policy("p", fails("no")),)) as it:
        with pytest.raises(OperatorError, match="no policy 'x'; there are: available-balance"):
            await it.runner.plan("x", None, None)
        with pytest.raises(OperatorError, match="pressure_threshold"):
            await it.runner.plan("watermark", {"pressure_threshold": 7}, None)
        with pytest.raises(PolicyError, match="no"):
            await it.runner.plan("p", None, None)


async def test_choosing_what_is_not_there_changes_nothing(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8),), name="p") as it:
        with pytest.raises(OperatorError):
            await it.runner.choose(Acting("p"), Acting("x"), change_shadow=True)
        with pytest.raises(OperatorError):
            await it.runner.choose(Acting("watermark", {"x": 1}), None, change_shadow=False)
        status = await it.runner.status()
        assert (status.acting.name, status.shadow) == ("p", None)


async def test_alerts_are_told_when_they_are_new(bench) -> None:
    alert = Plan(alerts=(Alert(None, "the host is short"),))
    async with bench("a", policies=(policy("p", lambda _: alert),), name="p") as it:
        for _ in range(3):
            await it.runner.round()
        assert [event["alerts"] for event in it.events()] == [
            [{"balloon": None, "message": "the host is short", "level": "warning"}]
        ]


async def test_what_is_known_outlives_the_process(bench) -> None:
    policies = (policy("p", counting), wishing("q"))
    async with bench("a", policies=policies) as before:
        await before.runner.choose(Acting("p"), Acting("q"), change_shadow=True)
        await before.runner.round()
        await before.runner.reserve(8 * MIB, within_s=60, keep_s=60, purpose="vm7")
        left = type(before.kept[-1]).model_validate_json(before.kept[-1].model_dump_json())
    async with bench("a", policies=policies, left=left) as after:
        await after.runner.round()
        assert after.scripts.views[0].memory == {"asked": 1}
        assert (await after.runner.status()).shadow.name == "q"
        (kept,) = after.runner.desk.book.reservations
        assert (kept.wanted_bytes, kept.purpose) == (8 * MIB, "vm7")


async def test_a_configuration_that_names_another_policy_counts_before_what_was_chosen(bench) -> None:
    async with bench("a", policies=(wishing("p"), wishing("q"))) as before:
        await before.runner.choose(Acting("p"), None, change_shadow=False)
        left = before.kept[-1]
    async with bench("a", policies=(wishing("p"), wishing("q")), left=left) as same:
        assert (await same.runner.status()).acting.name == "p"
    async with bench("a", policies=(wishing("p"), wishing("q")), left=left, name="q") as other:
        assert (await other.runner.status()).acting.name == "q"


async def test_a_reload_that_changes_nothing_of_policies_says_nothing(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8),)) as it:
        settings = it.runner._settings
        assert await it.runner.follow(settings) == []
        assert await it.runner.follow(settings.model_copy(update={"name": "p"})) == [
            "policy 'p' acts under other settings"
        ]
        await it.runner.round()
        assert it.target_mib("a") == 8


async def test_a_guest_whose_driver_has_just_come_is_left_alone(bench) -> None:
    async with bench("a", policies=(wishing("p", a=8),), name="p", interval_s=10, start=True, old=False) as it:
        await asyncio.sleep(25)
        assert it.target_mib("a") == 0
        await asyncio.sleep(20)
        assert it.target_mib("a") == 8


async def test_the_snapshot_has_what_guests_are(bench) -> None:
    async with bench({"name": "a", "max": "32MiB", "shares": 7, "priority": -3}) as it:
        number = it.life.service("a").set_target(8 * MIB // FRAME_BYTES)
        assert await it.life.service("a").resizing.wait(number, 60)
        await asyncio.sleep(5)
        (guest,) = (await it.runner.snapshot()).guests
        assert (guest.memory_bytes, guest.max_bytes) == (64 * MIB, 32 * MIB)
        assert (guest.target_bytes, guest.actual_bytes) == (8 * MIB, 8 * MIB)
        assert (guest.shares, guest.priority, guest.state) == (7, -3, "running")
        assert guest.free_bytes
        assert not guest.statistics.stale
        assert 0 < guest.fragmentation.free_huge_share <= 1
        assert guest.resident_bytes


async def test_a_reservation_is_gathered_waited_for_and_claimed(bench) -> None:
    async with bench("a", policies=(), name="proportional", interval_s=5, start=True) as it:
        it.host.available_mib = 60  # 51 are the host's reserve
        it.host.given_mib = lambda: it.life.service("a").held_frames / 256
        made = await it.runner.reserve(24 * MIB, within_s=300, keep_s=60, purpose="")
        assert made.state == "gathering"
        ready = await it.runner.desk.wait(made.id, 300)
        assert (ready.state, ready.reason) == ("ready", None)
        assert it.life.service("a").held_frames / 256 >= 15
        claimed = await it.runner.claim(made.id, "a")
        assert (claimed.state, claimed.claimed_by) == ("claimed", "a")
        assert [event["reservation"]["state"] for event in it.events("reservation")][-2:] == ["ready", "claimed"]


async def test_a_reservation_that_is_there_already_is_ready_at_once(bench) -> None:
    async with bench("a") as it:
        made = await it.runner.reserve(8 * MIB, within_s=0, keep_s=60, purpose="")
        assert made.state == "ready"
        await it.runner.cancel(made.id)
        assert it.runner.desk.book.get(made.id).state == "expired"


async def test_reservations_are_looked_at_each_second_without_a_policy(bench) -> None:
    async with bench("a", start=True) as it:
        it.host.available_mib = 60
        made = await it.runner.reserve(64 * MIB, within_s=300, keep_s=60, purpose="")
        await asyncio.sleep(0.5)
        assert it.runner.desk.book.get(made.id).state == "gathering"
        it.host.available_mib = 900
        waited = await it.runner.desk.wait(made.id, 2)
        assert waited.state == "ready"


async def test_a_defect_in_a_round_does_not_end_the_rounds(bench, monkeypatch) -> None:
    async with bench("a", policies=(wishing("p", a=8),), name="p", start=True) as it:
        good = it.host.read
        monkeypatch.setattr(it.host, "read", lambda: 1 / 0)
        it.runner._lookout._read_host = it.host.read
        await asyncio.sleep(5)
        it.runner._lookout._read_host = good
        await asyncio.sleep(10)
        assert it.target_mib("a") == 8
