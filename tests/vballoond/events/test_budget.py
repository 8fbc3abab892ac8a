from vballoond.events.budget import MOST, WINDOW_S, Budget


def test_so_much_is_told_in_a_window_and_no_more() -> None:
    budget = Budget(lambda: 100.0)
    assert [budget.spend() for _ in range(MOST + 3)] == [True] * MOST + [False] * 3
    assert budget.untold == 3


def test_the_next_window_has_as_much() -> None:
    now_s = [100.0]
    budget = Budget(lambda: now_s[0])
    for _ in range(MOST + 1):
        budget.spend()
    now_s[0] += WINDOW_S / 2
    assert not budget.spend()
    now_s[0] += WINDOW_S / 2
    assert [budget.spend() for _ in range(MOST + 1)] == [True] * MOST + [False]
