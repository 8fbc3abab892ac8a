"""Live guests on one daemon for ten minutes of virtual time: `make scenario` has fifty of them under every policy.

The scenario is that of the simulator; here it is the daemon itself that rounds, guards, serves and accounts. Each
virtual second: no guest below its minimum, the host's reserve kept. Each round: every frame explained.
"""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from support.scenario_daemon import ScenarioDaemon, scenario_daemon
from support.scripts_here import policy
from support.simulation import a_part_of

from vballoond.lab.simulation.host_scenario import HostScenario
from vballoond.lab.simulation.shipped import load_host_scenario
from vballoond.policy import Plan, Policy, View, Wish
from vballoond.policy.builtin import BUILT_IN

pytestmark = pytest.mark.long

NAMES = [policy.name for policy in BUILT_IN]
FIFTY = load_host_scenario("fifty")
AT_THIS_INSTANT_S = 1e-6
"""Virtual time goes on only when everything is done that can be done now."""


class Watcher:
    """Looks at everything, and fails where something does not hold."""

    def __init__(self, host: ScenarioDaemon) -> None:
        self.host = host
        self.turns: Counter[str] = Counter()
        self.orders = 0
        self._targets = dict.fromkeys(host.tables, 0)
        self._directions: dict[str, int] = {}

    def second(self) -> None:
        host = self.host
        for service in host.daemon.registry:
            most = host.tables[service.settings.name].max_bytes // 4096
            assert 0 <= service.held_frames <= most, (host.now_s, service.settings.name)
            assert 0 <= service.target_frames <= most, (host.now_s, service.settings.name)
            assert service.state_name == "running"
            self._count_turns(service.settings.name, service.target_frames)
        assert host.available_bytes >= host.scenario.host.reserve, host.now_s

    def _count_turns(self, name: str, target: int) -> None:
        before, self._targets[name] = self._targets[name], target
        if target == before:
            return
        direction = 1 if target > before else -1
        self.turns[name] += self._directions.get(name, direction) != direction
        self._directions[name] = direction
        self.orders += 1

    async def round(self) -> None:
        await asyncio.sleep(AT_THIS_INSTANT_S)
        for balance in self.host.balances():
            assert balance.unexplained == 0, (self.host.now_s, balance)
            assert balance.map == balance.driver, (self.host.now_s, balance)
            assert balance.touched == balance.resident, (self.host.now_s, balance)
            assert balance.both == 0, (self.host.now_s, balance)
        acting = (await self.host.daemon.policies.status()).acting
        assert acting.problem is None


async def stand(scenario: HostScenario, name: str, directory: Path, *more: type[Policy]) -> Watcher:
    """Let a policy steer the scenario's guests from its beginning to its end; return what was seen."""
    asked = list(scenario.reservation)
    async with scenario_daemon(scenario, name, directory, *more) as host:
        watcher = Watcher(host)
        while host.now_s < scenario.duration_s:
            await asyncio.sleep(1)
            watcher.second()
            if round(host.now_s) % round(scenario.interval_s) == 0:
                await watcher.round()
            while asked and asked[0].at_s <= host.now_s:
                it = asked.pop(0)
                await host.daemon.policies.reserve(it.size, within_s=it.within_s, keep_s=it.keep_s, purpose="a test")
        assert host.scenario.promise.most_turns is not None
        assert max(watcher.turns.values(), default=0) <= host.scenario.promise.most_turns
        return watcher


@pytest.mark.parametrize("name", ["watermark", "proportional"])
async def test_ten_guests_and_a_policy(name: str, tmp_path: Path) -> None:
    watcher = await stand(a_part_of(FIFTY, 5), name, tmp_path)
    assert len(watcher.host.tables) == 10
    assert watcher.orders > 10


def swing(view: View) -> Plan:
    """Wish for far too much, and in the next round for nothing."""
    much = not view.memory.get("much", False)
    wishes = tuple(Wish(guest.name, guest.memory_bytes if much else 0, "to and fro") for guest in view.guests)
    return Plan(wishes, memory={"much": much})


async def test_a_policy_that_swings_is_held_within_the_same_bounds(tmp_path: Path) -> None:
    watcher = await stand(a_part_of(FIFTY, 5), "swings", tmp_path, policy("swings", swing))
    assert min(watcher.turns.values()) > 4


@pytest.mark.scenario
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
async def test_fifty_guests_under_every_policy(name: str, tmp_path: Path) -> None:
    watcher = await stand(FIFTY, name, tmp_path)
    assert len(watcher.host.tables) == 50
    assert (watcher.orders == 0) == (name == "static")
