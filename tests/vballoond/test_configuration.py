import os
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from support.backend_rig import open_descriptors
from support.fake_holder import FakeHolder

from vballoond.config.models import Settings, embedded_default
from vballoond.configuration import CONFIGURATION, Configuration
from vballoond.errors import StartError
from vballoond.holder.no_holder import NoHolder

ONE = embedded_default()
OTHER = Settings.model_validate({"http": {"listen": "127.0.0.1:1"}})


def wrong() -> Settings:
    raise StartError("vballoond.toml is wrong", exit_status=2)


@pytest.fixture
async def holder() -> AsyncIterator[FakeHolder]:
    holder = FakeHolder()
    yield holder
    holder.close()


def test_the_one_that_there_is_counts() -> None:
    configuration = Configuration(lambda: ONE, NoHolder())
    assert (configuration.begin(), configuration.read(), configuration.problem) == (ONE, ONE, None)


def test_a_wrong_one_is_refused_where_none_is_kept(holder: FakeHolder) -> None:
    for holds in (NoHolder(), holder):
        configuration = Configuration(wrong, holds)
        with pytest.raises(StartError, match="is wrong"):
            configuration.begin()


async def test_the_one_that_counted_last_is_kept_for_the_next_process(holder: FakeHolder) -> None:
    before = open_descriptors()
    for settings in (ONE, OTHER, ONE, OTHER):
        await Configuration(lambda: ONE, holder).keep(settings)
        assert holder.names == [CONFIGURATION]
        assert open_descriptors() == before + 1
    configuration = Configuration(wrong, holder.successor())
    assert configuration.begin() == OTHER
    assert configuration.problem == "vballoond.toml is wrong"
    with pytest.raises(StartError):
        configuration.read()


async def test_one_that_can_be_read_counts_before_the_one_that_is_kept(holder: FakeHolder) -> None:
    await Configuration(lambda: ONE, holder).keep(ONE)
    configuration = Configuration(lambda: OTHER, holder)
    assert (configuration.begin(), configuration.problem) == (OTHER, None)


@pytest.mark.parametrize("http", [{"listen": "x"}, {"listen": "0.0.0.0:1"}, {"token_file": "/missing"}], ids=str)
async def test_an_api_that_could_not_be_opened_is_a_wrong_configuration(holder: FakeHolder, http) -> None:
    await Configuration(lambda: ONE, holder).keep(ONE)
    configuration = Configuration(lambda: Settings.model_validate({"http": http}), holder)
    assert configuration.begin() == ONE
    assert configuration.problem is not None


async def test_what_was_kept_and_is_none_is_set_aside(holder: FakeHolder) -> None:
    for text in (b"", b"{", b"[]", b'{"unknown": 1}'):
        fd = os.memfd_create("x")
        os.write(fd, text)
        await holder.store({CONFIGURATION: fd})
        os.close(fd)
        with capture_logs() as logs, pytest.raises(StartError, match="is wrong"):
            Configuration(wrong, holder).begin()
        assert [line["event"] for line in logs] == ["kept configuration set aside"]
        holder.lose(CONFIGURATION)


async def test_where_it_cannot_be_kept_the_daemon_goes_on(holder: FakeHolder, monkeypatch) -> None:
    def none_left(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", none_left)
    with capture_logs() as logs:
        await Configuration(lambda: ONE, holder).keep(ONE)
    assert [line["event"] for line in logs] == ["configuration not kept"]
