import asyncio
from datetime import UTC, datetime

import pytest
from support.api import Api
from support.backend_rig import running_service, settled, vhost_user_settings
from support.fake_front_end import MIB, pfns
from support.in_process_driver import DEFLATE, INFLATE, MEMORY_BYTES

from protocol.balloon.page_frames import FRAME_BYTES
from vballoond.balloon.facts import TargetSet
from vballoond.http.app import build_app
from vballoond.offload import Offload
from vballoond.registry import Registry

DEMO, VM1 = "/v1/balloons/demo", "/v1/balloons/vm1"


async def test_balloons_are_listed_in_the_order_of_the_configuration(api) -> None:
    listing = await api.get("/v1/balloons")
    assert [balloon["name"] for balloon in listing["balloons"]] == ["demo", "vm1"]
    assert listing["balloons"][0] == await api.get(DEMO)


async def test_a_balloon_without_a_front_end_knows_little(api) -> None:
    assert await api.get(VM1) == {
        "name": "vm1",
        "transport": "vhost-user",
        "state": "waiting",
        "reason": None,
        "memory_bytes": None,
        "min_bytes": 0,
        "max_bytes": 64 * MIB,
        "target_bytes": 0,
        "actual_bytes": 0,
        "held_frames": 0,
        "resident_bytes": None,
        "reclaimed_bytes": 0,
        "features": {
            "offered": [
                *("must-tell-host", "stats", "page-poison"),
                *("indirect-desc", "event-idx", "version-1", "in-order"),
            ],
            "negotiated": [],
        },
        "resize": None,
        "counters": dict.fromkeys((await api.get(VM1))["counters"], 0),
    }


async def test_where_no_bound_is_known_none_is_told(aiohttp_client) -> None:
    for keys, bounds in (({}, (0, None)), ({"min": "1MiB", "max": "8MiB"}, (MIB, 8 * MIB))):
        async with running_service(vhost_user_settings(**keys)) as service:
            registry = Registry()
            registry.add(service)
            balloon = await Api(await aiohttp_client(build_app(registry, Offload()))).get(VM1)
            assert (balloon["min_bytes"], balloon["max_bytes"]) == bounds


async def test_a_balloon_that_runs_tells_what_it_holds(api, balloons) -> None:
    driver = balloons.driver
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    driver.guest.touch(first, 100)
    await api.patch(DEMO, {"target_bytes": 10 * FRAME_BYTES}, 202)
    driver.request(INFLATE, pfns(range(first, first + 10)))
    driver.write_actual(10)
    await settled(balloons.demo)

    balloon = await api.get(DEMO)
    assert balloon["state"] == "running"
    assert balloon["memory_bytes"] == MEMORY_BYTES
    assert balloon["target_bytes"] == balloon["actual_bytes"] == 10 * FRAME_BYTES
    assert balloon["held_frames"] == 10
    assert balloon["reclaimed_bytes"] == 10 * FRAME_BYTES
    assert balloon["resident_bytes"] == driver.guest.resident_bytes()
    assert balloon["features"]["negotiated"] == ["event-idx", "version-1"]
    assert balloon["resize"]["done"] is True
    assert balloon["resize"]["stalled"] is None
    assert balloon["counters"]["inflate_requests"] == 1
    assert balloon["counters"]["inflated_frames"] == 10


async def test_a_broken_balloon_says_why(api, balloons) -> None:
    driver = balloons.driver
    driver.load(INFLATE, DEFLATE)
    driver.guest.queues[INFLATE].ring._avail[1] = 0x4000
    driver.device.kick(INFLATE)
    await settled(balloons.demo)
    balloon = await api.get(DEMO)
    assert balloon["state"] == "broken"
    assert balloon["reason"].startswith("inflateq: the available index is 16384 ahead")


@pytest.mark.parametrize(
    "path", ["/v1/balloons/nobody", "/v1/balloons/nobody/statistics", "/v1/balloons/nobody/frames"]
)
async def test_a_balloon_that_is_not_there_is_not_found(api, path: str) -> None:
    problem = await api.refused("GET", path, 404, "no-such-balloon")
    assert problem["detail"] == "there is no balloon 'nobody'; there are: demo, vm1"


async def test_a_balloon_that_is_not_there_cannot_be_set(api) -> None:
    await api.refused("PATCH", "/v1/balloons/nobody", 404, "no-such-balloon", json={"target_mib": 1})
    await api.refused("PATCH", "/v1/balloons/nobody/statistics", 404, "no-such-balloon", json={"interval_s": 1})


# Setting a target.


@pytest.mark.parametrize(
    ("body", "target_bytes"),
    [
        ({"target_mib": 5}, 5 * MIB),
        ({"target_bytes": 5 * MIB}, 5 * MIB),
        ({"target_bytes": 5 * MIB + 4095}, 5 * MIB),
        ({"target_bytes": 0}, 0),
        ({"target_mib": 16}, MEMORY_BYTES),
    ],
)
async def test_a_target_is_taken_in_either_unit(api, balloons, body: dict[str, int], target_bytes: int) -> None:
    balloon = await api.patch(DEMO, body, 202)
    assert balloon["target_bytes"] == target_bytes
    assert balloons.demo.target_frames == target_bytes // FRAME_BYTES
    assert (await api.get(DEMO))["target_bytes"] == target_bytes


