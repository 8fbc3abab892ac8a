"""The file of a sweep: SQLite, a row for each run, written as the runs end.

Rules of this file:

* What is in the file is not run again, so a sweep that was cut short goes on where it was. A run is known by its
  content (``Job.key``): a scenario or a policy that was edited since is another run. Runs of before the edit stay, and
  whoever adds to them is told (:meth:`Store.others`).
* A file has results of one program only: those of two do not compare.
* Several processes may write to one file. Each keeps what it has made; two that made the same made it equally.
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
from .program import program

FORMAT: Final = 2
"""Grows when the tables change."""

_PATIENCE_S: Final = 60.0
"""So long another process may be writing."""

_OF_A_RUN: Final = (
    "key",
    "scenario",
    "scenario_content",
    "policy",
    "policy_content",
    "settings",
    "seed",
    "decisions",
    "broken",
    "result",
)
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

    def others(self, jobs: Iterable[Job]) -> list[str]:
        """Return in sentences what the file has of scenarios and policies that were edited since."""
        jobs = list(jobs)
        told = self._others("scenario", {(job.scenario, job.scenario_content) for job in jobs})
        return told + self._others("policy", {(job.policy.name, job.policy_content) for job in jobs})

    def _others(self, kind: str, now: set[tuple[str, str]]) -> list[str]:
        told = []
        asked = f"SELECT {kind}_content, count(*) FROM run WHERE {kind} = ? GROUP BY 1"  # noqa: S608 (our names)
        for name in sorted({name for name, _ in now}):
            rows = self._database.execute(asked, (name,)).fetchall()
            old = sum(count for content, count in rows if (name, content) not in now)
            current = " or ".join(repr(content) for whose, content in sorted(now) if whose == name)
            if old:
                told.append(
                    f"{old} of its runs are of {kind} {name!r} with another content, and stay: "
                    f"tell them apart by the column {kind}_content, which is {current} now"
                )
        return told

    def put(self, job: Job, result: RunResult) -> None:
        """Keep a result, on disk when this returns. One that is there already is replaced by an equal one."""
        row = {
            "key": job.key,
            "scenario": job.scenario,
            "scenario_content": job.scenario_content,
            "policy": job.policy.name,
            "policy_content": job.policy_content,
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
        with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as database:
            _prepare(database, path)
            yield Store(database)
    except sqlite3.Error as error:
        raise OperatorError(f"{path}: {error}") from error


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    columns = dict.fromkeys(_OF_A_RUN, "TEXT") | {"key": "TEXT PRIMARY KEY", "seed": "INTEGER"} | _columns()
    with database:
        database.execute("BEGIN IMMEDIATE")  # another process may be making the same file
        (found,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if found != FORMAT and (found or tables):
            raise OperatorError(f"{path}: it has results of another version, or something else; name a new file")
        if not tables:
            listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            database.execute(f"CREATE TABLE run ({listed})")
            database.execute("CREATE TABLE made_by (program TEXT PRIMARY KEY)")
            database.execute("INSERT INTO made_by VALUES (?)", (program(),))
            database.execute(f"PRAGMA user_version = {FORMAT}")
    _check(database, path, set(columns))


def _check(database: sqlite3.Connection, path: Path, columns: set[str]) -> None:
    there = {name for _, name, *_ in database.execute("PRAGMA table_info(run)")}
    if there != columns:
        raise OperatorError(f"{path}: it has results of another version, or something else; name a new file")
    made_by = [made for (made,) in database.execute("SELECT program FROM made_by")]
    if made_by != [program()]:
        raise OperatorError(
            f"{path}: its results are of another version of this program ({', '.join(made_by)}; this is {program()}), "
            "and do not compare with new ones; name a new file"
        )
