"""Small hosts to simulate: a minute or two of a few guests of 32 MiB, which takes a fraction of a second each."""

from vballoond.lab.simulation.chosen_policy import ChosenPolicy, choose
from vballoond.lab.simulation.host_scenario import HostScenario, read_scenario
from vballoond.lab.simulation.result import RunResult
from vballoond.lab.simulation.run import run

MIB = 1 << 20

HOST = """
summary = "a small host"
duration_s = 120
[host]
memory = "96MiB"
reserve = "8MiB"
swap = "64MiB"
[guard]
dead_band = "64KiB"
"""

GUEST = """
[[guest]]
name = "vm"
count = 3
memory = "32MiB"
max = "20MiB"
[[guest.load]]
kind = "anonymous"
mib = 4
[[guest.load]]
kind = "file-cache"
mib_per_s = 0.5
"""

SMALL = HOST + GUEST


def a_scenario(text: str = SMALL, *more: str) -> HostScenario:
    """The scenario that texts are together."""
    return read_scenario("\n".join((text, *more)), "small")


def simulated(text: str = SMALL, policy: str | ChosenPolicy = "shares", seed: int = 1) -> RunResult:
    """What a run comes to."""
    chosen = choose(policy) if isinstance(policy, str) else policy
    return run("small", a_scenario(text), chosen, seed, lambda _: None)


def a_guest_table(text: str = GUEST):
    """The table of the guests in a text."""
    return a_scenario(HOST, text).guest[0]


def a_part_of(scenario: HostScenario, divisor: int) -> HostScenario:
    """The same host with fewer guests: counts, and what the host has, divided."""
    host = scenario.host
    loads = tuple(load.model_copy(update={"size": load.size // divisor}) for load in host.load)
    sizes = {name: getattr(host, name) // divisor for name in ("memory", "reserve", "swap")}
    return scenario.model_copy(
        update={
            "host": host.model_copy(update={**sizes, "load": loads}),
            "guest": tuple(table.model_copy(update={"count": table.count // divisor}) for table in scenario.guest),
            "reservation": tuple(
                asked.model_copy(update={"size": asked.size // divisor}) for asked in scenario.reservation
            ),
        }
    )
