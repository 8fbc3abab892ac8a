from vballoond.policy.guard.error_budget import ErrorBudget


def test_the_third_failure_within_five_minutes_is_one_too_many():
    budget = ErrorBudget().failed(0.0, "a").failed(100.0, "b")
    assert budget.set_aside is None
    assert budget.failed(299.0, "trace\nValueError: c").set_aside == (
        "it failed 3 times within 300 s, last with: ValueError: c"
    )
    assert budget.failed(300.0, "c").set_aside is None


def test_good_plans_in_between_do_not_make_failures_undone():
    budget = ErrorBudget()
    for at_s in (0.0, 20.0, 40.0):
        assert budget.set_aside is None
        budget = budget.failed(at_s, "x").succeeded()
    assert budget.set_aside is not None


def test_the_same_failure_is_news_once():
    budget = ErrorBudget()
    assert budget.is_news("x")
    budget = budget.failed(0.0, "x")
    assert not budget.is_news("x")
    assert budget.is_news("y")
    assert budget.succeeded().is_news("x")


def test_it_remembers_no_more_than_it_needs():
    budget = ErrorBudget()
    for at_s in range(1000):
        budget = budget.failed(float(at_s), "x")
    assert len(budget.failed_at_s) == 3


def test_a_failure_without_words_is_one():
    assert ErrorBudget((0.0, 0.0)).failed(0.0, " \n").set_aside.endswith("no report")


def test_why_it_was_set_aside_stays_whatever_fails_after_that():
    budget = ErrorBudget().failed(0.0, "a").failed(1.0, "b").failed(2.0, "c")
    assert budget.failed(3.0, "d").set_aside == budget.set_aside == "it failed 3 times within 300 s, last with: c"
