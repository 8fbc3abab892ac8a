import pytest
from support.fake_daemon import FakeDaemon, balloon


async def test_one_screen_needs_no_terminal(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", "/v1/balloons", {"balloons": [balloon(), balloon("vm2")]})
    shown = await command("watch", "--once")
    assert (shown.status, shown.err) == (0, "")
    assert [line.split()[0] for line in shown.out.splitlines()[2:4]] == ["vm1", "vm2"]


async def test_one_screen_of_one_balloon_has_its_map(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", "/v1/balloons/vm1", balloon(memory_bytes=1 << 20))
    daemon.answer_headers = {
        "X-First-Frame": "0",
        "X-Frame-Count": "256",
        "X-Frame-Scale": "1",
        "X-Frame-Version": "7",
    }
    daemon.says("GET", "/v1/balloons/vm1/frames", bytes([254]) * 256)
    shown = await command("watch", "vm1", "--once")
    assert (shown.status, shown.err) == (0, "")
    assert "█" * 256 in shown.out


async def test_a_map_that_cannot_be_had_is_said(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", "/v1/balloons/vm1", balloon())
    daemon.refuses("GET", "/v1/balloons/vm1/frames", 400, "query format='density': an older daemon")
    shown = await command("watch", "vm1", "--once")
    assert (shown.status, shown.err) == (0, "")
    assert "no map: query format='density': an older daemon" in shown.out


@pytest.mark.parametrize("name", [[], ["vm1"]])
async def test_without_a_terminal_it_is_wrong_usage(daemon: FakeDaemon, command, name: list[str]) -> None:
    wrong = await command("watch", *name)
    assert (wrong.status, wrong.out, daemon.asked) == (2, "", [])
    message, step = wrong.err.splitlines()
    assert message == "vballoond: watch needs a terminal on standard output"
    assert "'vballoond watch --once'" in step


async def test_a_balloon_that_is_not_there_is_a_failure(daemon: FakeDaemon, command) -> None:
    daemon.refuses("GET", "/v1/balloons/vm9", 404, "there is no balloon 'vm9'")
    failed = await command("watch", "vm9", "--once")
    assert (failed.status, failed.out, failed.err) == (1, "", "vballoond: there is no balloon 'vm9'\n")
