import json
from pathlib import Path
from typing import Any

import pytest
from support.fake_daemon import FakeDaemon, balloon

PATH = "/v1/balloons/vm1"


async def test_no_balloons_are_told_with_how_to_have_one(daemon: FakeDaemon, command) -> None:
    daemon.says("GET", "/v1/balloons", {"balloons": []})
    listed = await command("list")
    assert (listed.status, listed.err) == (0, "")
    assert "none yet: 'vballoond add NAME --memory 1GiB'" in listed.out
    assert json.loads((await command("list", "--json")).out) == {"balloons": []}


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (["--memory", "1GiB"], {"memory": "1GiB", "transport": "in-process"}),
        (["--socket", "vm1.sock"], {"socket": "vm1.sock", "transport": "vhost-user"}),
        (["--transport", "in-process"], {"transport": "in-process"}),
        (
            ["--socket", "a", "--feature", "stats", "--feature", "page-poison", "--no-discard", "--min", "1MiB"],
            {
                "transport": "vhost-user",
                "socket": "a",
                "features": ["stats", "page-poison"],
                "discard": False,
                "min": "1MiB",
            },
        ),
        (
            ["--memory", "1GiB", "--stats-interval", "0", "--max", "512MiB", "--workload", "build", "--ring", "packed"],
            {
                "transport": "in-process",
                "memory": "1GiB",
                "stats_interval_s": 0,
                "max": "512MiB",
                "workload": "build",
                "ring": "packed",
            },
        ),
    ],
)
async def test_a_balloon_is_added_with_what_is_given_and_nothing_else(
    daemon: FakeDaemon, command, options: list[str], body: dict[str, Any]
) -> None:
    daemon.says("POST", "/v1/balloons", balloon(), 201)
    added = await command("add", "vm1", *options)
    assert (added.status, added.err) == (0, "")
    assert added.out.split()[:2] == ["name", "vm1"]
    assert daemon.asked == [("POST", "/v1/balloons", {"name": "vm1", **body})]


async def test_options_go_over_a_file(daemon: FakeDaemon, command, tmp_path: Path) -> None:
    daemon.says("POST", "/v1/balloons", balloon(), 201)
    file = tmp_path / "vm1.toml"
    file.write_text('name = "vm1"\nsocket = "a"\nring = "packed"\n')
    added = await command("add", "vm1", "--file", file, "--ring", "split", "--json")
    assert (added.status, json.loads(added.out)["name"]) == (0, "vm1")
    expected = {"name": "vm1", "transport": "vhost-user", "socket": "a", "ring": "split"}
    assert daemon.asked[0][2] == expected


async def test_a_balloon_that_is_refused_is_a_failure(daemon: FakeDaemon, command) -> None:
    daemon.refuses("POST", "/v1/balloons", 409, "there is a balloon 'vm1' already")
    refused = await command("add", "vm1", "--memory", "1GiB")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err == "vballoond: there is a balloon 'vm1' already\n"


async def test_a_file_of_another_balloon_is_not_sent(daemon: FakeDaemon, command, tmp_path: Path) -> None:
    file = tmp_path / "vm9.toml"
    file.write_text('name = "vm9"\n')
    failed = await command("add", "vm1", "--file", file)
    assert (failed.status, failed.out, daemon.asked) == (1, "", [])
    assert failed.err.splitlines()[1] == f"  next: 'vballoond add vm9 --file {file}'"


async def test_a_balloon_is_removed(daemon: FakeDaemon, command) -> None:
    daemon.says("DELETE", PATH, b"", 204)
    removed = await command("remove", "vm1")
    assert (removed.status, removed.out, removed.err) == (0, "vm1: removed\n", "")
    assert json.loads((await command("remove", "vm1", "--force", "--json")).out) == {"name": "vm1", "removed": True}
    assert [asked[:2] for asked in daemon.asked] == [("DELETE", PATH), ("DELETE", f"{PATH}?force=true")]


async def test_a_balloon_with_a_vm_is_removed_by_force_only(daemon: FakeDaemon, command) -> None:
    daemon.refuses("DELETE", PATH, 409, "a front-end is connected to 'vm1'", code="connected")
    refused = await command("remove", "vm1")
    assert (refused.status, refused.out) == (1, "")
    message, step = refused.err.splitlines()
    assert message == "vballoond: a front-end is connected to 'vm1'"
    assert "'vballoond remove vm1 --force'" in step
