import json
import os
from typing import Any

import pytest
from support.fake_daemon import MIB, FakeDaemon

POLICY = "/v1/policy"
ACTIVE = {"name": "watermark", "settings": {"samples": 3}, "problem": None, "set_aside": False}
SCHEMA = {"properties": {"samples": {"default": 10}}}
VIEW = {
    "active": ACTIVE,
    "shadow": None,
    "available": [
        {"name": "mine", "origin": "/etc/mine.py", "summary": "Does it.", "settings_schema": {}},
        {"name": "watermark", "origin": "built-in", "summary": "Shrinks.", "settings_schema": SCHEMA},
    ],
    "problems": {},
    "interval_s": 10,
    "left_alone": [],
}
DECISION = {
    "balloon": "vm1",
    "from_bytes": 0,
    "wished_bytes": 64 * MIB,
    "target_bytes": 32 * MIB,
    "reason": "why not; steps: 32 MiB of 64 MiB for now",
    "changes": [],
}
ALERT = {"balloon": None, "message": "the host is short", "level": "warning"}
ROUND = {
    "number": 3,
    "at": "2026-01-02T03:04:05Z",
    "policy": "watermark",
    "settings": {},
    "shadow": False,
    "took_s": 0.1,
    "error": None,
    "decisions": [DECISION],
    "alerts": [ALERT],
    "view": None,
}


@pytest.mark.parametrize("arguments", [["policy"], ["policy", "show"]])
async def test_who_decides_is_shown(daemon: FakeDaemon, command, arguments) -> None:
    daemon.says("GET", POLICY, VIEW)
    shown = await command(*arguments)
    assert (shown.status, shown.out, shown.err) == (0, "acting: watermark samples=3\n", "")
    assert json.loads((await command(*arguments, "--json")).out) == VIEW


async def test_what_goes_wrong_and_what_differs_is_shown(daemon: FakeDaemon, command) -> None:
    difference = {"balloon": "vm1", "acting_bytes": 0, "shadow_bytes": 64 * MIB}
    shadow = {**ACTIVE, "name": "mine", "settings": {}, "problem": "mine failed\nline 3", "differences": [difference]}
    left = [{"balloon": "vm2", "until": "2026-01-02T03:04:05Z"}]
    active = {**ACTIVE, "set_aside": True}
    problems = {"/etc/x.py": "x.py cannot be loaded\nSyntaxError"}
    daemon.says("GET", POLICY, {**VIEW, "active": active, "shadow": shadow, "left_alone": left, "problems": problems})
    assert (await command("policy")).out.splitlines() == [
        "acting: watermark samples=3, set aside",
        "shadow: mine",
        "  mine failed",
        "  line 3",
        "  vm1: 64 MiB, where the acting one has 0 B",
        "set by hand: vm2, left alone until 03:04:05",
        "not loaded: /etc/x.py",
        "  x.py cannot be loaded",
        "  SyntaxError",
    ]


