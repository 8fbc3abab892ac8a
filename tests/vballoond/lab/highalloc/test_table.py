import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from support.highalloc import SMALL, make_result, make_summary

from vballoond.lab.highalloc.setting import V10
from vballoond.lab.highalloc.summary import Summary
from vballoond.lab.highalloc.table import print_table, seeds_in_words


def printed(summary: Summary) -> list[str]:
    console = Console(file=io.StringIO(), width=1000, highlight=False)
    print_table(console, summary)
    return console.file.getvalue().splitlines()


def rows(summary: Summary) -> dict[str, list[str]]:
    """The cells of each row by its title."""
    lines = printed(summary)[5:]
    return {cells[0]: cells[1:] for cells in (re.split(r"  +", line.strip()) for line in lines)}


def test_modelled_stands_beside_published() -> None:
    lines = rows(make_summary(clean=[50, 52], patched=[60, 60]))
    assert lines["Pass 1 %"] == ["51.0 ± 1.4", "60.0 ± 0.0", "+9.0", "55.0", "62.0", "+7.0"]
    assert lines["Pass 2 %"][3:] == ["54.0", "62.0", "+8.0"]
    assert lines["while Rested %"][3:] == ["75.0", "80.0", "+5.0"]
    assert lines["Compaction stalls"] == ["-", "-", "-", "747", "499", "-248"]
    assert lines["Compaction success"][3:] == ["244", "145", "-99"]
    assert lines["Compaction failures"][3:] == ["503", "354", "-149"]
    assert lines["Compaction pages moved"][3:] == ["370,888", "474,837", "+103,949"]
    assert lines["Compaction move failure"][3:] == ["77,378", "65,259", "-12,119"]
    assert lines["Huge-page faults served %"] == ["-", "-", "-", "84.8", "92.7", "+7.9"]


def test_a_single_seed_has_no_spread() -> None:
    summary = make_summary([50], [49])
    assert rows(summary)["Pass 1 %"][:3] == ["50.0", "49.0", "-1.0"]
    assert printed(summary)[1] == "modelled: seed 1"


def test_counters_are_whole_numbers() -> None:
    runs = [make_result(1, False, compact_stall=4990), make_result(1, True, compact_stall=986)]
    assert rows(Summary(SMALL, runs))["Compaction stalls"][:3] == ["4,990", "986", "-4,004"]


def test_the_heading_says_what_was_run_and_what_it_is_compared_with() -> None:
    lines = printed(make_summary([50, 50], [60, 60], replace(SMALL, summary="a tiny guest", name="v10")))
    assert lines[:4] == [
        "stress-highalloc v10: a tiny guest",
        "modelled: seeds 1 to 2, mean ± standard deviation",
        "published: cover letter of v10, 17 September 2012, Linux 3.6-rc5, one run each",
        "clean: balloon pages stay where they are; patched: with balloon compaction",
    ]
    assert re.split(r"  +", lines[5].strip()) == [
        *("CLEAN", "PATCHED", "DIFFERENCE"),
        *("PUBLISHED CLEAN", "PATCHED", "DIFFERENCE"),
    ]


def test_the_other_setting_is_beside_its_own_table() -> None:
    assert rows(make_summary([50], [60], V10))["Pass 2 %"][3:] == ["52.0", "87.0", "+35.0"]


@pytest.mark.parametrize(
    ("seeds", "words"), [([7], "seed 7"), ([1, 2, 3], "seeds 1 to 3"), ([1, 2, 5], "seeds 1, 2, 5")]
)
def test_seeds_are_said_in_words(seeds: list[int], words: str) -> None:
    assert seeds_in_words(seeds) == words
