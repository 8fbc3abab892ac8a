"""How a process that simulates ends when it is told to: what it has started and written meanwhile goes first.

Rules of this file:

* SIGTERM and SIGHUP end it in order, as Ctrl-C does. A SIGHUP that is ignored, as below nohup, stays so.
* There is an end in any case: what a signal raises can be lost, as in the end of an object's life, and clearing away
  can hang.
* Nobody hears of SIGKILL: then the process of a policy ends with the one that has it, but its directory
  ``vballoond-policy-*`` stays below that of temporary files, with a source in it that nobody uses again.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

_CLEARED_AWAY_S: Final = 5


def told_to_end() -> list[signal.Signals]:
    """Return the signals that are to end this process, and that it can hear of."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]


def end_in_time(patience_s: int = _CLEARED_AWAY_S) -> None:
    """Let nothing but time disturb this process while it clears away: it ends when ``patience_s`` are over."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(patience_s)


class EndedError(KeyboardInterrupt):
    """Somebody wants this process to end. Of a kind that nobody takes for a failure of a policy."""


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Have this process clear away before it ends, whoever tells it to; its status is 128 and the signal's number."""
    heard = told_to_end()
    for number in heard:
        signal.signal(number, _end)
    try:
        yield
    except EndedError as ended:
        raise SystemExit(128 + ended.args[0]) from ended
    finally:
        for number in heard:
            if signal.getsignal(number) is _end:
                signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: object) -> NoReturn:
    # Workers clear away within their own time, and then this process is to have some, too.
    end_in_time(2 * _CLEARED_AWAY_S)
    raise EndedError(number)
