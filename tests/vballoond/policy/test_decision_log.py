"""Records, bounded, and found by guest."""

from typing import Any

from vballoond.policy.decision_log import DecisionLog


def about(*guests: str, alert: str | None = None) -> dict[str, Any]:
    return {"decisions": [{"balloon": guest} for guest in guests], "alerts": [{"guest": alert}] if alert else []}


def test_the_log_tells_the_newest_first():
    log = DecisionLog()
    assert [log.append({"n": n, "decisions": []}) for n in range(3)] == [1, 2, 3]
    assert [(number, record["n"]) for number, record in log.newest_first()] == [(3, 2), (2, 1), (1, 0)]


def test_the_log_has_an_end_in_records_and_in_bytes():
    log = DecisionLog(max_records=2)
    for n in range(5):
        log.append({"n": n})
    assert [number for number, _ in log.newest_first()] == [5, 4]
    log = DecisionLog(max_bytes=100)
    for n in range(50):
        log.append({"n": n})
    assert 0 < len(log) < 10
    log.append({"noise": [hash(("x", n)) for n in range(1000)]})
    assert len(log) == 0
    assert log.append({}) == 52
    assert len(log) == 1


def test_the_records_that_speak_of_a_guest_are_found() -> None:
    log = DecisionLog()
    for record in (about("a", "b"), about(), about("b"), about(alert="a"), {"alerts": [{"guest": None}]}):
        log.append(record)
    assert [number for number, _ in log.newest_first("a")] == [4, 1]
    assert [number for number, _ in log.newest_first("b")] == [3, 1]
    assert list(log.newest_first("c")) == []


def test_what_is_known_of_guests_has_an_end_as_well() -> None:
    log = DecisionLog(max_records=3)
    for number in range(2000):
        log.append(about(f"g{number}", "always"))
    assert [number for number, _ in log.newest_first("always")] == [2000, 1999, 1998]
    assert list(log.newest_first("g1990")) == []
    assert sum(map(len, log._about.values())) == 6


def test_the_log_may_grow_and_lose_records_while_it_is_read() -> None:
    log = DecisionLog(max_records=3)
    for _ in range(3):
        log.append(about("a"))
    reading = log.newest_first("a")
    assert next(reading)[0] == 3
    for _ in range(1000):
        log.append(about("a"))
    assert [number for number, _ in reading] == [2, 1]
