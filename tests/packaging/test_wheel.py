"""The wheel has what it must have and nothing else, and works away from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True)
    return next(directory.glob("*.whl"))


def test_its_top_level_is_the_three_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top_level = {name.split("/")[0] for name in names}
    assert {name for name in top_level if not name.endswith(".dist-info")} == {"vballoond", "protocol", "guest_driver"}
    assert not [name for name in names if "tests/" in name or name.endswith("pyproject.toml")]


def test_it_brings_the_scenarios(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "guest_driver/workload/scenarios/desktop.toml" in names
    assert "vballoond/lab/simulation/scenarios/fifty.toml" in names


def test_it_runs_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = "import vballoond, protocol, sys; print(vballoond.__file__); from vballoond.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "--help"],
        cwd="/",
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(tmp_path))
    assert "serve" in done.stdout


def test_another_package_named_protocol_is_told_apart(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    other = tmp_path / "other" / "protocol"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "import vballoond"],
        cwd="/",
        env={"PYTHONPATH": f"{tmp_path / 'other'}:{tmp_path / 'site'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "another package named 'protocol'" in done.stderr
    assert str(other) in done.stderr


def test_the_repository_names_no_package_registry_and_no_machine() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if files.returncode:
        pytest.skip("not a checkout")
    forbidden = ("pypi" + ".org", "pythonhosted" + ".org", "deb.debian" + ".org", "/ro" + "ot/", "/wo" + "rk/")
    for name in files.stdout.split():
        if (ROOT / name).is_dir():
            continue  # a link to a folder, whose files are listed as well
        text = (ROOT / name).read_text("utf-8", errors="replace")
        assert not [word for word in forbidden if word in text], name
