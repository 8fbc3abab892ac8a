"""The systemd unit, as systemd itself looks at it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "config"
UNIT = CONFIG / "vballoond.service"
DROP_IN = CONFIG / "vballoond.service.d-reload.conf"
ANALYZE = shutil.which("systemd-analyze")
WORST_EXPOSURE = 15  # tenths; what is left is the network, the sockets, and code that is compiled


def settings(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text().splitlines()
    return [(key, value) for line in lines if line[:1].isalpha() for key, _, value in [line.partition("=")]]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    if ANALYZE is None:
        pytest.skip("there is no systemd-analyze here (Debian package systemd)")
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/vballoond/bin/vballoond", sys.executable))
    return path


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *map(str, arguments)], capture_output=True, text=True, check=False)


def version() -> int:
    return int(re.search(r"\d+", analyze("--version").stdout)[0])


def test_systemd_finds_nothing_wrong_with_it(unit: Path) -> None:
    verified = analyze("verify", "--man=no", unit)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_it_is_shut_in_as_far_as_it_can_be(unit: Path) -> None:
    if version() < 250:
        pytest.skip("systemd-analyze security judges files from version 250 on")
    judged = analyze("security", "--offline=true", "--no-pager", f"--threshold={WORST_EXPOSURE}", unit)
    assert judged.returncode == 0, judged.stdout


def test_the_drop_in_is_understood_where_it_is_for(unit: Path) -> None:
    if version() < 253:
        pytest.skip("Type=notify-reload is there from systemd 253 on")
    folder = unit.with_name(f"{unit.name}.d")
    folder.mkdir()
    (folder / "reload.conf").write_text(DROP_IN.read_text())
    verified = analyze("verify", "--man=no", unit)
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize("path", [UNIT, DROP_IN], ids=lambda path: path.name)
def test_every_setting_stands_below_what_it_is_for(path: Path) -> None:
    explained = False
    for line in path.read_text().splitlines():
        if not line or line.startswith("["):
            explained = line.startswith(("[Unit]", "[Install]")) or (explained and bool(line))
        elif line.startswith("#"):
            explained = True
        elif line.partition("=")[0] not in {"Type", "Description", "Documentation"}:
            assert explained, line


def test_guests_survive_what_the_daemon_may_do() -> None:
    found = dict(settings(UNIT))
    assert found["Type"] == "notify"
    assert found["NotifyAccess"] == "main"
    assert int(found["FileDescriptorStoreMax"]) >= 1000
    assert int(found["LimitNOFILE"]) > 2 * int(found["FileDescriptorStoreMax"])
    assert (found["Restart"], found["StartLimitIntervalSec"]) == ("always", "0")
    # Sockets must be there when the next process comes.
    assert found["RuntimeDirectoryPreserve"] == "restart"
    assert found["ExecReload"] == "kill -HUP $MAINPID"
    assert dict(settings(DROP_IN)) == {"Type": "notify-reload", "ExecReload": ""}


def test_no_modelled_guest_is_forbidden_by_default() -> None:
    assert "MemoryDenyWriteExecute" not in dict(settings(UNIT))
    assert "#MemoryDenyWriteExecute=yes" in UNIT.read_text()
