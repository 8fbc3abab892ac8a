import pytest
from support.in_process_driver import DEFLATE, INFLATE

RESIZES = "/v1/balloons/demo/resizes"


async def test_before_the_first_there_are_none(api) -> None:
    assert await api.get(RESIZES) == {"name": "demo", "resizes": []}


async def test_each_target_makes_a_resize_that_can_be_looked_up(api, balloons) -> None:
    balloons.driver.load(INFLATE, DEFLATE)
    await api.patch("/v1/balloons/demo", {"target_mib": 1}, 202)
    await api.patch("/v1/balloons/demo", {"target_mib": 0}, 200, wait=5)
    newest, oldest = (await api.get(RESIZES))["resizes"]
    assert (newest["id"], newest["outcome"], newest["done"], newest["progress"]) == (2, "done", True, 1.0)
    assert (oldest["id"], oldest["outcome"], oldest["target_bytes"]) == (1, "superseded", 1 << 20)
    assert await api.get(f"{RESIZES}/1") == oldest
    assert (await api.get("/v1/balloons/demo"))["resize"] == newest


async def test_what_is_to_become_of_a_resize_is_shown(api) -> None:
    body = {"target_mib": 1, "settle": True, "deadline_s": 90}
    resize = (await api.patch("/v1/balloons/vm1", body, 202))["resize"]
    assert resize["settle"] is True
    assert resize["deadline_at"] > resize["started_at"]
    assert (resize["stall"], resize["outcome"], resize["ended_at"]) == ("no-driver", None, None)
    assert resize["stalled"].startswith("no driver")


async def test_whoever_waits_for_what_expires_is_told_what_came_of_it(api) -> None:
    answer = await api.patch("/v1/balloons/vm1", {"target_mib": 1, "deadline_s": 0.01}, 202, wait=60)
    assert answer["resize"]["outcome"] == "expired"
    assert answer["target_bytes"] == 1 << 20


@pytest.mark.parametrize(
    "body",
    [
        {"target_mib": 1, "settle": 1},
        {"target_mib": 1, "deadline_s": 0},
        {"target_mib": 1, "deadline_s": -1},
        {"target_mib": 1, "deadline_s": 1e9},
        {"target_mib": 1, "deadline_s": "5"},
        {"settle": True},
    ],
)
async def test_terms_that_cannot_be_are_refused_before_anything_is_set(api, balloons, body) -> None:
    await api.refused("PATCH", "/v1/balloons/demo", 400, "invalid-body", json=body)
    assert balloons.demo.resizing.current is None


@pytest.mark.parametrize("number", ["0", "3", "x", "-1", "1.0", "9" * 30, "\u0661"])
async def test_a_resize_that_is_not_there_is_not_found(api, number: str) -> None:
    await api.patch("/v1/balloons/demo", {"target_mib": 0}, 202)
    problem = await api.refused("GET", f"{RESIZES}/{number}", 404, "no-such-resize")
    assert "there are 1 to 1" in problem["detail"]


async def test_resizes_of_a_balloon_that_is_not_there_are_not_found(api) -> None:
    await api.refused("GET", "/v1/balloons/nobody/resizes", 404, "no-such-balloon")
    await api.refused("GET", "/v1/balloons/nobody/resizes/1", 404, "no-such-balloon")
