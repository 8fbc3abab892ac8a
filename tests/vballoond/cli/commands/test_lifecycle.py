from support.fake_daemon import FakeDaemon


async def test_a_configuration_that_is_wrong_changes_nothing_and_says_so(daemon: FakeDaemon, command) -> None:
    daemon.refuses("POST", "/v1/reload", 422, "vballoond.toml: balloon.0.sockt: no such key")
    refused = await command("reload")
    assert (refused.status, refused.out) == (1, "")
    message, step = refused.err.splitlines()
    assert message == "vballoond: vballoond.toml: balloon.0.sockt: no such key"
    assert "the last good one" in step


async def test_what_a_reload_did_is_told(daemon: FakeDaemon, command) -> None:
    daemon.says("POST", "/v1/reload", {"done": ["vm1: added", "vm2: removed"]})
    assert (await command("reload")).out == "vm1: added\nvm2: removed\n"
    daemon.says("POST", "/v1/reload", {"done": []})
    assert (await command("reload")).out == "nothing has changed\n"


async def test_a_daemon_without_a_keeper_is_told_with_what_to_do(daemon: FakeDaemon, command) -> None:
    daemon.refuses("POST", "/v1/restart", 409, "there is no process that would take over", code="no-keeper")
    refused = await command("restart")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err.splitlines()[1].startswith("  next: stop the daemon")
