"""The first instants of a command."""

import os
import signal
import subprocess
import sys

SLOW_IMPORT = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            print("importing", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
from vballoond.cli.entry import main
main()
"""


def test_ctrl_c_while_it_is_imported_leaves_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_IMPORT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "importing\n"
        command.send_signal(signal.SIGINT)
        _, complaint = command.communicate(timeout=60)
    assert (command.returncode, complaint) == (130, "")


def test_with_closed_outputs_it_says_nothing_and_ends_as_ever() -> None:
    def close_outputs() -> None:
        os.close(1)
        os.close(2)

    command = [sys.executable, "-m", "vballoond", "list", "--api", "http://127.0.0.1:1"]
    assert subprocess.run(command, check=False, preexec_fn=close_outputs).returncode == 1
    version = [sys.executable, "-m", "vballoond", "--help"]
    assert subprocess.run(version, check=False, preexec_fn=close_outputs).returncode == 0
