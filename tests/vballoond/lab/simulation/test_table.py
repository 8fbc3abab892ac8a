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


ODD = "[red] [/] :cat: $a$b^$ \\"


def test_what_people_have_written_is_no_markup() -> None:
    result = replace(simulated(), policy=f"shares:x={ODD}", scenario=f"s{ODD}", broken=(f"at 1 s: {ODD}",))
    out = io.StringIO()
    print_results(Console(file=out, width=200), f"a host {ODD}", [result])
    lines = out.getvalue().splitlines()
    assert lines[0] == f"s{ODD}: a host {ODD}"
    assert lines[3].strip() == f"shares:x={ODD}"
    assert lines[-1] == f"shares:x={ODD}: at 1 s: {ODD}"


def test_what_people_have_written_is_no_mathematics(tmp_path) -> None:
    plot = pytest.importorskip("vballoond.lab.simulation.plot")
    result = replace(simulated(), policy=f"shares:x={ODD}", scenario=f"s{ODD}")
    plot.draw(f"a host {ODD}", [result], tmp_path / "p.svg")
    assert ODD in (tmp_path / "p.svg").read_text()
