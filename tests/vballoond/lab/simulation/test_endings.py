import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vballoond.lab.simulation.endings import end_in_time, ending_in_order, told_to_end

NUMBERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


@pytest.fixture(autouse=True)
def as_a_command_begins() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS}
    yield
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_command_that_is_told_to_end_clears_away_and_has_an_end_in_any_case() -> None:
    cleared = []

    @contextmanager
    def clearing_away() -> Iterator[None]:
        try:
            yield
        finally:
            signal.raise_signal(signal.SIGHUP)
            cleared.append(signal.getsignal(signal.SIGALRM))

    with pytest.raises(SystemExit) as ended, ending_in_order(), clearing_away():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    assert cleared == [signal.SIG_DFL]
    assert signal.alarm(0) > 0


def test_what_is_ignored_stays_ignored_and_all_is_as_it_was_afterwards() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with ending_in_order():
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_who_clears_away_is_not_disturbed() -> None:
    end_in_time()
    signal.raise_signal(signal.SIGTERM)
    assert signal.alarm(0) > 0


def test_another_thread_than_the_first_can_hear_of_none() -> None:
    heard = []
    thread = threading.Thread(target=lambda: heard.append(told_to_end()))
    thread.start()
    thread.join()
    assert heard == [[]]
