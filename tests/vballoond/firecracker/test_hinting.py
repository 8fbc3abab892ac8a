from dataclasses import replace

import pytest

from vballoond.balloon.hinting import Hinting, HintingStage
from vballoond.firecracker.hinting import guest_command

NOT_ENABLED = "Balloon update error: Balloon: Attempting to use hinting when not enabled"
HINTS = 3


async def says(started, command: int) -> None:
    """Have the driver say a command."""
    started.driver.request(HINTS, command.to_bytes(4, "little"))
    await started.settled()


async def status(started) -> tuple[int, int | None]:
    shown = await started.client.get("/balloon/hinting/status")
    assert list(shown) == ["host_cmd", "guest_cmd"]
    return shown["host_cmd"], shown["guest_cmd"]


def told(started) -> int:
    return int.from_bytes(started.driver.device.read_config(8, 4), "little")


async def test_before_any_round_host_says_stop_and_the_guest_nothing(started) -> None:
    assert await status(started) == (0, None)


async def test_a_round_begins_with_a_command_that_is_neither_stop_nor_done(started) -> None:
    await started.client.done("PATCH", "/balloon/hinting/start")
    assert told(started) == 2
    assert await status(started) == (2, None)
    await started.client.done("PATCH", "/balloon/hinting/start")
    assert told(started) == 3


async def test_commands_wrap_around_the_reserved_ones(started) -> None:
    last = Hinting(HintingStage.DONE, command_id=(1 << 32) - 1)
    device = started.service.device
    device.restore(replace(device.state, hinting=last), device.frame_map)
    await started.client.done("PATCH", "/balloon/hinting/start")
    assert await status(started) == (2, None)


async def test_a_round_is_acknowledged_when_the_driver_has_ended_unless_it_is_said_otherwise(started) -> None:
    await started.client.done("PATCH", "/balloon/hinting/start", {})
    await says(started, 2)
    assert await status(started) == (2, 2)
    await says(started, 0)
    assert await status(started) == (1, 0)
    assert told(started) == 1


async def test_a_round_may_keep_its_pages_until_it_is_stopped(started) -> None:
    await started.client.done("PATCH", "/balloon/hinting/start", {"acknowledge_on_stop": False})
    await says(started, 2)
    await says(started, 0)
    assert await status(started) == (2, 0)
    await started.client.done("PATCH", "/balloon/hinting/stop")
    assert await status(started) == (1, 0)


async def test_a_round_is_stopped_whatever_the_body_is(started) -> None:
    for body in (None, {}, b"no JSON"):
        await started.client.done("PATCH", "/balloon/hinting/start")
        await started.client.done("PATCH", "/balloon/hinting/stop", body)
        assert told(started) == 1


async def test_a_stop_without_a_round_is_no_error(started) -> None:
    await started.client.done("PATCH", "/balloon/hinting/stop")
    assert await status(started) == (0, None)


@pytest.mark.parametrize("body", [{"acknowledge_on_stop": "not valid"}, {"wait": True}, [], b"x"])
async def test_a_wrong_body_begins_no_round(started, body: object) -> None:
    refused = await started.client.refused("PATCH", "/balloon/hinting/start", body)
    assert refused.startswith("An error occurred when deserializing the json body of a request: ")
    assert await status(started) == (0, None)


@pytest.mark.parametrize("started", [{"features": ["stats"]}], indirect=True)
async def test_hinting_that_is_not_enabled_is_refused(started) -> None:
    for method, path in (("PATCH", "start"), ("GET", "status"), ("PATCH", "stop")):
        assert await started.client.refused(method, f"/balloon/hinting/{path}") == NOT_ENABLED


@pytest.mark.parametrize("path", ["start", "stop"])
async def test_rounds_are_begun_and_stopped_by_patch_whatever_the_manual_says(started, path: str) -> None:
    refused = await started.client.refused("POST", f"/balloon/hinting/{path}", {})
    assert refused == "Invalid HTTP Method: Unsupported HTTP method."
    assert await status(started) == (0, None)


async def test_a_round_is_forgotten_when_the_driver_is_reset(started) -> None:
    await started.client.done("PATCH", "/balloon/hinting/start")
    started.driver.device.reset()
    await started.reset_done()
    started.load()
    assert await status(started) == (0, None)


@pytest.mark.parametrize(
    ("stage", "command"),
    [
        (HintingStage.STOPPED, None),
        (HintingStage.REQUESTED, None),
        (HintingStage.RUNNING, 7),
        (HintingStage.ENDED, 0),
        (HintingStage.DONE, 0),
    ],
)
def test_the_drivers_last_word_follows_from_the_stage(stage: HintingStage, command: int | None) -> None:
    assert guest_command(Hinting(stage, command_id=7)) == command
