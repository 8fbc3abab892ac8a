"""Clauses of virtio 1.4, a test for each; ``--spec-table`` prints which test shows which. Runs in virtual time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from support.spec import SpecTable
from support.virtual_time import JumpingLoop

DOCUMENTATION: Final = Path(__file__).parents[2] / "docs" / "conformance.md"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("spec", "conformance")
    group.addoption("--spec-table", action="store_true", help="print which clause is shown by which test")
    group.addoption("--spec-write", action="store_true", help="the same, and write docs/conformance.md anew")


def pytest_configure(config: pytest.Config) -> None:
    write = config.getoption("--spec-write", default=False)
    if write or config.getoption("--spec-table", default=False):
        config.pluginmanager.register(SpecTable(DOCUMENTATION, write=write), "spec-table")


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], JumpingLoop]]:
    del config, item
    return {"virtual": JumpingLoop}
