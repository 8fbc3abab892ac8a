import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from structlog.testing import capture_logs
from support.api import Api
from support.backend_rig import open_descriptors
from support.fake_holder import FakeHolder
from support.logging_state import logging_as_before

from vballoond.config.models import BalloonSettings, Settings
from vballoond.configuration import Configuration
from vballoond.daemon import Daemon
from vballoond.errors import OperatorError, StartError
from vballoond.holder.no_holder import NoHolder
from vballoond.logs import configure_logs
from vballoond.offload import Offload
from vballoond.state.disk import Disk
from vballoond.state.settings_file import read_settings_file


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = open_descriptors()
    with logging_as_before():
        yield
    assert open_descriptors() <= before  # setting up logging ends a handler of pytest's


class OnesHolder(FakeHolder):
    """As the real one, it gives the same descriptors whenever a process asks what it inherits."""

    _inherited: dict[str, int] | None = None

    def inherited(self) -> dict[str, int]:
        if self._inherited is None:
            self._inherited = super().inherited()
        return dict(self._inherited)


@pytest.fixture
async def holder() -> AsyncIterator[FakeHolder]:
    holder = OnesHolder()
    yield holder
    holder.close()


class File:
    """A configuration that a test changes."""

    def __init__(self, directory: Path) -> None:
        self.wrong: str | None = None
        self.balloons = [self.vm(directory, "vm1")]
        self.sections: dict[str, Any] = {
            "http": {"listen": f"unix:{directory}/api.sock"},
            "state": {"directory": directory / "state"},
        }

    @staticmethod
    def vm(directory: Path, name: str, **keys: Any) -> BalloonSettings:
        settings = {"name": name, "transport": "vhost-user", "socket": directory / f"{name}.sock", **keys}
        return BalloonSettings.model_validate(settings)

    def load(self) -> Settings:
        if self.wrong is not None:
            raise StartError(self.wrong, exit_status=2)
        return Settings.model_validate({**self.sections, "balloon": self.balloons})


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


@asynccontextmanager
async def running(file: File, holder: FakeHolder | NoHolder) -> AsyncIterator[tuple[Daemon, Api]]:
    """A process of the daemon, started as ``serve`` does it."""
    configuration = Configuration(file.load, holder)
    async with Daemon(configuration.begin(), holder=holder, configuration=configuration) as daemon:
        connector = aiohttp.UnixConnector(file.sections["http"]["listen"].removeprefix("unix:"))
        async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
            yield daemon, Api(session)


async def readiness(api: Api, status: int) -> list[str]:
    return (await api.get("/readyz", status))["problems"]


# Reloading.


async def test_a_reload_follows_the_configuration_and_says_what_it_did(file: File, holder, tmp_path: Path) -> None:
    async with running(file, holder) as (daemon, _):
        file.balloons = [file.vm(tmp_path, "vm2")]
        with capture_logs() as logs:
            done = await daemon.reload()
        assert done == ["balloon 'vm1' removed", "balloon 'vm2' added"]
        assert [line["what"] for line in logs if line["event"] == "reloaded"] == [done]
        assert [service.settings.name for service in daemon.registry] == ["vm2"]
        assert daemon.disk.content.balloons.keys() == {"vm2"}
        assert [balloon.name for balloon in read_settings_file(holder.files["configuration"], Settings).balloon] == [
            "vm2"
        ]
        assert await daemon.reload() == []


@pytest.mark.parametrize(
    ("section", "value"),
    [
        pytest.param(None, "vballoond.toml is wrong", id="file"),
        pytest.param("http", {"listen": "8750"}, id="address"),
        pytest.param("http", {"listen": "0.0.0.0:0"}, id="open to all"),
        pytest.param("http", {"token_file": "/missing"}, id="token"),
    ],
)
async def test_a_reload_of_what_is_wrong_changes_nothing(file, holder, tmp_path, section, value) -> None:
    async with running(file, holder) as (daemon, api):
        file.balloons.append(file.vm(tmp_path, "vm2"))
        if section is None:
            file.wrong = value
        else:
            file.sections = {**file.sections, section: value}
        with pytest.raises(OperatorError, match="nothing was changed: ") as caught:
            await daemon.reload()
        assert (caught.value.status, caught.value.code) == (422, "bad-configuration")
        assert [service.settings.name for service in daemon.registry] == ["vm1"]
        assert not (tmp_path / "vm2.sock").exists()
        assert await readiness(api, 200) == []
        fd = holder.files["configuration"]
        assert read_settings_file(fd, Settings).balloon == (file.balloons[0],)


