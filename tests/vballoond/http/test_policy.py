import io
from dataclasses import replace

import pytest
from support.api import Api
from support.policies_over import policies_over
from support.policy_views import a_guest, a_view
from support.scripts_here import fails, policy

from protocol.balloon.statistics import StatisticTag
from vballoond.http.app import build_app
from vballoond.http.bodies import MAX_BODY_BYTES
from vballoond.http.policy import GUEST_BYTES, MAX_PLAN_BODY_BYTES
from vballoond.offload import Offload
from vballoond.policy import Alert, Fragmentation, GuestStatistics, Plan, Wish
from vballoond.policy.view import view_json

MIB = 1 << 20
POLICY = "/v1/policy"
STATISTICS = [tag.name.lower() for tag in StatisticTag]
FOUR = policy("four", lambda _: Plan((Wish("demo", 4 * MIB, "four is enough"),)))

COUNT = policy("count", lambda view: Plan(alerts=(Alert(None, f"{len(view.guests)} guests"),)))


@pytest.fixture
async def runner(balloons):
    async with policies_over(balloons, FOUR, COUNT, policy("broken", fails("no plan"))) as runner:
        yield runner


@pytest.fixture
async def api(balloons, runner, aiohttp_client):
    return Api(await aiohttp_client(build_app(balloons.registry, Offload(), policies=runner)))


async def put(api, body, status: int = 200):
    answer = await api.ask("PUT", POLICY, json=body)
    assert answer.status == status, answer.body
    return answer.json()


async def plan(api, body):
    answer = await api.ask("POST", f"{POLICY}/plan", json=body)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_at_first_static_acts_and_the_others_are_available(api) -> None:
    view = await api.get(POLICY)
    assert view["active"] == {"name": "static", "settings": {}, "problem": None, "set_aside": False}
    assert view["shadow"] is None
    known = {each["name"]: each for each in view["available"]}
    assert known["watermark"]["origin"] == "built-in"
    assert known["watermark"]["settings_schema"]["properties"]["pressure_threshold"]["default"] == 0.2
    assert known["watermark"]["summary"].endswith("(oVirt MoM).")


async def test_another_policy_is_chosen_with_settings_and_acts(api, runner, balloons) -> None:
    chosen = await put(api, {"name": "watermark", "settings": {"samples": 3}})
    assert chosen["active"]["name"] == "watermark"
    assert chosen["active"]["settings"]["samples"] == 3
    assert chosen["active"]["settings"]["pressure_threshold"] == 0.2
    await put(api, {"name": "four"})
    await runner.round()
    assert balloons.demo.target_frames == 1024


async def test_a_shadow_is_set_and_taken_away_without_touching_who_acts(api, runner) -> None:
    await put(api, {"name": "static", "shadow": {"name": "four"}})
    await runner.round()
    view = await api.get(POLICY)
    (difference,) = view["shadow"]["differences"]
    assert (difference["balloon"], difference["acting_bytes"], difference["shadow_bytes"]) == ("demo", 0, 4 * MIB)
    assert (await put(api, {"shadow": None}))["shadow"] is None
    assert (await api.get(POLICY))["active"]["name"] == "static"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid-body"),
        ({"settings": {"samples": 3}}, 400, "invalid-body"),
        ({"name": "Not A Name"}, 400, "invalid-body"),
        ({"name": "nowhere"}, 422, "no-such-policy"),
        ({"shadow": {"name": "nowhere"}}, 422, "no-such-policy"),
        ({"name": "watermark", "settings": {"sample": 3}}, 422, "invalid-settings"),
        ({"name": "watermark", "settings": {"samples": 0}}, 422, "invalid-settings"),
    ],
)
async def test_what_cannot_be_chosen_changes_nothing(api, body, status: int, code: str) -> None:
    await api.refused("PUT", POLICY, status, code, json=body)
    view = await api.get(POLICY)
    assert (view["active"]["name"], view["shadow"]) == ("static", None)


async def test_a_plan_says_what_would_be_and_changes_nothing(api, balloons) -> None:
    dry = await plan(api, {"name": "four"})
    (decision,) = dry["decisions"]
    assert decision == {
        "balloon": "demo",
        "from_bytes": 0,
        "wished_bytes": 4 * MIB,
        "target_bytes": 4 * MIB,
        "reason": "four is enough",
        "changes": [],
    }
    assert balloons.demo.target_frames == 0
    assert (await plan(api, {}))["name"] == "static"


async def test_a_plan_about_a_recorded_snapshot(api) -> None:
    snapshot = await api.get(f"{POLICY}/view")
    names = [guest["name"] for guest in snapshot["guests"]]
    assert names == ["demo", "vm1"]
    snapshot["guests"] = [guest | {"target_bytes": 4 * MIB} for guest in snapshot["guests"]]
    (decision,) = (await plan(api, {"name": "four", "snapshot": snapshot}))["decisions"]
    assert decision["from_bytes"] == decision["target_bytes"] == 4 * MIB


