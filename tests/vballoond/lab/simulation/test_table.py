import io
from dataclasses import replace

import pytest
from rich.console import Console
from support.simulation import simulated

from vballoond.lab.simulation.measures import ROWS
from vballoond.lab.simulation.table import print_results


def test_policies_stand_side_by_side_with_each_measure_and_what_was_broken() -> None:
    shares = simulated()
    static = replace(simulated(policy="static"), broken=("at 1 s: [broken]",), problems=("odd",))
    out = io.StringIO()
    print_results(Console(file=out, width=200), "a small host", [shares, static])
    lines = out.getvalue().splitlines()
    assert lines[0] == "small: a small host"
    assert lines[1] == "seed 1, 120 s of virtual time, guests modelled page by page"
    assert lines[3].split() == ["shares", "static"]
    assert [line.startswith(row.title) for line, row in zip(lines[4:], ROWS, strict=False)] == [True] * len(ROWS)
    assert "static: odd" in lines
    assert lines[-1] == "static: at 1 s: [broken]"


def test_a_picture_is_drawn(tmp_path) -> None:
    plot = pytest.importorskip("vballoond.lab.simulation.plot")
    path = tmp_path / "p.svg"
    shares = simulated()
    plot.draw("a small host", [shares, simulated(policy="static")], path)
    text = path.read_text()
    assert "<svg" in text
    assert len(text) > 10_000
