from collections.abc import AsyncIterator

import pytest
from support.backend_rig import running_service, vhost_user_settings

from vballoond.errors import OperatorError
from vballoond.registry import Registry
from vballoond.service.balloon_service import BalloonService


@pytest.fixture
async def services() -> AsyncIterator[list[BalloonService]]:
    async with (
        running_service(vhost_user_settings(name="vm2")) as vm2,
        running_service(vhost_user_settings(name="vm1")) as vm1,
    ):
        yield [vm2, vm1]


@pytest.fixture
def registry(services: list[BalloonService]) -> Registry:
    registry = Registry()
    for service in services:
        registry.add(service)
    return registry


async def test_balloons_are_listed_in_the_order_in_which_they_were_added(registry, services) -> None:
    assert list(registry) == services
    assert len(registry) == 2


async def test_a_balloon_is_found_by_its_name(registry, services) -> None:
    assert registry.find("vm1") is services[1]
    assert registry.find("vm2") is services[0]


async def test_a_balloon_that_is_not_there_is_an_error_that_names_those_that_are(registry) -> None:
    with pytest.raises(OperatorError) as caught:
        registry.find("vm3")
    assert (caught.value.status, caught.value.code) == (404, "no-such-balloon")
    assert caught.value.detail == "there is no balloon 'vm3'; there are: vm1, vm2"


def test_an_empty_registry_says_that_there_are_none() -> None:
    assert len(Registry()) == 0
    with pytest.raises(OperatorError, match="there are: none"):
        Registry().find("vm1")


async def test_a_name_is_given_once(registry, services) -> None:
    with pytest.raises(AssertionError):
        registry.add(services[0])
