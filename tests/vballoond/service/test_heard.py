import pytest

from vballoond.balloon.counters import Counters
from vballoond.clock import Clock
from vballoond.service.heard import Heard

SIGNS = ["inflate_requests", "deflate_requests", "reporting_requests", "statistics_updates", "config_writes"]


@pytest.mark.parametrize("sign", SIGNS)
def test_whatever_a_driver_does_is_heard(sign: str) -> None:
    now_s, counters = [100.0], Counters()
    heard = Heard(Clock(lambda: now_s[0]), counters)
    now_s[0] = 107.0
    assert heard.silent_s() == 7.0
    setattr(counters, sign, 1)
    assert heard.silent_s() == 0.0
    now_s[0] = 109.5
    assert heard.silent_s() == 2.5


def test_what_the_operator_does_is_no_sign_of_the_driver() -> None:
    now_s, counters = [100.0], Counters()
    heard = Heard(Clock(lambda: now_s[0]), counters)
    now_s[0] = 104.0
    counters.release_errors = counters.guest_errors = counters.inflated_frames = 9
    assert heard.silent_s() == 4.0
