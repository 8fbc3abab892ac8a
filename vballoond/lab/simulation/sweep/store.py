"""The file of a sweep: SQLite, a row for each run, written as the runs end.

Rules of this file:

* What is in the file is not run again, so a sweep that was cut short goes on where it was. A run is known by its
  content (``Job.key``): a scenario or a policy that was edited since is another run.
* Each measure is a column, so that the file can be asked with SQL; ``result`` has all of it as JSON.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final, get_type_hints

from ....errors import OperatorError
from ..measures import Measures
from ..result import RunResult, read_result
from .job import Job

FORMAT: Final = 1
"""Grows when a model changes so that old results do not compare with new ones."""

_TYPES: Final = {int: "INTEGER", float: "REAL", str: "TEXT"}


def _columns() -> dict[str, str]:
    hints = get_type_hints(Measures)
    return {field.name: _TYPES.get(hints[field.name], "REAL") for field in fields(Measures)}


class Store:
    """An open file of results; :func:`open_store` makes one."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database: Final = database

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Return those of the runs that are not there, each once."""
        there = {key for (key,) in self._database.execute("SELECT key FROM run")}
        return list({job.key: job for job in jobs if job.key not in there}.values())

    def put(self, job: Job, result: RunResult) -> None:
        """Keep a result, on disk when this returns. One that is there already is replaced by an equal one."""
        row = {
            "key": job.key,
            "scenario": job.scenario,
            "policy": job.policy.name,
            "settings": job.policy.settings,
            "seed": job.seed,
            "decisions": result.decisions,
            "broken": json.dumps(result.broken),
            "result": result.text(),
            **asdict(result.measures),
        }
        names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
        with self._database:
            self._database.execute(f"INSERT OR REPLACE INTO run ({names}) VALUES ({places})", row)  # noqa: S608 (our names)

    def get(self, key: str) -> RunResult:
        """Return the result of a run that is there."""
        (text,) = self._database.execute("SELECT result FROM run WHERE key = ?", (key,)).fetchone()
        return read_result(text)


@contextlib.contextmanager
def open_store(path: Path) -> Iterator[Store]:
    """Open a file of results, or make one.

    Raises:
        OperatorError: It cannot be opened, or is something else.
    """
    if path.suffix not in {".sqlite", ".db"}:
        raise OperatorError(f"{path}: results are kept in SQLite; write a name that ends in .sqlite")
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            _prepare(database, path)
            yield Store(database)
    except sqlite3.Error as error:
        raise OperatorError(f"{path}: {error}") from error


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    (found,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if found != FORMAT and (found or tables):
        raise OperatorError(f"{path}: it has results of another version, or something else; name a new file")
    columns = "".join(f", {name} {kind}" for name, kind in _columns().items())
    with database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, scenario TEXT, policy TEXT, settings TEXT, "
            f"seed INTEGER, decisions TEXT, broken TEXT, result TEXT{columns})"
        )
        database.execute(f"PRAGMA user_version = {FORMAT}")
