"""The guest's statistics, as Firecracker shows them."""

from protocol.balloon.statistics import StatisticTag

from ..service.balloon_service import BalloonService
from .device_config import FRAMES_PER_MIB, polling_interval_s
from .faults import refused_look, refused_update


def show_statistics(service: BalloonService) -> dict[str, int]:
    """Return the sizes, and what the guest last said; of that, what it does not say is left out.

    Raises:
        FaultError: Statistics are disabled.
    """
    if not polling_interval_s(service):
        raise refused_look("Received stats query when stats are disabled.")
    target, actual = service.target_frames, service.actual_frames
    sizes = {
        "target_pages": target,
        "actual_pages": actual,
        "target_mib": target // FRAMES_PER_MIB,
        "actual_mib": actual // FRAMES_PER_MIB,
    }
    said = service.device.state.statistics
    values = {} if said is None else said.values
    return sizes | {tag.name.lower(): values[tag] for tag in StatisticTag if tag in values}


def set_polling_interval(service: BalloonService, interval_s: int) -> None:
    """Ask now, and every ``interval_s`` seconds from now on. The interval that there is already changes nothing.

    Raises:
        FaultError: That would enable or disable statistics, which the driver cannot be told any more.
    """
    before_s = polling_interval_s(service)
    if interval_s == before_s:
        return
    if not before_s or not interval_s:
        raise refused_update("Statistics cannot be enabled/disabled after activation.")
    service.ask_for_statistics()
    service.set_statistics_interval(interval_s)
