import json

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


async def test_a_file_that_cannot_be_written_is_said(daemon: FakeDaemon, command, tmp_path) -> None:
    daemon.says("GET", "/v1/policy", {"interval_s": 10})
    refused = await command("record", tmp_path / "nowhere/views.jsonl")
    assert refused.status == 1
    assert "views.jsonl" in refused.err
