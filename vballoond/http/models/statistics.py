"""What a guest says of its memory, and how often it is asked."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from ...balloon.statistics import Statistics
from ...service.balloon_service import BalloonService
from ...service.reports import statistics_report
from .base import In, Out


class StatisticsChange(In):
    """How often the guest is asked for statistics."""

    interval_s: Annotated[float, Field(strict=True, allow_inf_nan=False)] = Field(
        description="In seconds, 0.1 to 86400; 0 asks no more.", examples=[5]
    )


class StatisticsView(Out):
    """What the guest last said of its memory: a claim, with its age and what speaks against it."""

    name: str = Field(description="The balloon.")
    interval_s: float = Field(description="How often the guest is asked, in seconds; 0: not at all.")
    arrived_at: datetime = Field(description="When it said this.")
    age_s: float = Field(description="How long ago that was.")
    stale: bool = Field(description="Older than three intervals and a second, or from a driver that is not served.")
    statistics: dict[str, int] = Field(
        description="By tag. Memory, scans and reclaims are in bytes; faults, allocations, kills and stalls are counts."
    )
    missing: list[str] = Field(description="Tags that the driver does not send.")
    doubtful: dict[str, str] = Field(description="Values that cannot be true, each with the reason.")


class StatisticsInterval(Out):
    """How often the guest is asked, from now on."""

    name: str = Field(description="The balloon.")
    interval_s: float = Field(description="In seconds; 0: not at all.")


def statistics_view(service: BalloonService, statistics: Statistics) -> StatisticsView:
    """Show what the guest said last."""
    report = statistics_report(statistics, service, service.clock.now())
    return StatisticsView(name=service.settings.name, **report)
