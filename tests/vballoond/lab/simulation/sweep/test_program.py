import subprocess
import sys
from pathlib import Path

import pytest

import vballoond
from guest_driver.workload import scenario as workloads
from vballoond.lab.simulation.sweep import program as program_module
from vballoond.lab.simulation.sweep.program import deciding, program

pytestmark = pytest.mark.long

TREE = Path(vballoond.__file__).parents[1]
LOADED = """
import sys
import vballoond.lab.simulation.sweep.job, vballoond.runner.script_process
print(*[module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)], sep="\\n")
"""


def test_all_code_that_a_run_loads_counts() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, cwd=TREE)
    own = {Path(line) for line in loaded.stdout.splitlines() if Path(line).is_relative_to(TREE) and ".venv" not in line}
    assert len(own) > 100
    assert {path for path in own if path.name != "__init__.py"} <= set(deciding())


def test_workloads_that_scenarios_name_count() -> None:
    files = set(Path(workloads.__file__).parent.rglob("*.toml"))
    assert {path.stem for path in files} <= set(workloads.shipped_scenarios())
    assert len(files) > 3
    assert files <= set(deciding())


def test_another_content_or_name_of_a_file_is_another_program(monkeypatch, tmp_path) -> None:
    def known_by(name: str, content: str) -> str:
        path = tmp_path / name
        path.write_text(content)
        monkeypatch.setattr(program_module, "deciding", lambda: [path])
        return program.__wrapped__()

    monkeypatch.setattr(program_module, "_TREE", tmp_path)
    assert known_by("a.py", "1") == known_by("a.py", "1")
    assert len({known_by("a.py", "1"), known_by("a.py", "2"), known_by("b.py", "1")}) == 3
