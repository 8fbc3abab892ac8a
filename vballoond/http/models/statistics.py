"""What a guest says of its memory, and how often it is asked."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from ...balloon.statistics import Statistics
from ...service.balloon_service import BalloonService
from .base import In, Out


class StatisticsChange(In):
    """How often the guest is asked for statistics, in seconds; 0 asks no more."""

    interval_s: Annotated[float, Field(strict=True, allow_inf_nan=False)]


class StatisticsView(Out):
    """What the guest last said of its memory: a claim, with its age."""

    name: str
    interval_s: float
    arrived_at: datetime
    age_s: float
    statistics: dict[str, int]


class StatisticsInterval(Out):
    """How often the guest is asked, from now on."""

    name: str
    interval_s: float


def statistics_view(service: BalloonService, statistics: Statistics) -> StatisticsView:
    """Show what the guest said last."""
    return StatisticsView(
        name=service.settings.name,
        interval_s=service.statistics_interval_s,
        arrived_at=statistics.arrived_at,
        age_s=(service.clock.now() - statistics.arrived_at).total_seconds(),
        statistics={tag.name.lower(): value for tag, value in statistics.values.items()},
    )
