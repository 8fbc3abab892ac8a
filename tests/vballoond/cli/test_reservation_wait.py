import json
from typing import Any

import pytest

from vballoond.cli.client import Answer, ClientError, RefusedError, UnreachableError
from vballoond.cli.reservation_wait import awaited, not_ready

GATHERING = {"id": 4, "state": "gathering", "bytes": 1 << 20, "reason": None}
READY = {**GATHERING, "state": "ready"}
GONE = UnreachableError("no vballoond answers")


class Daemon:
    """Stands in for a client: what it is answered, one after the other; time passes while it sleeps or is asked."""

    def __init__(self, *answers: dict[str, Any] | ClientError, takes_s: float = 0.0) -> None:
        self.waits_s: list[float] = []
        self.time_s = 0.0
        self._answers = list(answers)
        self._takes_s = takes_s

    def get(self, path: str, wait_s: float) -> Answer:
        assert path == "/v1/reservations/4"
        self.waits_s.append(wait_s)
        self.time_s += self._takes_s
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, ClientError):
            raise answer
        return Answer(200, json.dumps(answer).encode())

    def awaited(self, wait_s: float) -> Any:
        return awaited(self, GATHERING, wait_s, lambda: self.time_s, self._sleep)  # type: ignore[arg-type]

    def _sleep(self, seconds: float) -> None:
        self.time_s += seconds


def test_it_is_asked_once_where_the_daemon_waits() -> None:
    daemon = Daemon(READY, takes_s=7)
    assert daemon.awaited(30) == READY
    assert (daemon.waits_s, daemon.time_s) == ([30], 7)


def test_after_a_break_only_the_rest_is_waited_for_and_that_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Daemon(GONE, GONE, GATHERING, READY, takes_s=5)
    assert daemon.awaited(30) == READY
    assert daemon.waits_s == [30, 24.75, 19.5, 14.25]
    out, err = capsys.readouterr()
    assert (out, err.count("no word of reservation 4 for now")) == ("", 1)


@pytest.mark.parametrize("takes_s", [0, 0.7, 10])
def test_it_ends_in_time_with_what_was_heard_last(takes_s: float) -> None:
    daemon = Daemon(GATHERING, takes_s=takes_s)
    assert daemon.awaited(10) == GATHERING
    assert 10 <= daemon.time_s <= 10 + takes_s


def test_where_nobody_has_answered_at_the_end_nothing_is_claimed() -> None:
    daemon = Daemon(GATHERING, GONE)
    with pytest.raises(UnreachableError, match="what became of reservation 4 is not known after 10 s") as failed:
        daemon.awaited(10)
    assert "'vballoond reservations --cancel 4' drops it" in failed.value.next_step
    assert 10 <= daemon.time_s < 11


def test_one_that_the_daemon_does_not_know_is_not_asked_for_again() -> None:
    daemon = Daemon(GONE, RefusedError(404, {"detail": "there is no reservation 4"}))
    with pytest.raises(RefusedError, match="there is no reservation 4"):
        daemon.awaited(10)


def test_without_time_nobody_is_asked() -> None:
    daemon = Daemon(READY)
    assert daemon.awaited(0) == GATHERING
    assert daemon.waits_s == []


@pytest.mark.parametrize(("asked_at", "changed_at"), [("2026-01-02T03:04:05Z", "soon"), (None, None)])
def test_where_times_cannot_be_read_none_is_said(asked_at: str | None, changed_at: str | None) -> None:
    failed = {**GATHERING, "state": "failed", "asked_at": asked_at, "changed_at": changed_at, "reason": "why"}
    assert not_ready(failed, 60)[0] == "reservation 4 of 1 MiB failed: why"
