from datetime import UTC, datetime

from protocol.balloon.statistics import StatisticTag
from vballoond.balloon.statistics import Statistics
from vballoond.lab.simulation.guest_reports import GuestReports

AT = datetime.fromtimestamp(0, UTC)


def said(free: int, faults: int) -> Statistics:
    return Statistics({StatisticTag.FREE_MEMORY: free, StatisticTag.MINOR_FAULTS: faults}, AT)


def test_a_guest_is_asked_once_in_each_interval() -> None:
    reports = GuestReports(5.0)
    assert [now for now in range(12) if reports.due(float(now))] == [0, 5, 10]


def test_nothing_is_shown_before_the_first_report_and_no_rates_before_the_second() -> None:
    reports = GuestReports(5.0)
    assert reports.shown(1.0) is None
    reports.heard(1, said(100, 10), 1.0)
    assert reports.shown(3.0).values == {"free_memory": 100, "minor_faults": 10}
    assert reports.shown(3.0).age_s == 2.0
    assert reports.shown(3.0).rates_per_s == {}


def test_counters_have_rates_and_amounts_have_none() -> None:
    reports = GuestReports(5.0)
    reports.heard(1, said(100, 10), 1.0)
    reports.heard(2, said(50, 40), 6.0)
    reports.heard(2, said(50, 40), 7.0)
    assert reports.shown(7.0).rates_per_s == {"minor_faults": 6.0}
    assert reports.shown(7.0).age_s == 1.0


def test_a_counter_that_fell_has_no_negative_rate() -> None:
    reports = GuestReports(5.0)
    reports.heard(1, said(100, 10), 1.0)
    reports.heard(2, said(100, 3), 6.0)
    assert reports.shown(6.0).rates_per_s == {"minor_faults": 0.0}


def test_what_is_older_than_three_intervals_and_a_second_is_stale() -> None:
    reports = GuestReports(5.0)
    reports.heard(1, said(100, 10), 1.0)
    assert not reports.shown(17.0).stale
    assert reports.shown(17.1).stale
