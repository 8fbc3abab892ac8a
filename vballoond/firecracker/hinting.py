"""Rounds of free page hinting, by the command IDs that host and guest show each other.

Rules of this file:

* Whether hinting is enabled is what the balloon offers. A driver that has not accepted it is asked in vain, and said so
  by ``guest_cmd``, which stays null.
* What the driver said last follows from how far the round is: null until it answers, the round's own ID while it lists,
  0 once it has ended or was told to.
"""

from typing import Final

from ..balloon.hinting import CMD_ID_STOP, Hinting, HintingStage
from ..service.balloon_service import BalloonService
from .faults import refused_update

_NOT_ENABLED: Final = "Attempting to use hinting when not enabled"


def show_hinting(service: BalloonService) -> dict[str, int | None]:
    """Return what host and guest said last.

    Raises:
        FaultError: Hinting is not enabled.
    """
    _check_enabled(service)
    hinting = service.device.state.hinting
    return {"host_cmd": hinting.config_value, "guest_cmd": guest_command(hinting)}


def start_hinting(service: BalloonService, *, acknowledge_on_stop: bool) -> None:
    """Begin a round; one that is under way is over with it.

    Raises:
        FaultError: Hinting is not enabled, or the balloon is broken.
    """
    _check_enabled(service)
    check_active(service)
    service.start_hinting(acknowledge_on_stop=acknowledge_on_stop)


def stop_hinting(service: BalloonService) -> None:
    """Let the driver have again what it listed; without a round there is nothing to say.

    Raises:
        FaultError: Hinting is not enabled, or the balloon is broken.
    """
    _check_enabled(service)
    check_active(service)
    service.stop_hinting()


def guest_command(hinting: Hinting) -> int | None:
    """Return the driver's last word in a round; None: there is none."""
    match hinting.stage:
        case HintingStage.STOPPED | HintingStage.REQUESTED:
            return None
        case HintingStage.RUNNING:
            return hinting.command_id
        case HintingStage.ENDED | HintingStage.DONE:
            return CMD_ID_STOP


def check_active(service: BalloonService) -> None:
    """Refuse what a driver would never learn, since it broke the balloon.

    Raises:
        FaultError: It did.
    """
    if service.is_broken():
        raise refused_update("Device not activated yet.")


def _check_enabled(service: BalloonService) -> None:
    if "free-page-hint" not in service.settings.features:
        raise refused_update(_NOT_ENABLED)
