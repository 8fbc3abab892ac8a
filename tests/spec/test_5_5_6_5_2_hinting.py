"""Free page hinting: what binds the device."""

import pytest
from support.plain_device import FRAMES, NOON, PlainDevice, releases

from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole
from protocol.virtio import RingFeature
from vballoond.balloon.effects import ConfigChanged
from vballoond.balloon.facts import HintingStarted, HintingStopped, QueueStarted

STOP, DONE, FIRST = 0, 1, 2
HINT = BalloonFeature.FREE_PAGE_HINT

START = HintingStarted(NOON)
KEEP = HintingStarted(NOON, acknowledge_on_stop=False)


def hinting() -> PlainDevice:
    return PlainDevice(RingFeature.VERSION_1 | HINT)


def say(device: PlainDevice, command: int) -> None:
    """Send a command as the driver does."""
    device.request(QueueRole.FREE_PAGE, command.to_bytes(4, "little"))


def hint(device: PlainDevice, count: int = 8):
    return device.report(QueueRole.FREE_PAGE, 64, count)


@pytest.mark.clause(12, "5.5.6.5.2", "SHOULD show STOP whenever it has no use for hints")
def test_the_command_is_stop_until_hints_are_wanted_and_again_for_a_new_driver():
    device = hinting()
    assert device.hint_command == STOP
    device.handle(START)
    assert device.hint_command == FIRST
    device.handle(QueueStarted(QueueRole.FREE_PAGE, fresh=True))
    assert device.hint_command == STOP


@pytest.mark.clause(13, "5.5.6.5.2", "MUST NOT use a command ID again before the driver has sent STOP")
def test_ids_count_up_whatever_the_driver_says():
    device = hinting()
    ids = []
    for number in range(8):
        device.handle(START)
        ids.append(device.hint_command)
        if number % 2:
            say(device, device.hint_command)
        if number % 3 == 0:
            device.handle(HintingStopped())
        if number == 5:
            device.handle(QueueStarted(QueueRole.FREE_PAGE, fresh=True))
    assert ids == list(range(FIRST, FIRST + 8))


@pytest.mark.clause(14, "5.5.6.5.2", "MUST ignore hints given under another command ID than the one it shows")
def test_hints_of_an_earlier_round_or_of_none_are_not_counted():
    device = hinting()
    hint(device)
    device.handle(START)
    hint(device)
    say(device, FIRST)
    device.handle(START)
    hint(device)
    say(device, FIRST)
    hint(device)
    assert device.state.hinting.hinted_frames == device.counters.hinted_frames == 0
    say(device, FIRST + 1)
    hint(device, 3)
    assert device.state.hinting.hinted_frames == device.counters.hinted_frames == 3


@pytest.mark.clause(15, "5.5.6.5.2", "MAY change a hinted page that was not written since its ID was shown", "not used")
@pytest.mark.clause(16, "5.5.6.5.2", "MUST NOT change a hinted page once it has shown DONE")
def test_a_hinted_page_is_never_changed():
    device = hinting()
    effects = [*device.handle(KEEP)]
    say(device, FIRST)
    effects += hint(device, FRAMES // 2)
    say(device, STOP)
    effects += device.handle(HintingStopped())
    effects += hint(device, FRAMES // 2)
    assert device.counters.hinted_frames == FRAMES // 2
    assert not releases(*effects)
    assert device.frame_map.held_frames == 0


@pytest.mark.clause(17, "5.5.6.5.2", "MUST show DONE when it needs the hinted pages no more")
@pytest.mark.parametrize("start", [START, KEEP])
def test_done_is_shown_when_the_driver_has_ended_or_when_whoever_asked_says_so(start):
    device = hinting()
    device.handle(start)
    say(device, FIRST)
    hint(device)
    say(device, STOP)
    assert device.hint_command == (DONE if start is START else FIRST)
    effects = device.handle(HintingStopped())
    assert device.hint_command == DONE
    assert effects == (() if start is START else (ConfigChanged(),))


@pytest.mark.clause(18, "5.5.6.5.3", "a legacy driver's command IDs MUST be in its own byte order", "legacy")
def test_an_id_is_little_endian_in_both_directions():
    device = PlainDevice(HINT)
    for _ in range(0x102 - FIRST + 1):
        device.handle(START)
    assert device.read_config(8, 4) == bytes([2, 1, 0, 0])
    device.request(QueueRole.FREE_PAGE, bytes([2, 1, 0, 0]))
    hint(device)
    assert device.state.hinting.hinted_frames == 8
