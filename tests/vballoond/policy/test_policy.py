from abc import abstractmethod

import pytest
from pydantic import ConfigDict, model_validator

from vballoond.errors import OperatorError, PolicyError
from vballoond.policy import Plan, Policy, PolicySettings
from vballoond.policy.builtin import BUILT_IN
from vballoond.policy.policy import check_policy, check_settings, settings_of, summary_of


class Halve(Policy):
    """Leaves each guest with a half.

    And more.
    """

    name = "halve"

    class Settings(PolicySettings):
        part: float = 0.5

    def plan(self, view, settings):  # noqa: ARG002
        return Plan()


class Plain:
    """Has what it takes, and derives from nothing."""

    name = "plain"

    def plan(self, view, settings):  # noqa: ARG002
        return Plan()


def test_a_policy_needs_no_more_than_a_name_and_a_plan():
    check_policy(Plain)
    assert settings_of(Plain) is PolicySettings
    assert check_settings(Plain, {}) == PolicySettings()


@pytest.mark.parametrize("policy", BUILT_IN)
def test_each_that_is_built_in_is_one(policy):
    check_policy(policy)


def test_the_summary_is_the_first_line():
    assert summary_of(Halve) == "Leaves each guest with a half."
    assert summary_of(type("Mute", (), {})) == ""


def test_settings_have_defaults():
    assert check_settings(Halve, {}).part == 0.5
    assert check_settings(Halve, {"part": 0.25}).part == 0.25


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parts": 1}, "settings of policy 'halve': parts: Extra inputs are not permitted"),
        ({"part": "x"}, "settings of policy 'halve': part: Input should be a valid number"),
    ],
)
def test_settings_that_are_wrong_are_named(given, message):
    with pytest.raises(OperatorError) as refused:
        check_settings(Halve, given)
    assert refused.value.detail.startswith(message)
    assert refused.value.status == 422


class Abstract(Policy):
    name = "abstract"

    @abstractmethod
    def plan(self, view, settings): ...


class Misspelt(Policy):
    name = "misspelt"

    def plam(self, view, settings): ...


@pytest.mark.parametrize("policy", [Abstract, Misspelt, type("Wrong", (), {"name": "x"})])
def test_a_policy_without_a_plan_of_its_own_is_none(policy):
    with pytest.raises(PolicyError) as refused:
        check_policy(policy)
    assert str(refused.value) == f"class {policy.__name__} needs plan(self, view, settings) of its own"


class Lax(PolicySettings):
    model_config = ConfigDict(extra="ignore")


class Endless(PolicySettings):
    x: float = float("inf")


class EndlessWithin(PolicySettings):
    x: dict[str, float] = {"y": float("nan")}  # noqa: RUF012 (pydantic copies it)


class OfAnotherType(PolicySettings):
    needed: int
    x: int = None


PLAN = {"name": "x", "plan": Plain.plan}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Endless, "the default of x: Input should be a finite number"),
        (EndlessWithin, "the default of x.y: Input should be a finite number"),
        (OfAnotherType, "the default of x: Input should be a valid integer"),
    ],
)
def test_a_default_that_could_not_be_given_is_refused(settings, message):
    with pytest.raises(PolicyError) as refused:
        check_policy(type("Wrong", (), PLAN | {"Settings": settings}))
    assert str(refused.value) == f"policy 'x': {message}"


class Needed(PolicySettings):
    x: int


class Either(PolicySettings):
    this: int | None = None
    that: int | None = None

    @model_validator(mode="after")
    def _one(self):
        if self.this is None and self.that is None:
            raise ValueError("give this or that")
        return self


@pytest.mark.parametrize("settings", [Needed, Either])
def test_what_is_to_be_given_needs_no_default(settings):
    check_policy(type("Fine", (), PLAN | {"Settings": settings}))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"name": "Loud!"}, "needs a name of a-z"),
        ({"name": 5}, "needs a name of a-z"),
        ({}, "class Wrong needs a name"),
        (PLAN | {"Settings": dict}, "its Settings must be a class derived from PolicySettings"),
        (PLAN | {"Settings": Lax}, "its Settings must forbid unknown ones"),
    ],
)
def test_what_is_no_policy_is_told_what_it_lacks(members, message):
    with pytest.raises(PolicyError) as refused:
        check_policy(type("Wrong", (), members))
    assert message in str(refused.value)