async def test_where_and_for_whom_the_api_is_and_where_state_is_count_later(file: File, holder, tmp_path) -> None:
    async with running(file, holder) as (daemon, api):
        file.sections = {
            "http": {"listen": f"unix:{tmp_path}/other.sock", "hosts": ["x"]},
            "state": {"directory": tmp_path / "other"},
        }
        assert await daemon.reload() == [
            "[http] counts from the next start on: vballoond restart",
            "[state] counts from the next start on: vballoond restart",
        ]
        assert await daemon.reload() == []
        assert (await api.get("/healthz"))["pid"]
        assert not (tmp_path / "other.sock").exists()
        assert not (tmp_path / "other").exists()


async def test_the_log_level_is_followed_by_loggers_that_there_are_already(file: File, holder, capsys) -> None:
    configure_logs("info")
    async with running(file, holder) as (daemon, _):
        for level, said in (("error", 0), ("debug", 2), ("warning", 1), ("error", 0)):
            file.sections["log"] = {"level": level}
            assert await daemon.reload() == [f"log level {level}"]
            capsys.readouterr()
            (service,) = daemon.registry
            service.log.warning("seldom")
            structlog.get_logger().debug("often")
            assert len(capsys.readouterr().err.splitlines()) == said


async def test_reloads_come_one_after_the_other(file: File, holder, tmp_path: Path) -> None:
    async with running(file, holder) as (daemon, _):
        file.balloons = [file.vm(tmp_path, f"vm{number}") for number in range(5)]
        done = await asyncio.gather(*(daemon.reload() for _ in range(5)))
        assert sorted(map(len, done)) == [0, 0, 0, 0, 4]


# The state directory.


async def test_what_cannot_be_kept_on_disk_is_said_and_balloons_go_on(file: File, holder, tmp_path: Path) -> None:
    async with running(file, holder) as (_, api):
        (tmp_path / "state").rename(tmp_path / "aside")
        (tmp_path / "state").touch()
        for mib in (1, 2):
            balloon = await api.patch("/v1/balloons/vm1", {"target_mib": mib}, 202)
            assert balloon["target_bytes"] == mib << 20
            assert await readiness(api, 503) == ["what is set now is not kept on disk; the log says why"]
        (tmp_path / "state").unlink()
        (tmp_path / "aside").rename(tmp_path / "state")
        await api.patch("/v1/balloons/vm1", {"target_mib": 3}, 202)
        assert await readiness(api, 200) == []
    async with running(file, NoHolder()) as (_, api):
        assert (await api.get("/v1/balloons/vm1"))["target_bytes"] == 3 << 20


async def test_an_answer_comes_when_it_is_on_disk(file: File, holder, tmp_path: Path) -> None:
    async with running(file, holder) as (_, api):
        await api.patch("/v1/balloons/vm1", {"target_mib": 7}, 202)
        assert f"{7 << 20}" in (tmp_path / "state" / "state.json").read_text()
        assert (await api.ask("PATCH", "/v1/balloons/vm1/statistics", json={"interval_s": 0.5})).status == 200
        assert "0.5" in (tmp_path / "state" / "state.json").read_text()


async def test_a_second_daemon_finds_the_state_directory_taken_and_leaves_no_socket(file: File, holder, tmp_path):
    async with running(file, holder):
        file.sections["http"] = {"listen": f"unix:{tmp_path}/other.sock"}
        with pytest.raises(StartError, match="is in use by another vballoond"):
            async with Daemon(file.load()):
                pytest.fail("it started")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["api.sock", "state", "vm1.sock"]


# A process after another.


