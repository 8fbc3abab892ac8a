"""Settings of the policies that are built in: bounded, each of them, and refused where two contradict each other."""

import math
import re

import pytest

from vballoond.errors import OperatorError
from vballoond.policy.builtin import BUILT_IN
from vballoond.policy.policy import check_settings, settings_of

POLICIES = {policy.name: policy for policy in BUILT_IN}
NUMBERS = [
    (policy.name, name)
    for policy in BUILT_IN
    for name, about in settings_of(policy).model_fields.items()
    if about.annotation is not bool
]


@pytest.mark.parametrize(
    ("policy", "given", "said"),
    [
        ("huge-pages", {"high": 0.2}, "low (0.2) must be below high (0.2)"),
        ("huge-pages", {"low": 0.3}, "low (0.3) must be below high (0.25)"),
        ("huge-pages", {"critical": 0.2}, "critical (0.2) must be below low (0.2)"),
        ("idle-tax", {"high": 0.04}, "soft (0.04) must be below high (0.04)"),
        ("idle-tax", {"hard": 0.05}, "hard (0.05) must be below soft (0.04)"),
        ("idle-tax", {"low": 0.02}, "low (0.02) must be below hard (0.02)"),
        ("idle-tax", {"slow_weight": 0.6}, "slow_weight (0.6) must be below fast_weight (0.5)"),
        ("watermark", {"pressure_critical": 0.3}, "pressure_critical (0.3) must be below pressure_threshold (0.2)"),
        (
            "watermark",
            {"max_balloon_change_percent": 0.001},
            "min_balloon_change_percent (0.0025) must be below max_balloon_change_percent (0.001)",
        ),
    ],
)
def test_two_that_contradict_each_other_are_refused_with_both_named(policy, given, said):
    with pytest.raises(OperatorError, match=re.escape(f"settings of policy {policy!r}: {said}")) as refused:
        check_settings(POLICIES[policy], given)
    assert (refused.value.status, refused.value.code) == (422, "invalid-settings")


@pytest.mark.parametrize(("policy", "name"), NUMBERS)
@pytest.mark.parametrize("value", [1e30, -1e30, math.inf, math.nan], ids=str)
def test_none_is_without_bounds(policy, name, value):
    with pytest.raises(OperatorError, match=name):
        check_settings(POLICIES[policy], {name: value})


def test_settings_that_nest_without_end_are_refused():
    nested = []
    for _ in range(200):
        nested = [nested]
    with pytest.raises(OperatorError, match="nest more than 64 levels deep"):
        check_settings(POLICIES["static"], {"x": nested})