async def test_those_that_there_are_are_listed_with_what_could_not_be_loaded(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", POLICY, {**VIEW, "problems": {"/etc/x.py": "x.py cannot be loaded"}})
    shown = await command("policy", "list")
    assert [line.split() for line in shown.out.splitlines()] == [
        ["NAME", "WHAT", "IT", "DOES", "SETTINGS"],
        ["mine", "Does", "it.", "(/etc/mine.py)"],
        ["*", "watermark", "Shrinks.", "samples=10"],
    ]
    assert "x.py cannot be loaded" in shown.err
    assert json.loads((await command("policy", "list", "--json")).out) == VIEW["available"]


async def test_another_is_set_with_settings(daemon: FakeDaemon, command) -> None:
    daemon.says("PUT", POLICY, VIEW)
    shown = await command("policy", "set", "watermark", "-s", "samples=3", "-s", "mode=fast", "-s", "list=[1]")
    assert (shown.status, shown.out) == (0, "acting: watermark samples=3\n")
    assert daemon.asked[-1][2] == {"name": "watermark", "settings": {"samples": 3, "mode": "fast", "list": [1]}}


async def test_a_shadow_is_set_and_taken_away(daemon: FakeDaemon, command) -> None:
    daemon.says("PUT", POLICY, VIEW)
    await command("policy", "shadow", "mine", "-s", "part=0.5")
    await command("policy", "shadow")
    assert [asked[2] for asked in daemon.asked] == [
        {"shadow": {"name": "mine", "settings": {"part": 0.5}}},
        {"shadow": None},
    ]


async def test_settings_without_the_policy_that_has_them_are_wrong_usage(daemon: FakeDaemon, command) -> None:
    refused = await command("policy", "shadow", "-s", "part=0.5")
    assert (refused.status, refused.out, daemon.asked) == (2, "", [])
    assert "name the policy that is to have the settings: 'vballoond policy shadow NAME -s KEY=VALUE'" in refused.err


@pytest.mark.parametrize("setting", ["samples", "=3"])
async def test_a_setting_that_is_none_is_wrong_usage(daemon: FakeDaemon, command, setting: str) -> None:
    refused = await command("policy", "set", "watermark", "-s", setting)
    assert refused.status == 2
    assert daemon.asked == []


@pytest.mark.parametrize("code", ["no-such-policy", "invalid-settings", "policy-failed"])
async def test_a_refusal_says_what_to_do(daemon: FakeDaemon, command, code: str) -> None:
    daemon.refuses("PUT", POLICY, 422, "that cannot be", code=code)
    refused = await command("policy", "set", "x")
    assert (refused.status, refused.out) == (1, "")
    first, second = refused.err.splitlines()
    assert first == "vballoond: that cannot be"
    assert second.startswith("  next: ")


async def test_a_plan_is_shown(daemon: FakeDaemon, command, tmp_path) -> None:
    answer = {"name": "mine", "settings": {}, "decisions": [DECISION], "alerts": [ALERT]}
    daemon.says("POST", f"{POLICY}/plan", answer)
    shown = await command("policy", "plan", "mine", "-s", "a=1")
    assert [line.rstrip() for line in shown.out.splitlines()] == [
        "mine",
        "  BALLOON  FROM  WISHED  TARGET  WHY",
        "  vm1       0 B  64 MiB  32 MiB  why not; steps: 32 MiB of 64 MiB for now",
        "  warning: host: the host is short",
    ]
    record = tmp_path / "views.jsonl"
    record.write_text('{"now_s": 1}\n{"now_s": 2}\n\n')
    assert json.loads((await command("policy", "plan", "--snapshot", record, "--json")).out) == answer
    assert [asked[2] for asked in daemon.asked] == [{"name": "mine", "settings": {"a": 1}}, {"snapshot": {"now_s": 2}}]


@pytest.mark.parametrize(
    "content", [b"", b"\n \n", b"\x7fELF\x02\xc3\x28", b"{}\n\xff\xfe", b"[" * 100_000], ids=lambda content: content[:4]
)
async def test_a_file_without_a_snapshot_at_its_end_is_said_to_be_so(
    daemon: FakeDaemon, command, tmp_path, content: bytes
) -> None:
    record = tmp_path / "views.jsonl"
    record.write_bytes(content)
    await refused_snapshot(daemon, command, record, f"{record} has no snapshot in its last line")


async def test_a_path_that_is_no_file_neither_hangs_nor_fills_memory(daemon: FakeDaemon, command, tmp_path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    await refused_snapshot(daemon, command, fifo, f"{fifo} has no snapshot in its last line")
    await refused_snapshot(daemon, command, tmp_path, f"{tmp_path}: Is a directory")
    await refused_snapshot(daemon, command, tmp_path / "none", f"{tmp_path}/none: No such file or directory")
    endless = "/dev/zero has no last line within 20 MB, and no snapshot is longer than that"
    await refused_snapshot(daemon, command, "/dev/zero", endless)


async def refused_snapshot(daemon: FakeDaemon, command, path: object, why: str) -> None:
    refused = await command("policy", "plan", "--snapshot", path)
    assert (refused.status, refused.out, daemon.asked) == (1, "", [])
    assert refused.err.splitlines()[0] == f"vballoond: {why}"


async def test_a_plan_that_moves_nothing_says_so(daemon: FakeDaemon, command) -> None:
    daemon.says("POST", f"{POLICY}/plan", {"name": "static", "settings": {}, "decisions": [], "alerts": []})
    shown = await command("policy", "plan", "static")
    assert shown.out.splitlines() == ["static", "  all guests are left as they are"]


async def test_rounds_in_which_nothing_was_wished_are_one_line(daemon: FakeDaemon, command) -> None:
    def quiet(second: int, **more: Any) -> dict[str, Any]:
        return {**ROUND, "at": f"2026-01-02T03:04:{second:02}Z", "decisions": [], "alerts": [], **more}

    rounds = [quiet(8), ROUND, quiet(4, shadow=True), *(quiet(second) for second in (3, 2, 1))]
    daemon.says("GET", f"{POLICY}/decisions", {"rounds": rounds})
    heads = [line for line in (await command("policy", "log")).out.splitlines() if line.startswith("2026")]
    assert heads == [
        "2026-01-02 03:04:01 to 03:04:03, 3 rounds  watermark: leaves all guests as they are",
        "2026-01-02 03:04:04  watermark in shadow: leaves all guests as they are",
        "2026-01-02 03:04:05  watermark",
        "2026-01-02 03:04:08  watermark: leaves all guests as they are",
    ]


async def test_the_log_is_shown_the_newest_last(daemon: FakeDaemon, command) -> None:
    failed = {**ROUND, "error": "no plan\nline 3", "decisions": [], "alerts": [], "shadow": True}
    daemon.says("GET", f"{POLICY}/decisions", {"rounds": [failed, ROUND]})
    shown = await command("policy", "log", "vm1", "--limit", "2")
    assert [line.rstrip() for line in shown.out.splitlines()] == [
        "2026-01-02 03:04:05  watermark",
        "  BALLOON  FROM  WISHED  TARGET  WHY",
        "  vm1       0 B  64 MiB  32 MiB  why not; steps: 32 MiB of 64 MiB for now",
        "  warning: host: the host is short",
        "2026-01-02 03:04:05  watermark in shadow",
        "  no plan",
        "  line 3",
    ]
    assert daemon.asked[0][1] == f"{POLICY}/decisions?limit=2&balloon=vm1"
    assert json.loads((await command("policy", "log", "--json")).out) == [failed, ROUND]
