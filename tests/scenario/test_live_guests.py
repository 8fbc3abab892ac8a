"""Live guests for ten minutes of virtual time under every policy: what `make scenario` tries with fifty.

Each run checks in every round that no guest is below its minimum, that no more is granted than the host has above its
reserve, and that every byte is explained; the scenario promises that the reserve is kept and that targets settle.
"""

import re
from pathlib import Path

import pytest
from support.simulation import MIB, a_part_of

from vballoond.lab.simulation.chosen_policy import choose
from vballoond.lab.simulation.run import run
from vballoond.lab.simulation.shipped import load_host_scenario
from vballoond.policy.builtin import BUILT_IN

pytestmark = pytest.mark.long

NAMES = [policy.name for policy in BUILT_IN]
FIFTY = load_host_scenario("fifty")


def stand(scenario, policy: str, seed: int = 1):
    result = run("live", scenario, choose(policy), seed, lambda _: None)
    assert result.broken == ()
    assert result.problems == ()
    assert result.measures.least_available_bytes >= scenario.host.reserve
    assert result.measures.most_turns <= 11
    assert len(result.curve) == 60
    return result


@pytest.mark.parametrize("policy", NAMES)
def test_ten_guests_stand_every_policy(policy: str) -> None:
    result = stand(a_part_of(FIFTY, 5), policy)
    assert result.curve[-1].guests == 10
    assert (result.measures.orders == 0) == (policy == "static")


def test_the_scenario_is_what_it_says() -> None:
    assert sum(table.count for table in FIFTY.guest) == 50
    assert {table.memory for table in FIFTY.guest} == {64 * MIB}
    assert FIFTY.duration_s == 600
    assert FIFTY.promise.reserve_kept


@pytest.mark.long
@pytest.mark.parametrize("policy", ["shares", "psi"])
def test_fifty_guests_stand_the_policies_that_move_most(policy: str) -> None:
    assert stand(FIFTY, policy, seed=2).curve[-1].guests == 50


def test_make_scenario_tries_all_that_are_built_in() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    (listed,) = re.findall(r"^POLICIES := (.*)$", makefile, re.MULTILINE)
    assert sorted(listed.split()) == sorted(NAMES)
