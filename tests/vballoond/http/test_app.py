import asyncio
import io
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from PIL import Image
from support.api import Api
from support.backend_rig import open_descriptors
from support.fact_log import FactLog
from support.fake_front_end import RING_FEATURES, FakeFrontEnd, FakeGuest, pfns, qemu_connect, qemu_start

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from vballoond.balloon.facts import TargetSet
from vballoond.config.models import BalloonSettings, HttpSettings, Settings
from vballoond.daemon import Daemon
from vballoond.errors import StartError

MIB = 1 << 20
DEMO = "/v1/balloons/demo"


def settings(path: Path, **http: object) -> Settings:
    demo = BalloonSettings(name="demo", transport="in-process", memory="32MiB", stats_interval_s=0)
    vm1 = BalloonSettings(name="vm1", transport="vhost-user", socket=path / "vm1.sock", memory="64MiB")
    return Settings(http=HttpSettings(**{"listen": "127.0.0.1:0", **http}), balloon=(demo, vm1))


@asynccontextmanager
async def serving(path: Path, **http: object) -> AsyncIterator[tuple[Api, Daemon, dict[str, FactLog]]]:
    facts = {"demo": FactLog(), "vm1": FactLog()}
    async with Daemon(settings(path, **http), facts.__getitem__) as daemon:
        unix = daemon.api_url.startswith("unix:")
        connector = aiohttp.UnixConnector(daemon.api_url.removeprefix("unix:")) if unix else aiohttp.TCPConnector()
        base = "http://balloons.example" if unix else daemon.api_url
        async with aiohttp.ClientSession(base, connector=connector) as session:
            yield Api(session), daemon, facts


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Api, Daemon, dict[str, FactLog]]]:
    async with serving(tmp_path) as served:
        await served[2]["demo"].until_started(QueueRole.INFLATE)
        yield served


async def test_a_modelled_guest_follows_its_target_there_and_back(served) -> None:
    api, _, _ = served
    before = await api.get(DEMO)
    assert before["state"] == "running"
    assert before["memory_bytes"] == 32 * MIB
    assert before["features"]["negotiated"] == ["must-tell-host", "stats", "event-idx", "version-1"]

    inflated = await api.patch(DEMO, {"target_mib": 12}, 200, wait=60)
    assert inflated["actual_bytes"] == inflated["target_bytes"] == 12 * MIB
    assert inflated["held_frames"] == 12 * MIB // FRAME_BYTES
    assert inflated["resize"]["done"] is True
    assert inflated["reclaimed_bytes"] == before["resident_bytes"] - inflated["resident_bytes"] > 0
    assert inflated["counters"]["inflate_requests"] == 12
    assert inflated["counters"]["guest_errors"] == inflated["counters"]["foreign_frames"] == 0

    deflated = await api.patch(DEMO, {"target_mib": 2}, 200, wait=60)
    assert deflated["held_frames"] == 2 * MIB // FRAME_BYTES
    assert deflated["reclaimed_bytes"] == inflated["reclaimed_bytes"]
    assert deflated["counters"]["deflated_frames"] == 10 * MIB // FRAME_BYTES


