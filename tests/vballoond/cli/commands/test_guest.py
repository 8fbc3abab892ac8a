import json

from support.fake_daemon import MIB, FakeDaemon

PATH = "/v1/balloons/vm1/statistics"
HINTING = "/v1/balloons/vm1/hinting"
VIEW = {
    "name": "vm1",
    "interval_s": 5,
    "arrived_at": "2026-01-02T03:04:05Z",
    "age_s": 2.0,
    "stale": True,
    "statistics": {"free_memory": 300 * MIB, "major_faults": 123},
    "missing": ["oom_kill"],
    "doubtful": {"free_memory": "more than there is"},
}
ROUND = {"name": "vm1", "state": "running", "command_id": 3, "hinted_bytes": 4 * MIB, "started_at": None}


async def test_statistics_are_shown_with_their_age_and_doubts(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", PATH, VIEW)
    shown = await command("statistics", "vm1")
    assert (shown.status, shown.err) == (0, "")
    assert [line.strip().split(maxsplit=1) for line in shown.out.splitlines()] == [
        ["vm1:", "2.0 s old, out of date; asked every 5 s"],
        ["free_memory", "300 MiB  (doubtful: more than there is)"],
        ["major_faults", "123"],
        ["never", "sent: oom_kill"],
    ]
    assert json.loads((await command("statistics", "vm1", "--json")).out) == VIEW


async def test_statistics_of_a_daemon_that_says_less_are_shown_too(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", PATH, {key: VIEW[key] for key in ("name", "interval_s", "arrived_at", "age_s", "statistics")})
    shown = await command("statistics", "vm1")
    assert (shown.status, shown.out.splitlines()[0]) == (0, "vm1: 2.0 s old; asked every 5 s")


async def test_how_often_a_guest_is_asked_is_set(daemon: FakeDaemon, command) -> None:
    daemon.says("PATCH", PATH, {"name": "vm1", "interval_s": 2.0})
    assert (await command("statistics", "vm1", "--interval", "2")).out == "vm1: asked every 2 s\n"
    daemon.says("PATCH", PATH, {"name": "vm1", "interval_s": 0.0})
    assert (await command("statistics", "vm1", "--interval", "0")).out == "vm1: asked no more\n"
    assert [asked[2] for asked in daemon.asked] == [{"interval_s": 2.0}, {"interval_s": 0.0}]


async def test_a_guest_that_says_nothing_is_told_with_what_to_do(daemon: FakeDaemon, command) -> None:
    daemon.refuses("GET", PATH, 503, "the driver has sent no statistics (yet)", code="no-statistics")
    refused = await command("statistics", "vm1")
    assert (refused.status, refused.out) == (1, "")
    assert "'vballoond show vm1'" in refused.err.splitlines()[1]


async def test_hinting_is_shown_started_and_stopped(daemon: FakeDaemon, command) -> None:
    for method in ("GET", "POST", "DELETE"):
        daemon.says(method, HINTING, ROUND)
    for options in ([], ["--start"], ["--stop"]):
        shown = await command("hinting", "vm1", *options)
        assert (shown.status, shown.out, shown.err) == (0, "vm1: running, 4 MiB listed as free\n", "")
    assert [asked[0] for asked in daemon.asked] == ["GET", "POST", "DELETE"]
    assert (await command("hinting", "vm1", "--start", "--stop")).status == 2
