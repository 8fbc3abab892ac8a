import pytest
from pydantic import ConfigDict

from vballoond.errors import OperatorError, PolicyError
from vballoond.policy import Plan, Policy, PolicySettings
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


class Lax(PolicySettings):
    model_config = ConfigDict(extra="ignore")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"name": "Loud!"}, "needs a name of a-z"),
        ({"name": 5}, "needs a name of a-z"),
        ({}, "class Wrong needs a name"),
        ({"name": "x", "Settings": dict}, "its Settings must be a class derived from PolicySettings"),
        ({"name": "x", "Settings": Lax}, "its Settings must forbid unknown ones"),
    ],
)
def test_what_is_no_policy_is_told_what_it_lacks(members, message):
    with pytest.raises(PolicyError) as refused:
        check_policy(type("Wrong", (), members))
    assert message in str(refused.value)
