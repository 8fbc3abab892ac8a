"""What holds for all tests: thousands of them take no longer than what they test, and leave nothing to each other."""

import gc
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

_WHOLE_FILE: Final = re.compile(r"^pytestmark = .*\bmark\.(\w+)", re.MULTILINE)
_UNWANTED: Final = re.compile(r"\bnot (\w+)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file is not imported where no test of it is wanted: some need libraries that take seconds to import."""
    expression = config.option.markexpr
    if collection_path.suffix != ".py" or re.search(r"\bor\b|\(", expression):
        return None
    marks = set(_WHOLE_FILE.findall(collection_path.read_text("utf-8")))
    return True if marks & set(_UNWANTED.findall(expression)) else None


def pytest_collection_finish() -> None:
    """What was collected is a million objects that live to the end: no search for garbage need look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_policy_of_a_file_outlives_its_test() -> Iterator[None]:
    """Hypothesis reads the file of every loaded module for constants, and what a test left there can be endless."""
    yield
    for name in [name for name in sys.modules if name.startswith("vballoond_policy_file_")]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def garbage_is_collected_again_after_a_test_that_stopped_it() -> Iterator[None]:
    """See ``open_descriptors`` in support/backend_rig.py."""
    yield
    gc.enable()
