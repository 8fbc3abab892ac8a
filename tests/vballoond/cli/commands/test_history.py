import asyncio
import json

from support.fake_daemon import DONE, FakeDaemon, balloon, resize


async def test_resizes_are_a_table_the_newest_first(daemon: FakeDaemon, command) -> None:
    history = {"name": "vm1", "resizes": [resize(id=2, stalled="it sleeps"), resize(**DONE, by="policy")]}
    daemon.says("GET", "/v1/balloons/vm1/resizes", history)
    shown = await command("resizes", "vm1")
    assert (shown.status, shown.err) == (0, "")
    header, newest, oldest = (line.split() for line in shown.out.splitlines())
    assert header == ["ID", "STARTED", "FROM", "TARGET", "TOOK", "BY", "OUTCOME"]
    assert newest[0] == "2"
    assert newest[-4:] == ["operator", "stalled:", "it", "sleeps"]
    assert oldest[-4:] == ["4.0", "s", "policy", "done"]
    assert json.loads((await command("resizes", "vm1", "--json")).out) == history


async def test_no_resizes_are_a_line(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", "/v1/balloons/vm1/resizes", {"name": "vm1", "resizes": []})
    assert (await command("resizes", "vm1")).out == "vm1: no resize yet\n"


async def test_events_are_lines(daemon: FakeDaemon, command) -> None:
    await daemon.tell("state", state="running", reason=None)
    await daemon.tell("events-lost", name=None)
    shown = await command("events", "--count", "2")
    assert (shown.status, shown.err) == (0, "")
    assert [line[8:].split(maxsplit=1) for line in shown.out.splitlines()] == [
        ["vm1", "running"],
        ["-", "events before this are missing: whoever follows them reads everything again"],
    ]


async def test_events_of_one_balloon_behind_one_are_json_a_line(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", "/v1/balloons/vm1", balloon())
    for state in ("waiting", "running", "paused"):
        await daemon.tell("state", state=state, reason=None)
    shown = await command("events", "vm1", "--after", "R-1", "--count", "2", "--json")
    assert (shown.status, shown.err) == (0, "")
    told = [json.loads(line) for line in shown.out.splitlines()]
    assert [(event["id"], event["event"], event["state"]) for event in told] == [
        ("R-2", "state", "running"),
        ("R-3", "state", "paused"),
    ]
    assert daemon.asked[-1][1] == "/v1/events?balloon=vm1"


async def test_a_break_is_said_and_overcome(daemon: FakeDaemon, command) -> None:
    await daemon.tell("state", state="waiting", reason=None)
    running = asyncio.create_task(command("events", "--count", "2"))
    await daemon.until_asked("GET", "/v1/events")
    await daemon.hang_up()
    await daemon.tell("state", state="running", reason=None)
    shown = await running
    assert shown.status == 0
    assert [line.split()[-1] for line in shown.out.splitlines()] == ["waiting", "running"]
    assert all(line.startswith(("vballoond: no events for now: ", "  next: ")) for line in shown.err.splitlines())


async def test_events_of_nobody_are_a_failure(daemon: FakeDaemon, command) -> None:
    daemon.refuses("GET", "/v1/balloons/vm9", 404, "there is no balloon 'vm9'")
    failed = await command("events", "vm9")
    assert (failed.status, failed.out, failed.err) == (1, "", "vballoond: there is no balloon 'vm9'\n")
