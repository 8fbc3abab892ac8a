import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from support.fake_daemon import CUT_OFF, DONE, MIB, FakeDaemon, balloon, resize

PATH = "/v1/balloons/vm1"


def resized(actual_mib: int = 512, target_mib: int = 512, **changes: Any) -> dict[str, Any]:
    return balloon(
        target_bytes=target_mib * MIB, actual_bytes=actual_mib * MIB, resize=resize(**changes), resident_bytes=8 * MIB
    )


def once_told(daemon: FakeDaemon, body: Any, status: int = 200) -> Callable[[], Any]:
    """Answers once the events have been told that the test has to tell."""

    async def answer() -> tuple[int, Any]:
        await told.wait()
        return status, body

    told = asyncio.Event()
    daemon.answers["PATCH", PATH] = answer
    return told.set


async def test_a_size_is_set_with_what_is_asked_for(daemon: FakeDaemon, command) -> None:
    daemon.says("PATCH", PATH, resized(0), 202)
    begun = await command("set", "vm1", "512MiB")
    assert (begun.status, begun.out, begun.err) == (0, "vm1: 0 B of 512 MiB, under way\n", "")
    await command("set", "vm1", "1GiB", "--settle", "--deadline", "2.5")
    assert [asked[2] for asked in daemon.asked] == [
        {"target_bytes": 512 * MIB},
        {"target_bytes": 1024 * MIB, "settle": True, "deadline_s": 2.5},
    ]
    assert not any("Prefer" in headers for headers in daemon.headers)


async def test_while_it_is_waited_for_each_stall_is_a_line(daemon: FakeDaemon, command) -> None:
    tell = once_told(daemon, resized(**DONE))
    running = asyncio.create_task(command("set", "vm1", "512MiB", "--wait", "30"))
    await daemon.until_asked("PATCH", PATH)
    await daemon.tell("resize-begun", resize=resize())
    await daemon.tell("sizes", actual_bytes=128 * MIB)
    await daemon.tell("resize-stalled", resize=resize(stalled="the guest is asleep"))
    await daemon.tell("sizes", actual_bytes=129 * MIB)
    await daemon.tell("resize-moving", resize=resize())
    await daemon.tell("sizes", name="vm2", actual_bytes=1)
    tell()
    done = await running
    assert (done.status, done.err) == (0, "")
    first, *_, last = done.out.splitlines()
    assert first == "vm1: to 512 MiB from 0 B, for 30 s at most"
    assert last == "vm1: 512 MiB of 512 MiB, done; the guest takes 8 MiB of the host"
    assert daemon.asked[0][:2] == ("GET", "/v1/events?balloon=vm1")
    assert daemon.headers[1]["Prefer"] == "wait=30"


async def test_scripts_get_the_balloon_and_nothing_else(daemon: FakeDaemon, command) -> None:
    daemon.says("PATCH", PATH, resized(**DONE))
    await daemon.tell("resize-begun", resize=resize())
    done = await command("set", "vm1", "512MiB", "--wait", "30", "--json")
    assert (done.status, done.err) == (0, "")
    assert json.loads(done.out) == resized(**DONE)


async def test_without_events_the_outcome_is_the_same(daemon: FakeDaemon, command) -> None:
    daemon.refuses("GET", "/v1/events", 404, "what is /v1/events?")
    daemon.says("PATCH", PATH, resized(**DONE))
    done = await command("set", "vm1", "512MiB", "--wait", "30")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1].startswith("vm1: 512 MiB of 512 MiB, done")


async def test_what_is_settled_for_is_reached(daemon: FakeDaemon, command) -> None:
    settled = resized(300, 300, outcome="settled", done=True, settle=True)
    daemon.says("PATCH", PATH, settled)
    done = await command("set", "vm1", "512MiB", "--settle", "--wait", "30")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1].startswith("vm1: 300 MiB of 300 MiB, settled for less than 512 MiB")


async def test_what_is_not_reached_is_explained_with_the_next_step(daemon: FakeDaemon, command) -> None:
    daemon.says("PATCH", PATH, resized(300, stalled="the guest finds no memory", stall="guest-out-of-memory"), 202)
    late = await command("set", "vm1", "512MiB", "--wait", "5")
    assert late.status == 1
    assert late.err.splitlines() == [
        "vballoond: vm1 has not reached 512 MiB within 5 s: the guest finds no memory",
        "  next: 'vballoond set vm1 300MiB' keeps what it has; 'set vm1 512MiB --settle' does so by itself",
    ]
    late = await command("set", "vm1", "512MiB", "--wait", "5", "--json")
    assert (late.status, json.loads(late.out)["actual_bytes"]) == (1, 300 * MIB)


async def test_whoever_comes_later_wins(daemon: FakeDaemon, command) -> None:
    detail = "another request has set the target to 1048576 bytes meanwhile"
    daemon.refuses("PATCH", PATH, 409, detail, code="superseded")
    late = await command("set", "vm1", "512MiB", "--wait", "30")
    assert (late.status, late.out) == (1, "")
    assert late.err.splitlines() == [
        f"vballoond: vm1 is no longer to have 512 MiB: {detail}",
        "  next: 'vballoond resizes vm1' shows what was asked of it, and when",
    ]


@pytest.mark.parametrize(
    ("limit_mib", "step"),
    [
        (256, "'vballoond set vm1 256MiB' is the most that it can have"),
        (768, "'vballoond set vm1 768MiB' is the least that it can have"),
    ],
)
async def test_a_size_out_of_bounds_is_refused_with_the_bound(
    daemon: FakeDaemon, command, limit_mib: int, step: str
) -> None:
    daemon.refuses("PATCH", PATH, 422, "outside", code="target-out-of-range", limit_bytes=limit_mib * MIB)
    refused = await command("set", "vm1", "512MiB")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err == f"vballoond: outside\n  next: {step}\n"


async def test_a_daemon_that_goes_away_at_once_is_not_to_be_reached(daemon: FakeDaemon, command) -> None:
    daemon.says("PATCH", PATH, CUT_OFF)
    failed = await command("set", "vm1", "512MiB", "--wait", "30")
    assert (failed.status, failed.out) == (1, "")
    assert failed.err.startswith(f"vballoond: no vballoond answers at {daemon.api}: ")


@pytest.mark.parametrize("options", [["--deadline", "-1"], ["--deadline", "soon"], ["--wait", "601"]])
async def test_wrong_options_are_wrong_usage(daemon: FakeDaemon, command, options: list[str]) -> None:
    wrong = await command("set", "vm1", "512MiB", *options)
    assert (wrong.status, wrong.out, daemon.asked) == (2, "", [])
