"""The conformance table: which clause of the specification is shown by which test, and with what result.

Rules of this file:

* Clauses are numbered once and for all, 1 to :data:`LAST_CLAUSE`. A test of one says so::

      @pytest.mark.clause(30, "5.5.6.1", "MUST use the deflateq to get pages back")

  A fourth argument is its :data:`STATES` where that is not "met".
* A clause that no test names is an error of the table, and so is a document that says something else than the tests.
* A test that is run with several parameters is one row, and passes if all of them do.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

LAST_CLAUSE: Final = 88
_DRIVERS: Final = frozenset({*range(22, 66), 87, 88})

STATES: Final = {
    "met": "The clause holds, as the test shows.",
    "used": "A permission, which is made use of.",
    "not used": "A permission, which is not made use of; nothing depends on it.",
    "legacy": "Of the legacy interface, which is not offered.",
    "not offered": "Of a feature that is not offered.",
    "not met": "Does not hold; the reason stands below the table.",
}
"""What can be said of a clause, with what that means."""

BEGIN: Final = "<!-- Written by `pytest tests/spec --spec-write`. -->"
END: Final = "<!-- Until here. -->"

_NOT_RUN: Final = "not run"
_WORST_FIRST: Final = ("failed", "skipped", _NOT_RUN, "passed")


class Row(NamedTuple):
    """A clause and a test of it."""

    number: int
    section: str
    text: str
    state: str
    test: str
    result: str = _NOT_RUN

    @property
    def role(self) -> str:
        """Whom the clause binds."""
        return "driver" if self.number in _DRIVERS else "device"


def row(test: str, number: int, section: str, text: str, state: str = "met") -> Row:
    """Return the row of a test without a result, from the arguments of its marker.

    Raises:
        ValueError: There is no such clause, or no such state.
    """
    if not 1 <= number <= LAST_CLAUSE or state not in STATES:
        raise ValueError(f"{test} is marked with clause {number} as {state!r}")
    return Row(number, section, text, state, test)


def worst(results: Iterable[str]) -> str:
    """Return the result of a test from those of its runs."""
    return min(results, key=_WORST_FIRST.index, default=_NOT_RUN)


def missing(rows: Iterable[Row]) -> list[int]:
    """Return the clauses that no row is about."""
    return sorted(set(range(1, LAST_CLAUSE + 1)) - {each.number for each in rows})


def table(rows: Sequence[Row]) -> list[str]:
    """Return the rows as aligned lines, under a heading."""
    heading = ("clause", "section", "role", "test", "result")
    cells = [heading, *((str(each.number), each.section, each.role, each.test, each.result) for each in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]


def states(rows: Sequence[Row]) -> str:
    """Return how many clauses are in which state; of a clause with several, the last in the order of STATES."""
    order = [*STATES]
    of_clause: dict[int, int] = {}
    for each in rows:
        of_clause[each.number] = max(of_clause.get(each.number, 0), order.index(each.state))
    found = [*of_clause.values()]
    return ", ".join(f"{found.count(at)} {state}" for at, state in enumerate(order))


def summary(rows: Sequence[Row]) -> str:
    """Return the table in a line."""
    passed = {each.number for each in rows} - {each.number for each in rows if each.result != "passed"}
    tests = len({each.test for each in rows})
    return f"{len(passed)} of {LAST_CLAUSE} clauses passed in {tests} tests ({states(rows)})"


def document(rows: Sequence[Row]) -> str:
    """Return the table of the documentation, which has no results."""
    counts = (
        f"{len({each.number for each in rows})} clauses, {len({each.test for each in rows})} tests: {states(rows)}."
    )
    lines = [counts, "", "| Clause | Section | Who | What | State | Test |", "|---:|---|---|---|---|---|"]
    for each in rows:
        what = (str(each.number), each.section, each.role, each.text, each.state, f"`{each.test}`")
        lines.append(f"| {' | '.join(what)} |")
    return "\n".join(("", *lines, ""))


def written_into(text: str, rows: Sequence[Row]) -> str:
    """Return the documentation with its table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{document(rows)}\n{END}{after}"


class SpecTable:
    """A plugin of pytest: collects rows and results, prints the table, and fails the run where it has an error.

    Args:
        documentation: The file that has the table too.
        write: Whether the table is written there, instead of being compared.
    """

    def __init__(self, documentation: Path, *, write: bool) -> None:
        self._documentation: Final = documentation
        self._write: Final = write
        self._rows: Final[dict[str, list[Row]]] = {}
        self._lines: Final[dict[str, int]] = {}
        self._results: Final[dict[str, set[str]]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Find the tests of clauses."""
        for item in items:
            name = item.nodeid.partition("[")[0]
            test = name.rpartition("::")[2]
            self._rows[name] = [row(test, *mark.args) for mark in item.iter_markers("clause")]
            self._lines[test] = item.location[1] or 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a step of a test ended."""
        if report.when == "call" or not report.passed:
            self._results.setdefault(report.nodeid.partition("[")[0], set()).add(report.outcome)

    def rows(self) -> list[Row]:
        """Return all rows in the order of their clauses, and those of a clause in the order of their file."""
        rows = [
            each._replace(result=worst(self._results.get(name, ())))
            for name, of_test in self._rows.items()
            for each in of_test
        ]
        return sorted(rows, key=lambda each: (each.number, self._lines[each.test]))

    def errors(self) -> list[str]:
        """Return what is wrong with the table itself."""
        rows, text = self.rows(), self._documentation.read_text()
        errors = [f"clause {number} has no test" for number in missing(rows)]
        if written_into(text, rows) != text:
            errors.append(f"{self._documentation.name} says something else: pytest tests/spec --spec-write")
        return errors

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run where the table has an error; write the documentation where that is wanted and all is there."""
        if self._write and not missing(self.rows()):
            self._documentation.write_text(written_into(self._documentation.read_text(), self.rows()))
        if session.exitstatus == pytest.ExitCode.OK and self.errors():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        rows = self.rows()
        terminalreporter.section("virtio 1.4: traditional memory balloon device, and its rings")
        for line in (*table(rows), "", summary(rows), *(f"error: {error}" for error in self.errors())):
            terminalreporter.write_line(line)
