import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Descriptors from 3 on are other people's in a process that runs tests.
PROGRAM = """
import json, os, sys
from structlog.testing import capture_logs
from vballoond.holder.inherited import inherited
for place in range(3, 3 + int(sys.argv[1])):
    fd = os.memfd_create(str(place))
    os.dup2(fd, place)
    if fd != place and fd >= 3 + int(sys.argv[1]):
        os.close(fd)
environ = dict(argument.split("=", 1) for argument in sys.argv[2:])
environ = {key: value.replace("PID", str(os.getpid())) for key, value in environ.items()}
with capture_logs() as logs:
    named = inherited(environ)
print(json.dumps({
    "named": named,
    "inheritable": [name for name, fd in named.items() if os.get_inheritable(fd)],
    "open": [fd for fd in range(3, 3 + int(sys.argv[1])) if os.path.exists(f"/proc/self/fd/{fd}")],
    "logs": [log.get("reason") or log.get("name") for log in logs],
    "environ": list(environ),
}))
"""


def outcome(passed: int, **environ: str) -> dict[str, object]:

    arguments = [f"{key}={value}" for key, value in environ.items()]
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(passed), *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    return json.loads(said.stdout)


def test_descriptors_are_taken_over_by_name() -> None:
    taken = outcome(3, LISTEN_PID="PID", LISTEN_FDS="3", LISTEN_FDNAMES="a:b c:d")
    assert taken["named"] == {"a": 3, "b c": 4, "d": 5}
    assert taken["inheritable"] == []
    assert taken["logs"] == []


def test_the_variables_are_gone_behind_it() -> None:
    taken = outcome(1, LISTEN_PID="PID", LISTEN_FDS="1", LISTEN_FDNAMES="a", HOME="/")
    assert taken["environ"] == ["HOME"]


@pytest.mark.parametrize("environ", [{}, {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a"}])
def test_where_nothing_was_passed_nothing_is_taken(environ: dict[str, str]) -> None:
    taken = outcome(1, **environ)
    assert (taken["named"], taken["open"], taken["logs"], taken["environ"]) == ({}, [3], [], [])


def test_what_was_passed_to_another_process_is_not_taken() -> None:
    taken = outcome(1, LISTEN_PID="1", LISTEN_FDS="1", LISTEN_FDNAMES="a")
    assert (taken["named"], taken["open"], taken["logs"], taken["environ"]) == ({}, [3], [], [])


def test_of_one_name_the_keeper_passes_the_newest_last() -> None:
    names = {"LISTEN_PID": "PID", "LISTEN_FDS": "4", "LISTEN_FDNAMES": "a:b:a:a"}
    taken = outcome(4, **names, VBALLOOND_KEEPER_PID="1")
    assert (taken["named"], taken["open"]) == ({"a": 6, "b": 4}, [4, 6])
    assert taken["logs"] == ["a", "a"]


def test_of_one_name_systemd_passes_the_newest_first() -> None:
    taken = outcome(4, LISTEN_PID="PID", LISTEN_FDS="4", LISTEN_FDNAMES="a:b:a:a")
    assert (taken["named"], taken["open"]) == ({"a": 3, "b": 4}, [3, 4])
    assert taken["logs"] == ["a", "a"]


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"LISTEN_PID": "me"}, "LISTEN_PID='me' is not a number"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS='-1' is not a number"),
        ({"LISTEN_FDS": ""}, "LISTEN_FDS='' is not a number"),
        ({"LISTEN_FDS": "\u0662"}, "LISTEN_FDS='\u0662' is not a number"),
        ({"LISTEN_FDS": "3"}, "LISTEN_FDS=3, but LISTEN_FDNAMES has 2 names"),
        ({"LISTEN_FDNAMES": ""}, "LISTEN_FDS=2, but LISTEN_FDNAMES has 0 names"),
        (
            {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:c"},
            "descriptor 5, 'c' of LISTEN_FDS=3: Bad file descriptor",
        ),
    ],
)
def test_of_what_is_malformed_nothing_is_taken(environ: dict[str, str], reason: str) -> None:
    taken = outcome(2, **{"LISTEN_PID": "PID", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"} | environ)
    assert (taken["named"], taken["open"], taken["environ"]) == ({}, [3, 4], [])
    assert taken["logs"] == [reason]


def test_none_is_a_number_too() -> None:
    taken = outcome(0, LISTEN_PID="PID", LISTEN_FDS="0", LISTEN_FDNAMES="")
    assert (taken["named"], taken["logs"]) == ({}, [])
