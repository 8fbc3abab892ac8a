import os
from collections.abc import Iterator
from typing import Any

import pytest
from support.fake_holder import FakeHolder

from vballoond.at_run_time import AT_RUN_TIME, AtRunTime
from vballoond.config.models import BalloonSettings


def model(name: str, **keys: Any) -> BalloonSettings:
    return BalloonSettings.model_validate({"name": name, "transport": "in-process", "memory": "16MiB", **keys})


@pytest.fixture
def holder() -> Iterator[FakeHolder]:
    holder = FakeHolder()
    yield holder
    holder.close()


def begun(holder: FakeHolder, *on_disk: BalloonSettings) -> AtRunTime:
    at_run_time = AtRunTime(holder)
    at_run_time.begin(holder.inherited().get(AT_RUN_TIME), on_disk)
    return at_run_time


def names(settings: list[BalloonSettings]) -> list[str]:
    return [each.name for each in settings]


async def test_what_is_added_is_there_beside_the_configuration(holder: FakeHolder) -> None:
    at_run_time = begun(holder)
    at_run_time.add(model("b"))
    assert names(at_run_time.beside([model("a")])) == ["b"]
    assert names(at_run_time.left_of([model("a")])) == ["a"]


async def test_the_next_process_knows_what_was_added_and_removed(holder: FakeHolder) -> None:
    before = begun(holder)
    before.add(model("b", workload="desktop"))
    before.add(model("c"))
    before.remove("c")
    before.remove("a")
    await before.keep()
    after = begun(holder.successor())
    assert after.added == before.added == (model("b", workload="desktop"),)
    assert after.left_of([model("a")]) == []


async def test_what_the_holder_has_counts_before_the_disk(holder: FakeHolder) -> None:
    await begun(holder).keep()
    assert begun(holder.successor(), model("old")).added == ()


async def test_without_a_holder_the_disk_counts(holder: FakeHolder) -> None:
    assert begun(holder, model("b")).added == (model("b"),)


async def test_where_what_the_holder_has_is_damaged_the_disk_counts(holder: FakeHolder) -> None:
    await begun(holder).keep()
    fd = os.memfd_create("damaged")
    os.write(fd, b"{")
    holder.replace(AT_RUN_TIME, fd)
    os.close(fd)
    assert begun(holder.successor(), model("b")).added == (model("b"),)


async def test_the_configuration_read_anew_counts_before_what_was_added_or_removed(holder: FakeHolder) -> None:
    at_run_time = begun(holder)
    at_run_time.add(model("b"))
    at_run_time.remove("a")
    configured = [model("a"), model("b", memory="32MiB")]
    at_run_time.configured_anew(configured)
    assert at_run_time.left_of(configured) == configured
    assert at_run_time.beside(configured) == []
    assert at_run_time.added == ()


async def test_a_configured_name_hides_what_was_added_under_it(holder: FakeHolder) -> None:
    assert begun(holder, model("a")).beside([model("a")]) == []
