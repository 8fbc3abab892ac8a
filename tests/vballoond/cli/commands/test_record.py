import json
from types import SimpleNamespace

import pytest
from support.fake_daemon import FakeDaemon

VIEW = {"now_s": 1.5, "host": {"total_bytes": 1}, "guests": [], "memory": {}}


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    naps: list[float] = []
    monkeypatch.setattr("vballoond.cli.commands.record.time.sleep", naps.append)
    return naps


async def test_snapshots_are_added_a_line_each(daemon: FakeDaemon, command, tmp_path, naps) -> None:
    daemon.says("GET", "/v1/policy", {"interval_s": 10})
    daemon.says("GET", "/v1/policy/view", VIEW)
    file = tmp_path / "views.jsonl"
    for _ in range(2):
        recorded = await command("record", file, "--rounds", "2")
        assert (recorded.status, recorded.out) == (0, f"2 snapshots in {file}\n")
    assert [json.loads(line) for line in file.read_text().splitlines()] == [VIEW] * 4
    assert len(naps) == 2
    assert all(9 < nap <= 10 for nap in naps)


async def test_how_often_can_be_said(daemon: FakeDaemon, command, tmp_path, naps) -> None:
    daemon.says("GET", "/v1/policy/view", VIEW)
    await command("record", tmp_path / "views.jsonl", "--rounds", "3", "--interval", "2")
    assert len(naps) == 2
    assert all(nap <= 4 for nap in naps)


async def test_what_was_missed_is_not_made_up_for(daemon: FakeDaemon, command, tmp_path, monkeypatch) -> None:
    daemon.says("GET", "/v1/policy/view", VIEW)
    now_s, naps = [1000.0], []

    def sleep(nap_s: float) -> None:
        naps.append(nap_s)
        now_s[0] += nap_s + (95 if len(naps) == 1 else 0)  # the machine sleeps for longer

    clock = SimpleNamespace(monotonic=lambda: now_s[0], sleep=sleep)
    monkeypatch.setattr("vballoond.cli.commands.record.time", clock)
    await command("record", tmp_path / "views.jsonl", "--rounds", "4", "--interval", "10")
    assert naps == [10, 5, 10]


async def test_a_file_that_cannot_be_written_is_said(daemon: FakeDaemon, command, tmp_path) -> None:
    daemon.says("GET", "/v1/policy", {"interval_s": 10})
    refused = await command("record", tmp_path / "nowhere/views.jsonl")
    assert refused.status == 1
    assert "views.jsonl" in refused.err


async def test_a_disk_that_is_full_is_said_with_what_there_is(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", "/v1/policy", {"interval_s": 10})
    daemon.says("GET", "/v1/policy/view", VIEW)
    refused = await command("record", "/dev/full", "--rounds", "1")
    assert refused.status == 1
    assert "/dev/full: No space left on device; it has 0 snapshots of this recording" in refused.err


async def test_what_could_not_be_played_again_is_wrong_usage(command, tmp_path) -> None:
    for arguments in ((tmp_path / "policy.py",), (tmp_path / "r.jsonl", "--interval", "inf")):
        assert (await command("record", *arguments)).status == 2
    assert list(tmp_path.iterdir()) == []


async def test_a_daemon_that_goes_leaves_what_was_recorded(daemon: FakeDaemon, command, tmp_path, monkeypatch) -> None:
    daemon.says("GET", "/v1/policy", {"interval_s": 10})
    daemon.says("GET", "/v1/policy/view", VIEW)
    gone = {"code": "gone", "detail": "it is gone"}
    monkeypatch.setattr(
        "vballoond.cli.commands.record.time.sleep", lambda _: daemon.says("GET", "/v1/policy/view", gone, status=503)
    )
    file = tmp_path / "views.jsonl"
    ended = await command("record", file)
    assert ended.status == 1
    assert f"{file} has 1 snapshots of this recording" in ended.err
    assert [json.loads(line) for line in file.read_text().splitlines()] == [VIEW]