async def test_a_snapshot_of_many_guests_fits(api) -> None:
    snapshot = await api.get(f"{POLICY}/view")
    demo = snapshot["guests"][0] | {"statistics": {"values": dict.fromkeys(STATISTICS, (1 << 64) - 1)}}
    snapshot["guests"] += [demo | {"name": f"vm-{number}"} for number in range(500)]
    (alert,) = (await plan(api, {"name": "count", "snapshot": snapshot}))["alerts"]
    assert alert["message"] == f"{len(snapshot['guests'])} guests"


def test_there_is_room_for_as_many_guests_as_there_can_be() -> None:
    statistics = GuestStatistics(
        values=dict.fromkeys(STATISTICS, (1 << 64) - 1), rates_per_s=dict.fromkeys(STATISTICS, 1 / 3), age_s=1 / 3
    )
    guest = replace(
        a_guest("g" * 64, memory=(1 << 62) // MIB, balloon=1),
        statistics=statistics,
        fragmentation=Fragmentation(free_huge_share=1 / 3, unusable_index=2 / 3),
        migrated_frames_per_s=1 / 3,
    )
    assert len(view_json(a_view(guest))) < GUEST_BYTES


async def test_only_a_plan_takes_a_body_of_that_size(api) -> None:
    large = {"name": "static", "settings": {}, "x": "x" * MAX_BODY_BYTES}
    await api.refused("POST", f"{POLICY}/plan", 400, "invalid-body", json=large)
    problem = await api.refused("PUT", POLICY, 413, "too-large", json=large)
    assert problem["detail"] == "the request's body is larger than any that /v1/policy takes"
    await api.refused("POST", f"{POLICY}/plan", 413, "too-large", data=io.BytesIO(bytes(MAX_PLAN_BODY_BYTES + 1)))


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "not-json", "is not JSON"),
        (b"\xff", "not-json", "is not JSON"),
        (b"[" * 100_000, "not-json", "recursion limit exceeded"),
        (b"[]", "not-an-object", "is not a JSON object"),
        (b'{"names": 1}', "invalid-body", "names: unknown field"),
        (b'{"name": "A b"}', "invalid-body", "name: String should match pattern"),
        (b'{"snapshot": 1}', "bad-snapshot", "snapshot: not a snapshot"),
    ],
)
async def test_a_plans_body_is_refused_as_all_others_are(api, body: bytes, code: str, said: str) -> None:
    headers = {"Content-Type": "application/json"}
    problem = await api.refused("POST", f"{POLICY}/plan", 400, code, data=body, headers=headers)
    assert said in problem["detail"]
    await api.refused("POST", f"{POLICY}/plan", 415, "not-json", data=body, headers={"Content-Type": "text/plain"})


async def test_plans_that_cannot_be_are_refused(api) -> None:
    path = f"{POLICY}/plan"
    await api.refused("POST", path, 422, "no-such-policy", json={"name": "nowhere"})
    problem = await api.refused("POST", path, 422, "policy-failed", json={"name": "broken"})
    assert "no plan" in problem["detail"]
    problem = await api.refused("POST", path, 400, "bad-snapshot", json={"snapshot": {"now_s": 1}})
    assert problem["detail"].startswith("snapshot: not a snapshot: host")
    await api.refused("POST", path, 400, "bad-snapshot", json={"snapshot": {"now_s": "x", "host": {}}})


async def test_decisions_are_shown_the_newest_first_of_one_balloon_or_all(api, runner) -> None:
    await put(api, {"name": "four"})
    await runner.round()
    await put(api, {"name": "broken"})
    await runner.round()
    newest, oldest = (await api.get(f"{POLICY}/decisions"))["rounds"]
    assert (newest["policy"], newest["decisions"], oldest["policy"]) == ("broken", [], "four")
    assert "no plan" in newest["error"]
    assert oldest["decisions"][0]["reason"] == "four is enough"
    assert oldest["view"] is None
    (only,) = (await api.get(f"{POLICY}/decisions?balloon=demo"))["rounds"]
    assert only == oldest
    assert (await api.get(f"{POLICY}/decisions?balloon=vm1"))["rounds"] == []
    (limited,) = (await api.get(f"{POLICY}/decisions?limit=1&inputs=true"))["rounds"]
    assert [guest["name"] for guest in limited["view"]["guests"]] == ["demo", "vm1"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "inputs=yes", "limit=51&inputs=true"]
)
async def test_queries_that_mean_nothing_are_refused(api, query: str) -> None:
    await api.refused("GET", f"{POLICY}/decisions?{query}", 400, "bad-query")


async def test_balloons_that_were_set_by_hand_are_listed(api, runner) -> None:
    await put(api, {"name": "four"})
    await runner.round()
    await api.patch("/v1/balloons/demo", {"target_mib": 1}, 202)
    await runner.round()
    (left,) = (await api.get(POLICY))["left_alone"]
    assert left["balloon"] == "demo"
