import asyncio
import json
import signal
from typing import Any

import pytest
from support.command import outcome, process
from support.fake_daemon import CUT_OFF, MIB, FakeDaemon

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


FAILED = {**SHORT, "state": "failed", "reason": "it cannot be done", "changed_at": "2026-01-02T03:04:25Z"}
MADE = "vballoond: reservation 4 of 64 MiB is made, and waited for up to {} s"


async def test_memory_is_asked_for_and_waited_for(daemon: FakeDaemon, command) -> None:
    daemon.says("POST", PATH, SHORT, 201)
    daemon.says("GET", f"{PATH}/4", READY)
    shown = await command("reserve", "64MiB", "--within", "5", "--for", "vm7", "--wait", "30")
    assert (shown.status, shown.out) == (0, "reservation 4 is ready, 64 MiB of 64 MiB is free\n")
    assert shown.err.splitlines() == [MADE.format(30)]
    assert [asked[:2] for asked in daemon.asked] == [("POST", PATH), ("GET", f"{PATH}/4")]
    assert daemon.asked[0][2] == {"bytes": 64 * MIB, "within_s": 5.0, "keep_s": 300.0, "purpose": "vm7"}
    assert "Prefer" not in daemon.headers[0]
    assert 29 < float(daemon.headers[1]["Prefer"].removeprefix("wait=")) <= 30


async def test_what_is_free_already_or_cannot_be_is_not_waited_for(daemon: FakeDaemon, command) -> None:
    daemon.says("POST", PATH, READY, 201)
    shown = await command("reserve", "64MiB", "--wait", "30")
    assert (shown.status, shown.err, len(daemon.asked)) == (0, "", 1)
    daemon.says("POST", PATH, FAILED, 201)
    failed = await command("reserve", "64MiB", "--wait", "30")
    assert (failed.status, len(daemon.asked)) == (1, 2)
    assert failed.err.startswith("vballoond: reservation 4 of 64 MiB failed after ")


async def test_scripts_get_the_reservation_and_nothing_else(daemon: FakeDaemon, command) -> None:
    daemon.says("POST", PATH, SHORT, 201)
    daemon.says("GET", f"{PATH}/4", READY)
    assert json.loads((await command("reserve", "64MiB", "--json")).out) == SHORT
    waited = await command("reserve", "64MiB", "--wait", "30", "--json")
    assert json.loads(waited.out) == READY
    assert waited.err.splitlines() == [MADE.format(30)]


async def test_what_is_not_there_in_time_is_a_failure_that_says_why(daemon: FakeDaemon, command) -> None:
    daemon.says("POST", PATH, SHORT, 201)
    daemon.says("GET", f"{PATH}/4", SHORT)
    assert (await command("reserve", "64MiB")).status == 0
    late = await command("reserve", "64MiB", "--wait", "0.1")
    assert late.status == 1
    assert late.err.splitlines() == [
        MADE.format(0.1),
        "vballoond: 64 MiB is not free after 0.1 s: 8 MiB of 64 MiB is there",
        "  next: it goes on: 'vballoond reservations' shows it, 'vballoond reservations --cancel 4' drops it",
    ]


async def test_one_that_comes_to_nothing_says_when_and_is_not_to_be_dropped(daemon: FakeDaemon, command) -> None:
    daemon.says("POST", PATH, SHORT, 201)
    daemon.says("GET", f"{PATH}/4", FAILED)
    failed = await command("reserve", "64MiB", "--wait", "60")
    assert failed.status == 1
    assert failed.err.splitlines()[1:] == [
        "vballoond: reservation 4 of 64 MiB failed after 20 s: it cannot be done",
        "  next: nothing is held for it any more: ask for less, or give it longer with --within",
    ]


@pytest.mark.parametrize(("state", "has_ended"), [("claimed", "was claimed"), ("expired", "expired")])
async def test_what_somebody_else_took_or_let_go_is_not_free(
    daemon: FakeDaemon, command, state: str, has_ended: str
) -> None:
    daemon.says("POST", PATH, SHORT, 201)
    daemon.says("GET", f"{PATH}/4", {**READY, "state": state})
    lost = await command("reserve", "64MiB", "--wait", "60")
    assert lost.status == 1
    assert lost.err.splitlines()[1] == f"vballoond: reservation 4 of 64 MiB {has_ended} after 1.0 s"
    assert "--cancel" not in lost.err


