from typing import Any

import pytest

from vballoond.cli.client import Answer, ClientError
from vballoond.cli.restart import successor


class Daemons:
    """Stands in for a client: what it is answered, one after the other; time passes while it sleeps."""

    def __init__(self, *answers: int | bytes | ClientError) -> None:
        self.asked: list[str] = []
        self.time_s = 0.0
        self._answers = list(answers)

    def get(self, path: str) -> Answer:
        self.asked.append(path)
        answer: Any = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, ClientError):
            raise answer
        return Answer(200, answer if isinstance(answer, bytes) else b'{"pid": %d, "keeper_pid": 7}' % answer)

    def successor_of(self, pid: int) -> int:
        return successor(self, pid, lambda: self.time_s, self._sleep)  # type: ignore[arg-type]

    def _sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time_s += seconds


CUT_OFF = ClientError("no vballoond answers: connection reset by peer")
BUSY = ClientError("the daemon answered with status 503")


def test_the_process_that_answers_instead_is_returned_at_once() -> None:
    daemons = Daemons(11)
    assert daemons.successor_of(10) == 11
    assert (daemons.asked, daemons.time_s) == (["/healthz"], 0)


def test_it_waits_while_the_old_one_still_answers() -> None:
    daemons = Daemons(10, 10, 11)
    assert daemons.successor_of(10) == 11
    assert len(daemons.asked) == 3


@pytest.mark.parametrize("meanwhile", [CUT_OFF, BUSY, b"", b"[]", b'{"keeper_pid": 7}'], ids=repr)
def test_an_answer_that_is_cut_off_or_none_is_asked_for_again(meanwhile: bytes | ClientError) -> None:
    assert Daemons(10, meanwhile, meanwhile, 11).successor_of(10) == 11


@pytest.mark.parametrize("ever", [10, CUT_OFF], ids=["the old one", "nobody"])
def test_where_none_takes_over_it_is_an_error_after_half_a_minute(ever: int | ClientError) -> None:
    daemons = Daemons(ever)
    with pytest.raises(ClientError, match="no process has taken over from 10 within 30 s: see the daemon's log"):
        daemons.successor_of(10)
    assert 30 <= daemons.time_s < 31
