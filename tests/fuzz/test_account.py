import pytest

from fuzz.account import ALLOWANCE_BYTES, Account
from fuzz.daemon import Usage, must_not_be_logged

MIB = 1 << 20


def account(*own_mib: float, descriptors: int = 17) -> Account:
    first, *others = (Usage(int(size * MIB), int(size * MIB), 17) for size in own_mib)
    made = Account(first)
    for usage in others:
        made.add(usage._replace(descriptors=descriptors))
    return made


def test_memory_may_grow_in_the_first_third() -> None:
    assert account(100, 150, 200, 200, 200, 200, 200, 200, 200).problems() == []


def test_memory_that_grows_later_is_a_problem() -> None:
    allowed = ALLOWANCE_BYTES / MIB
    assert account(*[200] * 6, *[200 + allowed] * 3).problems() == []
    assert account(*[200] * 6, *[200 + allowed + 1] * 3).problems() == [f"memory grew by {allowed * 1024 + 1024:g} KiB"]


def test_garbage_that_waits_to_be_freed_is_no_growth() -> None:
    assert account(*[200] * 6, 200, 300, 300).problems() == []


def test_one_more_descriptor_is_a_problem() -> None:
    assert account(200, 200, 200, descriptors=18).problems() == ["1 descriptors are left open"]
    assert account(200, 200, 200, descriptors=16).problems() == []


@pytest.mark.parametrize(
    "line",
    [
        "Exception ignored in: <function f>",
        '"a string"',
        '{"event": "request failed", "level": "error", "exception": "Traceback (most recent call last): ..."}',
        '{"event": "no memory", "level": "critical"}',
    ],
)
def test_what_must_not_be_logged_is_told(line: str) -> None:
    assert must_not_be_logged(line)


def test_what_a_broken_driver_makes_the_daemon_log_is_no_defect() -> None:
    assert not must_not_be_logged('{"event": "balloon broken", "level": "warning", "reason": "a chain loops"}')
