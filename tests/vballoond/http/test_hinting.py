import pytest
from aiohttp.test_utils import TestClient
from support.api import Api
from support.fake_front_end import RING_FEATURES
from support.in_process_driver import Driver, driven

from protocol.balloon.features import BalloonFeature
from vballoond.http.app import build_app
from vballoond.offload import Offload
from vballoond.registry import Registry

DEMO = "/v1/balloons/demo/hinting"
FREE_PAGE = 2


@pytest.fixture
async def hinting(aiohttp_client) -> "tuple[Api, Driver]":
    """A balloon that offers hinting, and a driver that is not loaded."""
    async with driven(features=("must-tell-host", "free-page-hint")) as (service, driver):
        registry = Registry()
        registry.add(service)
        client: TestClient = await aiohttp_client(build_app(registry, Offload()))
        yield Api(client), driver


def load(driver: Driver) -> None:
    driver.load(0, 1, FREE_PAGE, features=RING_FEATURES | BalloonFeature.FREE_PAGE_HINT)


async def test_a_round_is_begun_shown_and_stopped(hinting) -> None:
    api, driver = hinting
    load(driver)
    assert await api.get(DEMO) == {
        "name": "demo",
        "state": "stopped",
        "command_id": None,
        "hinted_bytes": 0,
        "started_at": None,
    }
    begun = await api.ask("POST", DEMO)
    assert begun.status == 202
    assert (begun.json()["state"], begun.json()["command_id"]) == ("requested", 2)
    assert begun.json()["started_at"].endswith("Z")
    assert driver.config_interrupts == 1
    assert int.from_bytes(driver.device.read_config(8, 4), "little") == 2
    stopped = await api.ask("DELETE", DEMO)
    assert (stopped.status, stopped.json()["state"]) == (200, "done")
    assert int.from_bytes(driver.device.read_config(8, 4), "little") == 1


async def test_the_driver_may_be_kept_from_its_pages(hinting) -> None:
    api, driver = hinting
    load(driver)
    begun = await api.ask("POST", DEMO, json={"acknowledge_on_stop": False})
    assert begun.status == 202


@pytest.mark.parametrize("body", [{"acknowledge_on_stop": 1}, {"wait": True}, [], "x"])
async def test_a_wrong_body_is_refused(hinting, body: object) -> None:
    api, driver = hinting
    load(driver)
    refused = await api.ask("POST", DEMO, json=body)
    assert refused.status == 400
    assert (await api.get(DEMO))["state"] == "stopped"


async def test_without_a_driver_there_is_nobody_to_ask(hinting) -> None:
    api, driver = hinting
    for method in ("POST", "GET", "DELETE"):
        refused = await api.refused(method, DEMO, 503, "no-hinting")
        assert "there is no driver to ask" in refused["detail"]
    driver.load(0, 1)
    refused = await api.refused("POST", DEMO, 503, "no-hinting")
    assert "has not accepted free page hinting" in refused["detail"]


async def test_a_balloon_that_does_not_offer_it_says_how(api, balloons) -> None:
    balloons.driver.load(0, 1)
    refused = await api.refused("POST", DEMO, 503, "no-hinting")
    assert 'add "free-page-hint" to its' in refused["detail"]


async def test_an_unknown_balloon_has_no_hinting(api) -> None:
    await api.refused("POST", "/v1/balloons/nobody/hinting", 404, "no-such-balloon")
