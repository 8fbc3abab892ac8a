import pytest
from support.simulation import GUEST, HOST, MIB, SMALL, a_guest_table, a_scenario

from vballoond.errors import OperatorError
from vballoond.lab.simulation.host_scenario import guest_names
from vballoond.lab.simulation.shipped import load_host_scenario, scenario_text, shipped_host_scenarios


def test_sizes_times_and_names_are_read() -> None:
    scenario = a_scenario()
    assert (scenario.host.memory, scenario.host.reserve) == (96 * MIB, 8 * MIB)
    assert scenario.guest[0].max_bytes == 20 * MIB
    assert guest_names(scenario.guest[0]) == ["vm-1", "vm-2", "vm-3"]
    assert scenario.guard.limits.dead_band_bytes == 64 << 10


def test_a_balloon_may_take_three_quarters_unless_it_is_said_otherwise() -> None:
    assert a_guest_table(GUEST.replace('max = "20MiB"\n', "")).max_bytes == 24 * MIB


def test_other_load_of_the_host_rises_in_its_ramp_and_ends() -> None:
    scenario = a_scenario(HOST, '[[host.load]]\nsize = "40MiB"\nstart_s = 10\nramp_s = 20\nstop_s = 50')
    (load,) = scenario.host.load
    at = {now_s: load.bytes_at(now_s) // MIB for now_s in (9, 10, 20, 30, 49, 50)}
    assert at == {9: 0, 10: 0, 20: 20, 30: 40, 49: 40, 50: 0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SMALL.replace('summary = "a small host"', ""), "summary: Field required"),
        (SMALL.replace("reserve", "reserv"), "host.reserv: unknown key; there are memory, reserve, swap, load"),
        (SMALL.replace('"96MiB"', '"96"'), "host.memory: '96' is not a size"),
        (SMALL.replace('max = "20MiB"', 'max = "40MiB"'), "min, max and memory must rise"),
        (SMALL.replace("mib = 4", "mibs = 4"), "guest.0: scenario vm: load 'anonymous': unknown key mibs"),
        (SMALL.replace('kind = "anonymous"', 'kind = "magic"'), "kind 'magic' is none of anonymous"),
        (SMALL.replace("count = 3", "count = 3\nworkload = 'x'"), "workload 'x' is none of"),
        (SMALL.replace("count = 3", "count = 3\nwaits = true"), "count must be 1"),
        (SMALL.replace("count = 3", "count = 3\nstart_s = 5\nstop_s = 5"), "stop_s (5) must be after start_s (5)"),
        (SMALL.replace('"32MiB"', '"8MiB"').replace('"20MiB"', '"4MiB"'), "16MiB at the least"),
        (SMALL + GUEST, "two guests are named vm-1, vm-2, vm-3"),
        (SMALL.replace("count = 3", "count = 1000").replace('"32MiB"', '"128MiB"'), "more than 64 GiB together"),
        (SMALL.replace("count = 3", "waits = true"), "guests that wait (vm) must be those that reservations are for"),
        (SMALL + '[[reservation]]\nat_s = 1\nsize = "1MiB"\nwithin_s = 1\nguest = "x"', "(none) must be those"),
        (SMALL.replace("duration_s = 120", "duration_s = 9"), "duration_s (9) must be interval_s (10) at the least"),
        (SMALL.replace('"96MiB"', '"99999TiB"'), "host.memory: Input should be less than or equal to"),
        (SMALL.replace('"96MiB"', '"4MiB"'), "host.reserve must not be above host.memory"),
        (SMALL.replace("mib = 4", "mib = 1e300"), "mib is 1e+300, and 100000 is the most"),
        (SMALL.replace("mib_per_s = 0.5", "mib_per_s = 1e9"), "mib_per_s is 1e+09, and 10000 is the most"),
        (SMALL + '[[guest.load]]\nkind = "idle"\nevery_s = 1e-9', "every_s must be 0.1 at the least"),
        (
            SMALL + '[[reservation]]\nat_s = 1\nsize = "1GiB"\nwithin_s = 1',
            "a reservation of 1 GiB cannot be: the host has 88",
        ),
        (SMALL + "[settings.watermark]\nsince = 07:30:00", "settings.watermark.since: input was not a valid JSON"),
        ("summary =", "scenario small: Invalid value"),
        (SMALL.replace("[[guest]]", "[guest]").replace("[[guest.load]]", "[[x]]"), "guest: write [[guest]]"),
        (HOST + '[[guest]]\nname = "a"\nmemory = "32MiB"\n[guest.load]\nkind = "idle"', "write [[guest.load]]"),
        (SMALL + '[host.load]\nsize = "1MiB"', "host.load: write [[host.load]]"),
        (SMALL.replace("[host]", "[[host]]"), "host: write [host]"),
        (SMALL + "[[settings.psi]]\nx = 1", "settings.psi: write [settings.psi]"),
        ("guest = [3]\n" + HOST, "guest.0: Input should be"),
        (SMALL.replace("count = 3", "waits = true\nstart_s = 0"), "start_s must not be given"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(OperatorError) as refused:
        a_scenario(text)
    assert says in str(refused.value)
    assert str(refused.value).startswith("scenario small: ")


def test_ten_scenarios_and_the_one_of_make_scenario_are_shipped_and_each_says_what_it_shows() -> None:
    names = set(shipped_host_scenarios())
    ten = "steady morning leak batch-night greedy squeeze new-vm churn uncooperative fragmentation"
    assert names == {*ten.split(), "fifty"}
    for name in names:
        assert scenario_text(name).text.startswith("# ")
        assert load_host_scenario(name).duration_s == 600


def test_a_name_that_is_none_is_told_which_there_are(tmp_path) -> None:
    with pytest.raises(OperatorError, match="no scenario 'stedy': there are batch-night, churn"):
        scenario_text("stedy")
    with pytest.raises(OperatorError, match="No such file"):
        scenario_text(str(tmp_path / "none.toml"))
    (tmp_path / "odd.toml").write_bytes(b"\xff")
    with pytest.raises(OperatorError, match="not UTF-8"):
        scenario_text(str(tmp_path / "odd.toml"))


def test_who_looks_for_recorded_views_is_told_who_takes_them() -> None:
    with pytest.raises(OperatorError, match="only 'vballoond simulate' takes recorded views"):
        scenario_text("live.jsonl")