async def test_a_resize_has_a_number_a_time_and_a_target(api) -> None:
    before = datetime.now(UTC)
    assert (await api.get(DEMO))["resize"] is None
    await api.patch(DEMO, {"target_mib": 5}, 202)
    resize = (await api.patch(DEMO, {"target_mib": 6}, 202))["resize"]
    assert before <= datetime.fromisoformat(resize.pop("started_at")) <= datetime.now(UTC)
    assert resize == {
        "id": 2,
        "target_bytes": 6 * MIB,
        "from_bytes": 0,
        "reached_bytes": 0,
        "ended_at": None,
        "progress": 0.0,
        "rate_bytes_per_s": 0,
        "expected_at": None,
        "stalled": "no driver: no guest with a balloon driver has connected",
        "stall": "no-driver",
        "by": "operator",
        "settle": False,
        "deadline_at": None,
        "outcome": None,
        "done": False,
    }


async def test_times_are_rfc_3339_in_utc(api) -> None:
    resize = (await api.patch(DEMO, {"target_mib": 5}, 202))["resize"]
    assert resize["started_at"].endswith("Z")


async def test_a_target_is_remembered_while_nobody_is_there(api) -> None:
    balloon = await api.patch(VM1, {"target_mib": 64}, 202)
    assert balloon["state"] == "waiting"
    assert balloon["target_bytes"] == 64 * MIB
    assert balloon["resize"]["done"] is False


@pytest.mark.parametrize(
    ("target_bytes", "limit_bytes"),
    [(-1, 0), (MEMORY_BYTES + 1, MEMORY_BYTES), (1 << 64, MEMORY_BYTES), (-(1 << 64), 0)],
)
async def test_a_target_out_of_range_is_refused_with_the_limit(api, balloons, target_bytes, limit_bytes) -> None:
    problem = await api.refused("PATCH", DEMO, 422, "target-out-of-range", json={"target_bytes": target_bytes})
    assert problem["limit_bytes"] == limit_bytes
    assert balloons.demo.resizing.current is None


async def test_the_limit_is_the_configured_memory_while_none_is_known(api) -> None:
    problem = await api.refused("PATCH", VM1, 422, "target-out-of-range", json={"target_mib": 65})
    assert problem["limit_bytes"] == 64 * MIB


async def test_a_target_below_the_configured_minimum_is_refused_with_it(aiohttp_client) -> None:
    async with running_service(vhost_user_settings(memory="64MiB", min="8MiB")) as service:
        registry = Registry()
        registry.add(service)
        api = Api(await aiohttp_client(build_app(registry, Offload())))
        problem = await api.refused("PATCH", VM1, 422, "target-out-of-range", json={"target_mib": 7})
        assert problem["limit_bytes"] == 8 * MIB
        await api.patch(VM1, {"target_mib": 8}, 202)


async def test_a_target_of_thousands_of_digits_is_refused_like_any_other(api) -> None:
    # The longest number that Python reads; shifted to bytes it is longer than Python prints.
    body = '{"target_mib": ' + "9" * 4300 + "}"
    answer = await api.ask("PATCH", DEMO, data=body, headers={"Content-Type": "application/json"})
    assert answer.status in (400, 422)


async def test_waiting_for_what_is_reached_already_is_answered_at_once(api) -> None:
    assert (await api.patch(DEMO, {"target_mib": 0}, 200, wait=600))["resize"]["done"] is True


async def test_waiting_is_answered_once_the_target_is_reached(api, balloons) -> None:
    driver = balloons.driver
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    asked = asyncio.create_task(api.ask("PATCH", DEMO, json={"target_mib": 1}, headers={"Prefer": "wait=600"}))
    await balloons.demo_facts.until(lambda fact: isinstance(fact, TargetSet))
    driver.request(INFLATE, pfns(range(first, first + 256)))
    driver.write_actual(256)
    answer = await asked
    assert answer.status == 200
    assert answer.headers["Preference-Applied"] == "wait=600"
    assert answer.json()["resize"]["done"] is True
    assert answer.json()["actual_bytes"] == MIB


async def test_waiting_in_vain_is_answered_all_the_same(api) -> None:
    answer = await api.ask("PATCH", DEMO, json={"target_mib": 1}, headers={"Prefer": "wait=0"})
    assert answer.status == 202
    assert answer.headers["Preference-Applied"] == "wait=0"
    assert answer.json()["resize"]["done"] is False


async def test_whoever_waits_hears_that_another_has_set_the_target(api, balloons) -> None:
    asked = asyncio.create_task(
        api.refused("PATCH", VM1, 409, "superseded", json={"target_mib": 1}, headers={"Prefer": "wait=600"})
    )
    await balloons.vm1_facts.until(lambda fact: isinstance(fact, TargetSet))
    await api.patch(VM1, {"target_mib": 2}, 202)
    assert (await asked)["detail"] == "another request has set the target to 2097152 bytes meanwhile"


@pytest.mark.parametrize("prefer", ["wait=0", "wait = 0", 'wait="0"', "WAIT=0", "respond-async, wait=0", "wait=0.0"])
async def test_a_wait_may_be_written_in_any_of_its_forms(api, prefer: str) -> None:
    answer = await api.ask("PATCH", DEMO, json={"target_mib": 1}, headers={"Prefer": prefer})
    assert answer.status == 202
    assert "Preference-Applied" in answer.headers


@pytest.mark.parametrize("prefer", ["respond-async", "", "handling=lenient"])
async def test_other_preferences_are_not_applied(api, prefer: str) -> None:
    answer = await api.ask("PATCH", DEMO, json={"target_mib": 1}, headers={"Prefer": prefer})
    assert answer.status == 202
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=-1", "wait=601", "wait=forever", "wait=1e3"])
async def test_a_wait_that_cannot_be_is_refused_before_anything_is_set(api, balloons, prefer: str) -> None:
    await api.refused("PATCH", DEMO, 400, "bad-request", json={"target_mib": 1}, headers={"Prefer": prefer})
    assert balloons.demo.resizing.current is None
