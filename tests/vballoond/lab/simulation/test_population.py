from support.simulation import HOST, a_scenario

from vballoond.lab.simulation.population import Population

GUESTS = """
[[guest]]
name = "stays"
memory = "16MiB"
workload = "idle"
[[guest]]
name = "passes"
count = 3
memory = "16MiB"
stagger_s = 10
start_s = 5
stop_s = 20
workload = "idle"
[[guest]]
name = "waits"
memory = "16MiB"
workload = "idle"
waits = true
stop_s = 45
[[reservation]]
at_s = 0
size = "16MiB"
within_s = 10
guest = "waits"
"""


def test_guests_come_and_go_in_their_time_and_waiting_ones_when_they_are_called() -> None:
    gone = []
    population = Population(a_scenario(HOST, GUESTS), 1, lambda guest: gone.append(guest.name))
    there = {}
    for second in range(50):
        population.at(float(second))
        if second == 30:
            population.come("waits", 30.0)
            came = population.guests["waits"]
            population.come("waits", 30.0)
            assert population.guests["waits"] is came
        there[second] = list(population.guests)
    assert there[0] == there[4] == ["stays"]
    assert there[5] == ["stays", "passes-1"]
    assert there[15] == ["stays", "passes-1", "passes-2"]
    assert there[20] == ["stays", "passes-2"]
    assert there[25] == ["stays", "passes-2", "passes-3"]
    assert there[30] == ["stays", "passes-3", "waits"]
    assert there[40] == there[44] == ["stays", "waits"]
    assert there[45] == ["stays"]
    population.close()
    assert gone == ["passes-1", "passes-2", "passes-3", "waits", "stays"]
    assert not population.guests


def test_a_guest_whose_time_was_over_before_anybody_looked_never_comes() -> None:
    population = Population(a_scenario(HOST, GUESTS), 1, lambda _: None)
    population.at(22.0)
    assert list(population.guests) == ["stays", "passes-2"]
    population.close()