@asynccontextmanager
async def second_life(file: File, holder: FakeHolder, path: Path) -> AsyncIterator[tuple[int, Daemon, Api]]:
    """A process over what one left that was killed, and what inode there was at ``path``."""
    async with running(file, holder):
        successor, inode = holder.successor(), path.stat().st_ino
        aside = path.rename(path.with_name("aside"))
    aside.rename(path)
    async with running(file, successor) as life:
        yield inode, *life


async def test_the_api_goes_on_at_the_same_socket(file: File, holder, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with second_life(file, holder, path) as (inode, daemon, api):
        assert path.stat().st_ino == inode
        assert daemon.api_url == f"unix:{path}"
        assert await readiness(api, 200) == []
        assert daemon.outlived
    assert not path.exists()


async def test_a_configuration_that_is_wrong_by_then_is_that_of_before(file: File, holder) -> None:
    async with running(file, holder):
        successor = holder.successor()
    file.wrong = "vballoond.toml is wrong"
    with capture_logs() as logs:
        configuration = Configuration(file.load, successor)
        settings = configuration.begin()
    assert [(line["log_level"], line["reason"]) for line in logs] == [("critical", "vballoond.toml is wrong")]
    async with Daemon(settings, holder=successor, configuration=configuration) as daemon:
        assert [service.settings.name for service in daemon.registry] == ["vm1"]
        assert len(daemon.problems) == 1
        with pytest.raises(OperatorError):
            await daemon.reload()
        assert len(daemon.problems) == 1
        file.wrong = None
        await daemon.reload()
        assert daemon.problems == []


async def test_an_api_that_cannot_be_had_by_then_is_had_at_a_reload(file: File, holder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        async with running(file, holder):
            successor = holder.successor()
        file.sections["http"] = {"listen": taken}
        configuration = Configuration(file.load, successor)
        async with Daemon(configuration.begin(), holder=successor, configuration=configuration) as daemon:
            assert daemon.api_url == ""
            assert len(daemon.registry) == 1
            (done,) = await daemon.reload()
            assert done.startswith("the API is still not served: cannot listen on 127.0.0.1:")
            other.close()
            assert await daemon.reload() == [f"the API is served at http://{taken}"]
            async with aiohttp.ClientSession(daemon.api_url) as session:
                assert (await Api(session).get("/healthz"))["pid"]
            assert "api" in successor.names


async def test_a_state_directory_that_is_taken_by_then_is_a_problem(file: File, holder, tmp_path: Path) -> None:
    async with running(file, holder):
        successor = holder.successor()
    daemons = Daemon(file.load(), holder=successor)
    other = Disk(tmp_path / "state", Offload())
    async with daemons as daemon:
        assert daemon.problems == ["what is set now is not kept on disk; the log says why"]
        await other.close()
        await daemon.remember()
        assert daemon.problems == []


# Whether there is a process after this one.


async def test_a_restart_is_asked_for_where_somebody_keeps_what_guests_need(file: File, holder) -> None:
    async with running(file, holder) as (daemon, api):
        assert not daemon.restarting.is_set()
        answer = await api.ask("POST", "/v1/restart")
        assert answer.status == 202
        assert daemon.restarting.is_set()


@pytest.mark.parametrize("reason", ["holder gone", "no room"])
async def test_a_restart_is_refused_where_guests_would_notice(file: File, holder, reason: str) -> None:
    async with running(file, holder) as (daemon, api):
        if reason == "holder gone":
            holder.alive = False
        else:
            holder.capacity = 0  # type: ignore[misc]
        problem = await api.refused("POST", "/v1/restart", 409, "no-keeper")
        assert "guests would notice" in problem["detail"]
        assert not daemon.restarting.is_set()


async def test_a_failed_start_leaves_nothing_with_the_holder_that_is_in_the_way(file: File, tmp_path: Path) -> None:
    holder = FakeHolder()
    (tmp_path / "vm1.sock").write_text("precious")
    with pytest.raises(StartError, match="is not a socket"):
        async with running(file, holder):
            pytest.fail("it started")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "vm1.sock"]
    holder.close()


# Balloons of run time.


def bounded(file: File, tmp_path: Path) -> Path:
    """Allow balloons to be added; return where they may listen."""
    directory = tmp_path / "added"
    directory.mkdir()
    file.sections["http"]["socket_directory"] = directory
    return directory


ADDED = {"name": "vm9", "transport": "vhost-user", "socket": "vm9.sock", "max": "1GiB"}


async def test_a_balloon_is_added_and_removed_through_the_api(file: File, holder, tmp_path: Path) -> None:
    directory = bounded(file, tmp_path)
    async with running(file, holder) as (_, api):
        answer = await api.ask("POST", "/v1/balloons", json=ADDED)
        assert (answer.status, answer.headers["Location"]) == (201, "/v1/balloons/vm9")
        assert (answer.json()["name"], answer.json()["state"]) == ("vm9", "waiting")
        assert (directory / "vm9.sock").is_socket()
        assert (await api.ask("DELETE", "/v1/balloons/vm9")).status == 204
        assert not (directory / "vm9.sock").exists()
        await api.refused("DELETE", "/v1/balloons/vm9", 404, "no-such-balloon")


async def test_what_may_not_be_added_is_refused_and_nothing_has_changed(file: File, holder) -> None:
    async with running(file, holder) as (daemon, api):
        await api.refused("POST", "/v1/balloons", 422, "no-socket-directory", json=ADDED)
        await api.refused("POST", "/v1/balloons", 400, "invalid-body", json={**ADDED, "colour": 1})
        await api.refused("DELETE", "/v1/balloons/vm1?force=maybe", 400, "bad-query")
        assert [service.settings.name for service in daemon.registry] == ["vm1"]


async def test_what_was_added_outlives_the_worker_with_its_target(file: File, holder, tmp_path: Path) -> None:
    bounded(file, tmp_path)
    async with running(file, holder) as (_, api):
        await api.ask("POST", "/v1/balloons", json=ADDED)
        await api.patch("/v1/balloons/vm9", {"target_mib": 7}, 202)
        await api.ask("DELETE", "/v1/balloons/vm1")
        successor = holder.successor()
    async with running(file, successor) as (daemon, api):
        assert [service.settings.name for service in daemon.registry] == ["vm9"]
        assert (await api.get("/v1/balloons/vm9"))["target_bytes"] == 7 << 20
        await daemon.reload()
        assert sorted(service.settings.name for service in daemon.registry) == ["vm1", "vm9"]


async def test_what_was_added_outlives_everything_with_its_target(file: File, tmp_path: Path) -> None:
    bounded(file, tmp_path)
    async with running(file, NoHolder()) as (_, api):
        await api.ask("POST", "/v1/balloons", json=ADDED)
        await api.patch("/v1/balloons/vm9", {"target_mib": 7}, 202)
        await api.ask("DELETE", "/v1/balloons/vm1")
    async with running(file, NoHolder()) as (daemon, api):
        # A first start follows the configuration, so what that names is there again.
        assert [service.settings.name for service in daemon.registry] == ["vm1", "vm9"]
        assert (await api.get("/v1/balloons/vm9"))["target_bytes"] == 7 << 20


async def test_a_configuration_that_names_what_was_added_counts_from_then_on(file: File, holder, tmp_path) -> None:
    directory = bounded(file, tmp_path)
    async with running(file, holder) as (daemon, api):
        await api.ask("POST", "/v1/balloons", json=ADDED)
        file.balloons.append(file.vm(directory, "vm9", max="2GiB"))
        assert await daemon.reload() == ["balloon 'vm9' changed: max"]
        file.balloons.pop()
        assert await daemon.reload() == ["balloon 'vm9' removed"]


async def test_a_target_that_the_daemon_moves_by_itself_is_the_one_that_is_kept(file: File) -> None:
    async with running(file, NoHolder()) as (daemon, api):
        await api.patch("/v1/balloons/vm1", {"target_mib": 64, "settle": True, "deadline_s": 0.01}, 202, wait=30)
        assert (await api.get("/v1/balloons/vm1"))["resize"]["outcome"] == "settled"
        await asyncio.gather(*daemon._remembering)
        assert daemon.disk.content.balloons["vm1"].target_bytes == 0
