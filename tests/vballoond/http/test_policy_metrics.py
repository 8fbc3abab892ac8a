import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.api import Api
from support.policies_over import policies_over
from support.scripts_here import fails, policy

from vballoond.http.app import build_app
from vballoond.offload import Offload
from vballoond.policy import Alert, Plan, Wish
from vballoond.policy.guard.error_budget import FAILURES
from vballoond.runner.acting import Acting

MIB = 1 << 20
FOUR = policy("four", lambda _: Plan((Wish("demo", 4 * MIB, "four is enough"),), alerts=(Alert(None, "look"),)))
GIVES = policy("gives", lambda _: Plan((Wish("demo", 0, "the host has enough"),)))
QUIET = policy("quiet", lambda _: Plan())


@pytest.fixture
async def runner(balloons):
    async with policies_over(balloons, FOUR, GIVES, QUIET, policy("broken", fails("no plan"))) as runner:
        yield runner


@pytest.fixture
async def seen(balloons, runner, aiohttp_client):
    """Gives the samples that /metrics has now, by name and the values of their labels."""
    api = Api(await aiohttp_client(build_app(balloons.registry, Offload(), policies=runner)))

    async def seen():
        answer = await api.ask("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        families = text_string_to_metric_families(answer.body.decode())
        samples = [sample for family in families for sample in family.samples]
        return {(sample.name.removeprefix("vballoond_"), *sample.labels.values()): sample.value for sample in samples}

    return seen


async def act(runner, name: str, *, shadow: str | None = None) -> None:
    await runner.choose(Acting(name), Acting(shadow) if shadow else None, change_shadow=True)


async def test_at_first_static_acts_and_nobody_was_asked(seen, runner) -> None:
    await runner.round()
    now = await seen()
    assert now["policy_info", "static", "acting"] == 1
    assert now["policy_rounds_total", "acting"] == now["policy_rounds_total", "shadow"] == 0
    assert now["policy_set_aside", "acting"] == 0
    assert now["policy_interval_seconds",] == 10
    absent = {"policy_last_round_timestamp_seconds", "policy_wished_bytes"}
    assert not [key for key in now if key[0] in absent or ("shadow" in key[1:] and key[0] == "policy_info")]


async def test_rounds_are_counted_with_what_came_of_them(seen, runner) -> None:
    await act(runner, "four", shadow="quiet")
    await runner.round()
    await runner.round()
    now = await seen()
    assert (now["policy_info", "four", "acting"], now["policy_info", "quiet", "shadow"]) == (1, 1)
    assert now["policy_rounds_total", "acting"] == now["policy_rounds_total", "shadow"] == 2
    assert now["policy_rounds_failed_total", "acting"] == now["policy_rounds_failed_total", "shadow"] == 0
    assert now["policy_round_duration_seconds_count", "acting"] == 2
    assert now["policy_round_duration_seconds_bucket", "60.0", "acting"] == 2
    assert now["policy_last_round_timestamp_seconds", "acting"] == pytest.approx(runner._rounds.now_s, abs=60)
    assert (now["policy_orders_total", "inflate"], now["policy_orders_total", "deflate"]) == (1, 0)
    assert (now["policy_alerts", "warning"], now["policy_alerts", "info"]) == (1, 0)


async def test_targets_that_are_lowered_are_orders_too(seen, runner, balloons) -> None:
    balloons.demo.set_target(1024)
    balloons.driver.write_actual(1024)
    await act(runner, "gives")
    await runner.round()
    now = await seen()
    assert (now["policy_orders_total", "inflate"], now["policy_orders_total", "deflate"]) == (0, 1)


async def test_a_policy_that_fails_is_counted_until_it_is_set_aside(seen, runner) -> None:
    await act(runner, "broken", shadow="broken")
    for _ in range(FAILURES + 2):
        await runner.round()
    now = await seen()
    for role in ("acting", "shadow"):
        assert now["policy_rounds_total", role] == now["policy_rounds_failed_total", role] == FAILURES
        assert now["policy_set_aside", role] == 1
    await act(runner, "four")
    now = await seen()
    assert now["policy_set_aside", "acting"] == 0
    assert ("policy_set_aside", "shadow") not in now


async def test_wishes_are_those_of_who_acts_now(seen, runner) -> None:
    await act(runner, "four")
    await runner.round()
    assert (await seen())["policy_wished_bytes", "demo"] == 4 * MIB
    assert (await seen())["policy_alerts", "warning"] == 1
    assert ("policy_last_round_timestamp_seconds", "acting") in await seen()
    await act(runner, "static")
    now = await seen()
    assert ("policy_wished_bytes", "demo") not in now
    assert now["policy_alerts", "warning"] == 0
    assert ("policy_last_round_timestamp_seconds", "acting") not in now
    assert now["policy_rounds_total", "acting"] == 1
    await act(runner, "four")
    await runner.round()
    await act(runner, "broken")
    await runner.round()
    assert ("policy_wished_bytes", "demo") not in await seen()


async def test_of_a_balloon_that_is_gone_no_wish_is_told(seen, runner, balloons) -> None:
    await act(runner, "four")
    await runner.round()
    balloons.registry.remove("demo")
    assert not [key for key in await seen() if key[0] == "policy_wished_bytes"]


async def test_reservations_are_counted_by_state(seen, runner) -> None:
    await runner.reserve(MIB, within_s=60, keep_s=60, purpose="")
    await runner.reserve(2 * MIB, within_s=60, keep_s=60, purpose="")
    await runner.cancel(1)
    now = await seen()
    states = {key[1]: value for key, value in now.items() if key[0] == "reservations"}
    assert states == {"asked": 0, "gathering": 0, "ready": 1, "claimed": 0, "expired": 1, "failed": 0}
    assert now["reservations_wanted_bytes",] == now["reservations_gathered_bytes",] == 2 * MIB
    ended = {key[1]: value for key, value in now.items() if key[0] == "reservations_ended_total"}
    assert ended == {"claimed": 0, "expired": 1, "failed": 0}


async def test_another_policy_makes_no_more_series(seen, runner) -> None:
    await act(runner, "four", shadow="quiet")
    await runner.round()
    before = {key for key in await seen() if key[0] != "policy_info"}
    await act(runner, "gives", shadow="four")
    await runner.round()
    after = {key for key in await seen() if key[0] != "policy_info"}
    assert {key for key in after if key[0] != "api_requests_total"} == {
        key for key in before if key[0] != "api_requests_total"
    }