async def test_waiting_survives_a_daemon_that_goes_away(daemon: FakeDaemon, command) -> None:
    answers = iter([(200, CUT_OFF), (200, CUT_OFF), (200, READY)])

    async def answer() -> tuple[int, Any]:
        return next(answers)

    daemon.says("POST", PATH, SHORT, 201)
    daemon.answers["GET", f"{PATH}/4"] = answer
    shown = await command("reserve", "64MiB", "--wait", "30", "--json")
    assert (shown.status, json.loads(shown.out)) == (0, READY)
    made, gone, step = shown.err.splitlines()
    assert made == MADE.format(30)
    assert gone.startswith(f"vballoond: no word of reservation 4 for now: no vballoond answers at {daemon.api}: ")
    assert step == "  next: nothing: it is tried again until the time is over"
    assert [asked[0] for asked in daemon.asked] == ["POST", "GET", "GET", "GET"]


async def test_a_daemon_that_stays_away_leaves_a_reservation_that_can_be_looked_for(
    daemon: FakeDaemon, command
) -> None:
    daemon.says("POST", PATH, SHORT, 201)
    daemon.says("GET", f"{PATH}/4", CUT_OFF)
    failed = await command("reserve", "64MiB", "--wait", "0.1", "--json")
    assert (failed.status, failed.out) == (1, "")
    text, step = failed.err.splitlines()[-2:]
    assert text.startswith("vballoond: what became of reservation 4 is not known after 0.1 s: no vballoond answers ")
    assert step == (
        "  next: once the daemon is back, 'vballoond reservations' shows it,"
        " 'vballoond reservations --cancel 4' drops it"
    )


async def test_one_whose_number_was_never_said_is_to_be_looked_for_first(daemon: FakeDaemon, command) -> None:
    daemon.says("POST", PATH, CUT_OFF)
    failed = await command("reserve", "64MiB", "--wait", "30")
    assert (failed.status, failed.out) == (1, "")
    text, step = failed.err.splitlines()
    assert text.startswith("vballoond: the daemon went away before it said a number: no vballoond answers at ")
    assert step == "  next: see with 'vballoond reservations' whether it was made, before you ask for it again"


async def test_where_no_daemon_is_nothing_was_made(daemon: FakeDaemon, command, tmp_path) -> None:
    failed = await command("reserve", "64MiB", "--wait", "30", "--api", f"unix:{tmp_path}/api.sock")
    assert (failed.status, daemon.asked) == (1, [])
    assert "start it with 'vballoond serve'" in failed.err


async def test_ctrl_c_ends_the_waiting_and_not_the_reservation(daemon: FakeDaemon) -> None:
    daemon.says("POST", PATH, SHORT, 201)
    asked = never_answered(daemon, "GET", f"{PATH}/4")
    async with process("reserve", "64MiB", "--wait", "30", "--json", "--api", daemon.api) as running:
        await asked.wait()
        running.send_signal(signal.SIGINT)
        ended = await outcome(running)
    assert (ended.status, ended.out) == (130, "")
    assert ended.err.splitlines() == [
        MADE.format(30),
        "vballoond: interrupted; reservation 4 of 64 MiB goes on",
        "  next: 'vballoond reservations' shows it, 'vballoond reservations --cancel 4' drops it",
    ]


async def test_ctrl_c_before_there_is_a_number_says_so(daemon: FakeDaemon) -> None:
    asked = never_answered(daemon, "POST", PATH)
    async with process("reserve", "64MiB", "--api", daemon.api) as running:
        await asked.wait()
        running.send_signal(signal.SIGINT)
        ended = await outcome(running)
    assert (ended.status, ended.out) == (130, "")
    assert ended.err.splitlines() == [
        "vballoond: interrupted before the daemon said a number",
        "  next: see with 'vballoond reservations' whether it was made, before you ask for it again",
    ]


async def test_a_purpose_that_is_refused_is_said_to_be(daemon: FakeDaemon, command) -> None:
    detail = "purpose is 'a\\nb', not one line that can be read"
    daemon.refuses("POST", PATH, 422, detail, code="invalid-purpose")
    refused = await command("reserve", "64MiB", "--for", "a\nb")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err.splitlines() == [
        f"vballoond: {detail}",
        "  next: give --for a text without line breaks and control characters",
    ]


def never_answered(daemon: FakeDaemon, method: str, path: str) -> asyncio.Event:
    """Has a request wait until its client has gone; set once it has come."""
    asked = asyncio.Event()

    async def answer() -> tuple[int, Any]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    daemon.answers[method, path] = answer
    return asked


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
