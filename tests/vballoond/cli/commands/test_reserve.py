import json

import pytest
from support.fake_daemon import MIB, FakeDaemon

PATH = "/v1/reservations"
READY = {
    "id": 4,
    "bytes": 64 * MIB,
    "gathered_bytes": 64 * MIB,
    "state": "ready",
    "reason": None,
    "purpose": "vm7",
    "asked_at": "2026-01-02T03:04:05Z",
    "by": "2026-01-02T03:05:05Z",
    "changed_at": "2026-01-02T03:04:06Z",
    "keep_s": 300,
    "claimed_by": None,
}
SHORT = {**READY, "state": "gathering", "gathered_bytes": 8 * MIB, "reason": "8 MiB of 64 MiB is there"}


async def test_memory_is_asked_for_and_waited_for(daemon: FakeDaemon, command) -> None:
    daemon.says("POST", PATH, READY, 201)
    shown = await command("reserve", "64MiB", "--within", "5", "--for", "vm7", "--wait", "30")
    assert (shown.status, shown.out) == (0, "reservation 4 is ready, 64 MiB of 64 MiB is free\n")
    assert daemon.asked[0][2] == {"bytes": 64 * MIB, "within_s": 5.0, "keep_s": 300.0, "purpose": "vm7"}
    assert daemon.headers[0]["Prefer"] == "wait=30"
    assert json.loads((await command("reserve", "64MiB", "--json")).out) == READY
    assert "Prefer" not in daemon.headers[1]


async def test_what_is_not_there_in_time_is_a_failure_that_says_why(daemon: FakeDaemon, command) -> None:
    daemon.says("POST", PATH, SHORT, 201)
    assert (await command("reserve", "64MiB")).status == 0
    late = await command("reserve", "64MiB", "--wait", "1")
    assert late.status == 1
    first, second = late.err.splitlines()
    assert first == "vballoond: 64 MiB is not free after 1 s: 8 MiB of 64 MiB is there"
    assert "vballoond reservations --cancel 4" in second


@pytest.mark.parametrize("size", ["64", "much"])
async def test_a_size_that_is_none_is_wrong_usage(daemon: FakeDaemon, command, size: str) -> None:
    assert (await command("reserve", size)).status == 2
    assert daemon.asked == []


async def test_reservations_are_listed_taken_and_let_go(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", PATH, {"reservations": [READY]})
    daemon.says("DELETE", f"{PATH}/4", {})
    daemon.says("POST", f"{PATH}/4/claim", READY)
    shown = await command("reservations", "--cancel", "4")
    assert [line.split() for line in shown.out.splitlines()] == [
        ["ID", "STATE", "SIZE", "FREE", "BY", "FOR", "REASON"],
        ["4", "ready", "64", "MiB", "64", "MiB", "03:05:05", "vm7"],
    ]
    await command("reservations", "--claim", "4")
    assert [asked[:2] for asked in daemon.asked] == [
        ("DELETE", f"{PATH}/4"),
        ("GET", PATH),
        ("POST", f"{PATH}/4/claim"),
        ("GET", PATH),
    ]
    assert json.loads((await command("reservations", "--json")).out) == {"reservations": [READY]}