async def test_frames_tell_the_same_in_every_format(served) -> None:
    api, _, _ = served
    await api.patch(DEMO, {"target_mib": 5}, 200, wait=60)
    ranges = (await api.get(f"{DEMO}/frames"))["ranges"]
    held = {part["first"] + number for part in ranges for number in range(part["count"])}
    assert len(held) == 5 * MIB // FRAME_BYTES

    bitmap = (await api.ask("GET", f"{DEMO}/frames?format=bitmap")).body
    assert set(np.flatnonzero(np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")).tolist()) == held

    picture = (await api.ask("GET", f"{DEMO}/frames?format=png&width=128")).body
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (128, 64)
        blue = (np.asarray(image.convert("RGB")).reshape(-1, 3) == (31, 102, 178)).all(axis=1)
    assert set(np.flatnonzero(blue).tolist()) == held


async def test_statistics_of_a_modelled_guest_are_its_own(served) -> None:
    api, _, facts = served
    await facts["demo"].until_requested(QueueRole.STATS)
    shown = await api.get(f"{DEMO}/statistics")
    total = shown["statistics"]["total_memory"]
    assert 28 * MIB < total < 32 * MIB  # without what is the kernel's for ever
    assert 0 < shown["statistics"]["free_memory"] < total


async def test_whoever_waits_for_a_guest_that_does_not_come_is_superseded_by_the_next(served) -> None:
    api, _, facts = served
    first = asyncio.create_task(
        api.ask("PATCH", "/v1/balloons/vm1", json={"target_mib": 1}, headers={"Prefer": "wait=600"})
    )
    await facts["vm1"].until(lambda fact: isinstance(fact, TargetSet))
    await api.patch("/v1/balloons/vm1", {"target_mib": 2}, 202)
    answer = await first
    assert (answer.status, answer.json()["code"]) == (409, "superseded")


async def test_a_virtual_machine_finds_the_target_that_was_set_before_it_came(served, tmp_path: Path) -> None:
    api, _, _ = served
    await api.patch("/v1/balloons/vm1", {"target_bytes": 2 * FRAME_BYTES}, 202)
    guest = FakeGuest()
    guest.add_queue(0)
    guest.add_queue(1)
    vm = await FakeFrontEnd.connect(tmp_path / "vm1.sock", guest)
    await qemu_connect(vm)
    await qemu_start(vm, RING_FEATURES)
    assert (await vm.config(0, 4)) == (2).to_bytes(4, "little")
    first = guest.first_free_pfn()
    await guest.queues[0].served(pfns([first, first + 1]))
    balloon = await api.get("/v1/balloons/vm1")
    assert (balloon["state"], balloon["held_frames"]) == ("running", 2)
    shown = await api.get("/v1/balloons/vm1/frames")
    assert shown["ranges"] == [{"first": first, "count": 2, "state": "ballooned"}]
    vm.close()
    guest.close()


async def test_foreign_host_names_are_turned_away_over_tcp(served) -> None:
    api, daemon, _ = served
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", daemon.api_url)
    await api.refused("GET", "/v1/balloons", 403, "foreign-host", headers={"Host": "balloons.example"})


async def test_any_host_name_is_answered_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with serving(tmp_path, listen=f"unix:{path}") as (api, daemon, _):
        assert daemon.api_url == f"unix:{path}"
        assert len((await api.get("/v1/balloons"))["balloons"]) == 2
    assert not path.exists()


async def test_configured_hosts_and_the_token_are_honoured(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    async with serving(tmp_path, hosts=("balloons.example",), token_file=token) as (api, _, _):
        headers = {"Host": "balloons.example", "Authorization": "Bearer secret"}
        assert (await api.ask("GET", "/v1/balloons", headers=headers)).status == 200
        await api.refused("GET", "/v1/balloons", 401, "no-token", headers={"Host": "balloons.example"})


async def test_leaving_ends_everything_and_removes_the_sockets(tmp_path: Path) -> None:
    async with serving(tmp_path):
        pass
    before = open_descriptors()
    async with serving(tmp_path) as (api, daemon, _):
        assert (tmp_path / "vm1.sock").is_socket()
        port = int(daemon.api_url.rpartition(":")[2])
        await api.patch(DEMO, {"target_mib": 4}, 200, wait=60)
    assert not (tmp_path / "vm1.sock").exists()
    assert open_descriptors() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_leaving_does_not_wait_for_whoever_still_waits(tmp_path: Path) -> None:
    async with serving(tmp_path) as (api, _, facts):
        asked = asyncio.create_task(
            api.ask("PATCH", "/v1/balloons/vm1", json={"target_mib": 1}, headers={"Prefer": "wait=600"})
        )
        await facts["vm1"].until(lambda fact: isinstance(fact, TargetSet))
        asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


@pytest.mark.parametrize("taken", ["port", "socket", "token"])
async def test_a_daemon_that_cannot_start_leaves_nothing_behind(tmp_path: Path, taken: str) -> None:
    (tmp_path / "empty").write_text("")
    http: dict[str, object] = {}
    with socket.create_server(("127.0.0.1", 0)) as other:
        match taken:
            case "port":
                http["listen"] = f"127.0.0.1:{other.getsockname()[1]}"
            case "socket":
                (tmp_path / "vm1.sock").write_text("precious")
            case "token":
                http["token_file"] = tmp_path / "empty"
        before = open_descriptors(), sorted(tmp_path.iterdir())
        with pytest.raises(StartError) as caught:
            async with Daemon(settings(tmp_path, **http)):
                pytest.fail("it started")
        assert caught.value.exit_status == (2 if taken == "token" else 1)
        assert (open_descriptors(), sorted(tmp_path.iterdir())) == before
