"""What the sources say of themselves."""

import re
from pathlib import Path

import guest_driver.balloon_compaction

SOURCES = sorted(Path(guest_driver.balloon_compaction.__file__).parent.rglob("*.py"))


def test_pages_are_movable_by_compaction():
    """R1: not "movable to compaction"."""
    assert "movable by compaction" in (guest_driver.balloon_compaction.__doc__ or "")
    assert not [path for path in SOURCES if "movable to" in path.read_text()]


def test_success_is_spelled_as_it_should_be():
    """R8, and what else was misspelled in the interface's first text."""
    assert "successful" in (guest_driver.balloon_compaction.__doc__ or "")
    wrong = re.compile(r"\bsuces|succesf|essfull\b|decriptor|definetiv|temporarely|compation", re.IGNORECASE)
    assert not [path for path in SOURCES if wrong.search(path.read_text())]


def test_the_locking_rules_stand_where_the_interface_begins():
    """R12: what was not described in the code."""
    text = guest_driver.balloon_compaction.__doc__ or ""
    for rule in ("balloon_lock, then a page's lock, then pages_lock", "asks again under the lock", "one reference"):
        assert rule in " ".join(text.split())
