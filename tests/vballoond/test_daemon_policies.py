"""Policies in a whole daemon: over its API, in their real process, across processes of the daemon."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.api import Api
from support.fake_holder import FakeHolder
from support.logging_state import logging_as_before
from support.policy_host import PolicyHost
from support.running_daemon import exists

from vballoond.config.models import Settings
from vballoond.configuration import Configuration
from vballoond.daemon import Daemon
from vballoond.errors import StartError
from vballoond.holder.no_holder import NoHolder
from vballoond.runner.kept import POLICY

FOUR = """
from vballoond.policy import Plan, Policy, View, Wish
class Four(Policy):
    name = "four"
    def plan(self, view: View, settings) -> Plan:
        seen = view.memory.get("seen", 0) + 1
        return Plan(tuple(Wish.balloon(guest, 4 << 20, "four is enough") for guest in view.able), memory={"seen": seen})
"""
GUEST = {"name": "g", "transport": "in-process", "memory": "16MiB", "stats_interval_s": 0}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with logging_as_before():
        yield


@pytest.fixture
def sections(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/four.py").write_text(FOUR)
    return {
        "http": {"listen": f"unix:{tmp_path}/api.sock"},
        "state": {"directory": tmp_path / "state"},
        "policy": {"directory": tmp_path / "policies", "interval_s": 3600, "guard": {"new_for_s": 0}},
        "balloon": [GUEST],
    }


@asynccontextmanager
async def running(
    sections: dict[str, Any], holder: FakeHolder | NoHolder | None = None
) -> AsyncIterator[tuple[Daemon, Api]]:
    def load() -> Settings:
        return Settings.model_validate(sections)

    holder = holder or NoHolder()
    configuration = Configuration(load, holder)
    async with Daemon(configuration.begin(), lambda _: None, holder, configuration, PolicyHost().read) as daemon:
        await daemon.fleet.guest("g").booted()
        connector = aiohttp.UnixConnector(sections["http"]["listen"].removeprefix("unix:"))
        async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
            yield daemon, Api(session)


async def choose(api: Api, body: dict[str, Any]) -> None:
    answer = await api.ask("PUT", "/v1/policy", json=body)
    assert answer.status == 200, answer.body


async def test_a_file_becomes_a_policy_that_moves_balloons(sections) -> None:
    async with running(sections) as (daemon, api):
        await choose(api, {"name": "four"})
        await daemon.policies.round()
        assert (await api.get("/v1/balloons/g"))["target_bytes"] == 4 << 20
        assert daemon.disk.content.balloons["g"].target_bytes == 4 << 20
        pid = daemon.policies._rounds.scripts.pid
        assert exists(pid)
        assert pid != os.getpid()
    assert not exists(pid)


async def test_without_a_policy_to_ask_there_is_no_process(sections) -> None:
    del sections["policy"]["directory"]
    async with running(sections) as (daemon, api):
        await daemon.policies.round()
        assert "watermark" in {each["name"] for each in (await api.get("/v1/policy"))["available"]}
        assert daemon.policies._rounds.scripts.pid is None


async def test_who_acts_what_it_remembers_and_reservations_outlive_the_process(sections) -> None:
    holder = FakeHolder()
    async with running(sections, holder) as (daemon, api):
        await choose(api, {"name": "four", "shadow": {"name": "watermark"}})
        await daemon.policies.round()
        await api.ask("POST", "/v1/reservations", json={"bytes": 1 << 20, "purpose": "vm7"})
        before = (await daemon.policies.snapshot()).memory["seen"]
        successor = holder.successor()
        assert POLICY in successor.names
    sections["state"] = {}
    async with running(sections, successor) as (daemon, api):
        view = await api.get("/v1/policy")
        assert (view["active"]["name"], view["shadow"]["name"]) == ("four", "watermark")
        (reservation,) = (await api.get("/v1/reservations"))["reservations"]
        assert reservation["purpose"] == "vm7"
        await daemon.policies.round()
        assert (await daemon.policies.snapshot()).memory["seen"] > before
    holder.close()
    successor.close()


async def test_what_is_set_by_hand_is_known_to_the_next_process_though_no_round_saw_it(sections) -> None:
    holder = FakeHolder()
    async with running(sections, holder) as (_, api):
        await choose(api, {"name": "four"})
        assert (await api.ask("PATCH", "/v1/balloons/g", json={"target_mib": 2})).status == 202
        successor = holder.successor()
    async with running(sections, successor) as (daemon, api):
        assert [each["balloon"] for each in (await api.get("/v1/policy"))["left_alone"]] == ["g"]
        await daemon.policies.round()
        assert (await api.get("/v1/balloons/g"))["target_bytes"] == 2 << 20
    holder.close()
    successor.close()


async def test_it_outlives_the_machine_with_a_state_directory(sections) -> None:
    async with running(sections) as (daemon, api):
        await choose(api, {"name": "four"})
        await daemon.policies.round()
        before = (await daemon.policies.snapshot()).memory["seen"]
    async with running(sections) as (daemon, api):
        assert (await api.get("/v1/policy"))["active"]["name"] == "four"
        await daemon.policies.round()
        assert (await daemon.policies.snapshot()).memory["seen"] > before


async def test_a_reload_follows_the_configuration(sections) -> None:
    async with running(sections) as (daemon, api):
        assert await daemon.reload() == []
        sections["policy"]["name"] = "four"
        sections["balloon"] = [{**GUEST, "shares": 7}]
        assert await daemon.reload() == ["balloon 'g' changed: shares", "policy 'four' acts under other settings"]
        assert (await api.get("/v1/policy"))["active"]["name"] == "four"
        (guest,) = (await api.get("/v1/policy/view"))["guests"]
        assert guest["shares"] == 7


async def test_a_policy_that_is_not_there_stops_no_daemon(sections) -> None:
    sections["policy"]["name"] = "nowhere"
    async with running(sections) as (daemon, api):
        await daemon.policies.round()
        assert "there is no policy 'nowhere'" in (await api.get("/v1/policy"))["active"]["problem"]
        assert (await api.get("/readyz"))["ready"]


async def test_a_daemon_that_does_not_start_leaves_nothing(sections, tmp_path: Path) -> None:
    sections["policy"]["name"] = "four"
    sections["balloon"] = [GUEST, {"name": "v", "transport": "vhost-user", "socket": tmp_path / "no/v.sock"}]
    with pytest.raises(StartError):
        async with Daemon(Settings.model_validate(sections)):
            pass
