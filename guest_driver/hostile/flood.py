"""Breaches by number: more buffers and kicks than there is reason for."""

from typing import Final

from protocol.balloon.queues import QueueRole
from protocol.balloon.statistics import STATISTIC, Statistic

from .attack import attack
from .driver import ROOM, HostileDriver
from .ring_by_hand import Element

_STATS: Final = QueueRole.STATS
_LARGE: Final = 256
_UNKNOWN_TAG: Final = 0xFFFF


def _flood(driver: HostileDriver, buffers: int) -> None:
    data = STATISTIC.pack(Statistic(0, 0))
    driver.ram.write(ROOM, data)
    driver.many(_STATS, Element(ROOM, len(data)), buffers)


@attack("5.5.6.3.1", role=_STATS, completes=1)
def two_statistics_buffers(driver: HostileDriver) -> None:
    """5.5.6.3.1: the driver has one buffer with statistics available, not two: the device gives the first one back."""
    _flood(driver, 2)


@attack("5.5.6.3.1", role=_STATS, completes=_LARGE - 1, queue_size=_LARGE)
def statistics_flood(driver: HostileDriver) -> None:
    """5.5.6.3.1: the driver has one buffer with statistics available, not as many as the queue has room for."""
    _flood(driver, _LARGE)


@attack("5.5.6.3.4", role=_STATS, completes=0)
def statistics_nobody_knows(driver: HostileDriver) -> None:
    """5.5.6.3.4: a driver has statistics to tell; these are sixteen hundred of no known tag, and half an entry."""
    driver.request(_STATS, STATISTIC.pack(Statistic(_UNKNOWN_TAG, (1 << 64) - 1)) * 1600 + b"\0\0\0\0\0")


@attack("2.7.13.4, 2.8.21.2", completes=0)
def kick_storm(driver: HostileDriver) -> None:
    """2.7.13.4, 2.8.21.2: a kick says that something was made available; nothing was, a hundred thousand times."""
    for _ in range(100_000):
        driver.kick(QueueRole.INFLATE)


@attack("2.7.13.4, 2.8.21.2", completes=0)
def kicks_of_a_queue_there_is_not(driver: HostileDriver) -> None:
    """2.7.13.4, 2.8.21.2: a kick is of a queue that was set up."""
    driver.kick(QueueRole.FREE_PAGE)


@attack("2.7.13, 2.8.21", completes=_LARGE, queue_size=_LARGE)
def queue_full_of_empty_requests(driver: HostileDriver) -> None:
    """2.7.13, 2.8.21: a buffer has something in it; a whole queue of these has not."""
    driver.many(QueueRole.INFLATE, Element(ROOM, 0), _LARGE)


ATTACKS: Final = (
    two_statistics_buffers,
    statistics_flood,
    statistics_nobody_knows,
    kick_storm,
    kicks_of_a_queue_there_is_not,
    queue_full_of_empty_requests,
)
