import os

import pytest
from support.backend_rig import open_descriptors

from vballoond.transport.vhost_user.descriptors import Descriptors, close_all, close_quietly


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def opened() -> int:
    return os.memfd_create("descriptor")


@pytest.fixture
def descriptors():
    descriptors = Descriptors()
    yield descriptors
    descriptors.close()


def test_what_is_stored_is_found_under_its_name(descriptors) -> None:
    first, second = opened(), opened()
    descriptors.store({"kick-0": first, "call-0": second})
    assert descriptors["kick-0"] == first
    assert descriptors.get("call-0") == second
    assert len(descriptors) == 2


def test_what_is_not_there_is_none_or_an_error(descriptors) -> None:
    assert descriptors.get("kick-0") is None
    with pytest.raises(KeyError):
        descriptors["kick-0"]


def test_giving_a_name_to_another_closes_the_one_before(descriptors) -> None:
    first, second, other = opened(), opened(), opened()
    descriptors.store({"kick-0": first, "call-0": other})
    descriptors.store({"kick-0": second})
    assert not is_open(first)
    assert is_open(second)
    assert is_open(other)
    assert descriptors["kick-0"] == second


def test_dropping_a_name_closes_its_descriptor_only(descriptors) -> None:
    first, second = opened(), opened()
    descriptors.store({"kick-0": first, "call-0": second})
    descriptors.drop(["kick-0", "never-there"])
    assert not is_open(first)
    assert is_open(second)
    assert descriptors.get("kick-0") is None


def test_closing_closes_all_and_may_be_repeated(descriptors) -> None:
    before = open_descriptors()
    descriptors.store({f"kick-{index}": opened() for index in range(5)})
    assert open_descriptors() == before + 5
    descriptors.close()
    descriptors.close()
    assert open_descriptors() == before
    assert len(descriptors) == 0


def test_closing_what_is_closed_is_harmless() -> None:
    fd = opened()
    close_all([fd])
    close_quietly(fd)
    assert not is_open(fd)
