"""The table of clauses itself."""

import pytest
from support.spec import (
    BEGIN,
    END,
    LAST_CLAUSE,
    STATES,
    Row,
    document,
    missing,
    row,
    states,
    summary,
    table,
    worst,
    written_into,
)

ROWS = [row("test_one", 5, "5.5.6.2", "MAY do", "used"), row("test_the_other", 30, "5.5.6.1", "MUST do")]


def test_the_clauses_of_drivers_are_told_from_those_of_devices():
    roles = [row("test", number, "", "").role for number in (1, 21, 22, 65, 66, 86, 87, 88)]
    assert roles == [*["device"] * 2, *["driver"] * 2, *["device"] * 2, *["driver"] * 2]


@pytest.mark.parametrize(("number", "state"), [(0, "met"), (89, "met"), (5, "good")])
def test_a_clause_or_a_state_that_there_is_not_is_an_error(number, state):
    with pytest.raises(ValueError, match="test_one is marked"):
        row("test_one", number, "5", "", state)


def test_a_clause_without_a_test_is_missing():
    rows = [row("test", number, "", "") for number in range(1, LAST_CLAUSE + 1)]
    assert missing(rows) == []
    assert missing(rows[:11] + rows[12:-1]) == [12, 88]


@pytest.mark.parametrize(
    ("results", "result"),
    [
        ([], "not run"),
        (["passed"], "passed"),
        (["passed", "failed", "skipped"], "failed"),
        (["skipped", "passed"], "skipped"),
    ],
)
def test_a_test_is_as_good_as_the_worst_of_its_runs(results, result):
    assert worst(results) == result


def test_lines_are_aligned():
    assert table([ROWS[0]._replace(result="passed"), ROWS[1]]) == [
        "clause  section  role    test            result",
        "5       5.5.6.2  device  test_one        passed",
        "30      5.5.6.1  driver  test_the_other  not run",
    ]


def test_a_clause_passed_if_all_its_tests_did():
    passed, failed = ROWS[0]._replace(result="passed"), ROWS[0]._replace(test="test_two", result="failed")
    assert summary([passed]).startswith(f"1 of {LAST_CLAUSE} clauses passed in 1 tests")
    assert summary([passed, failed]).startswith(f"0 of {LAST_CLAUSE} clauses passed in 2 tests")


def test_a_clause_is_in_the_worst_of_the_states_of_its_tests():
    rows = [row("test_one", 5, "", "", state) for state in ("not met", "met")] + [row("test_two", 6, "", "", "used")]
    assert states(rows) == "0 met, 1 used, 0 not used, 0 legacy, 0 not offered, 1 not met"


def test_the_documents_table_is_replaced_and_the_rest_of_it_stays():
    text = f"# Title\n{BEGIN}\nold\n{END}\nafter\n"
    written = written_into(text, ROWS)
    assert written == f"# Title\n{BEGIN}\n{document(ROWS)}\n{END}\nafter\n"
    assert written_into(written, ROWS) == written
    assert "2 clauses, 2 tests: 1 met, 1 used," in written
    assert "| 30 | 5.5.6.1 | driver | MUST do | met | `test_the_other` |" in written


def test_results_are_not_documented():
    assert document([ROWS[0]._replace(result="failed")]) == document(ROWS[:1])
    assert set(Row._field_defaults) == {"result"}
    assert "met" in STATES
