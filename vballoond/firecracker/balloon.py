"""What each request means for a balloon.

Rules of this file:

* The microVM counts as started once a driver has run, until its monitor has gone: a balloon that is "waiting" is before
  the start. What a monitor that is connected has read of the features can be changed no more, however.
* A balloon is always there, since it is configured. So it is shown before any PUT, and a PUT overwrites.
* Nothing has changed where a :class:`FaultError` is raised.
"""

from collections.abc import Mapping

from ..service.balloon_service import BalloonService
from .bodies import BalloonConfig, BalloonUpdate, HintingStart, StatisticsUpdate
from .device_config import FRAMES_PER_MIB, MIB, show_config, with_features
from .faults import AFTER_START, BEFORE_START, FaultError, refused_set_up, refused_update
from .hinting import check_active, show_hinting, start_hinting, stop_hinting
from .requests import Request, ShowBalloon, ShowHinting, ShowStatistics, StopHinting
from .statistics import set_polling_interval, show_statistics

Shown = Mapping[str, int | bool | None]


def carry_out(service: BalloonService, request: Request) -> Shown | None:
    """Do what is asked for; return what is shown of it, if anything is.

    Raises:
        FaultError: It cannot be done, and nothing has changed.
    """
    match request:
        case ShowBalloon():
            return show_config(service).model_dump()
        case BalloonConfig():
            _set_up(service, request)
            return None
    if not _is_started(service):
        raise FaultError(BEFORE_START)
    return _carry_out_running(service, request)


def _carry_out_running(service: BalloonService, request: Request) -> Shown | None:
    match request:
        case ShowStatistics():
            return show_statistics(service)
        case ShowHinting():
            return show_hinting(service)
        case BalloonUpdate(amount_mib=amount_mib):
            _resize(service, amount_mib)
        case StatisticsUpdate(stats_polling_interval_s=interval_s):
            set_polling_interval(service, interval_s)
        case HintingStart(acknowledge_on_stop=acknowledge_on_stop):
            start_hinting(service, acknowledge_on_stop=acknowledge_on_stop)
        case StopHinting():
            stop_hinting(service)
    return None


def is_kept(request: Request) -> bool:
    """Say whether a request sets what is to outlive the process."""
    return isinstance(request, BalloonConfig | BalloonUpdate | StatisticsUpdate)


def _is_started(service: BalloonService) -> bool:
    return service.state_name != "waiting"


def _set_up(service: BalloonService, config: BalloonConfig) -> None:
    """Configure a balloon before its guest starts."""
    settings = with_features(service.settings, config)
    if _is_started(service) or (service.connected and settings.offered != service.settings.offered):
        raise FaultError(AFTER_START)
    if config.amount_mib * MIB > service.limit_bytes():
        raise refused_set_up("Amount of pages requested is too large.")
    if config.amount_mib * MIB < service.settings.min:
        raise refused_set_up(f"Amount of pages requested is less than {_least_mib(service)}MiB.")
    service.change_settings(settings)
    service.set_statistics_interval(config.stats_polling_interval_s)
    service.set_target(config.amount_mib * FRAMES_PER_MIB)


def _resize(service: BalloonService, amount_mib: int) -> None:
    """Have another target; all of the guest's memory may be one."""
    check_active(service)
    if amount_mib * MIB > service.limit_bytes():
        # The amount named is the one asked for: so Firecracker says it, and clients know it.
        raise refused_update(f"Requested memory should be less than {amount_mib}MiB")
    if amount_mib * MIB < service.settings.min:
        raise refused_update(f"Requested memory should be at least {_least_mib(service)}MiB")
    service.set_target(amount_mib * FRAMES_PER_MIB)


def _least_mib(service: BalloonService) -> int:
    return -(-service.settings.min // MIB)
