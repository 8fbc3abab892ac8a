import os
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from vballoond.policy.builtin import BUILT_IN
from vballoond.policy.discover import MAX_FILE_BYTES, MAX_FILES, discover, stamps_of

GOOD = """\
from dataclasses import dataclass
from vballoond.policy import Plan, Policy, PolicySettings


@dataclass
class Thing:
    value: "int"


class Halve(Policy):
    '''Leaves each guest with a half.'''

    name = "halve"

    class Settings(PolicySettings):
        part: float = 0.5

    def plan(self, view, settings):
        return Plan()
"""


@pytest.fixture
def directory(tmp_path):
    return tmp_path


def put(directory, name, text):
    path = directory / name
    new = directory / "new"  # another inode, as an editor makes it, so that no clock decides
    new.write_text(text)
    new.rename(path)
    return str(path)


def test_the_built_in_ones_are_always_there():
    found = discover(None)
    assert list(found.policies) == [policy.name for policy in BUILT_IN]
    assert {item.origin for item in found.policies.values()} == {"built-in"}
    assert found.problems == {}


def test_a_file_gives_its_policies(directory):
    path = put(directory, "halve.py", GOOD)
    found = discover(directory).policies["halve"]
    assert found.shown() == {
        "name": "halve",
        "origin": path,
        "summary": "Leaves each guest with a half.",
        "settings_schema": {
            "title": "Settings",
            "type": "object",
            "additionalProperties": False,
            "properties": {"part": {"title": "Part", "type": "number", "default": 0.5}},
        },
    }


def test_a_file_that_has_not_changed_is_not_loaded_again(directory):
    put(directory, "halve.py", GOOD)
    first = discover(directory)
    assert discover(directory, first).policies["halve"] is first.policies["halve"]


def test_a_file_that_has_changed_is_loaded_again_even_within_a_second_and_of_the_same_size(directory):
    path = put(directory, "halve.py", GOOD)
    first = discover(directory)
    before = Path(path).stat()
    put(directory, "halve.py", GOOD.replace("0.5", "0.7"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = discover(directory, first)
    assert second.policies["halve"].policy.Settings().part == 0.7
    assert not list(directory.glob("**/*.pyc"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Halve(:\n", "SyntaxError: invalid syntax"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise SystemExit\n", "SystemExit"),
        ("x = 1\n", "halve.py: it defines no policy: a class with a name and plan(self, view, settings)"),
        (GOOD.replace('"halve"', '"Not A Name"'), "halve.py: class Halve needs a name of a-z"),
        (GOOD.replace("plan(", "plam("), "halve.py: class Halve needs plan(self, view, settings) of its own"),
        (GOOD.replace("def plan(self", "plan = None\n    def go(self"), "halve.py: class Halve needs plan(self, view"),
        (
            GOOD.replace("0.5", "float('inf')"),
            "halve.py: policy 'halve': the default of part: Input should be a finite",
        ),
        (
            GOOD.replace("float = 0.5", "object = -float('inf')"),
            "halve.py: the schema of its settings is not plain JSON",
        ),
        (GOOD + "class Other(Policy):\n    pass\n", "halve.py: class Other needs a name"),
        (GOOD.replace("(PolicySettings):\n", ":\n"), "its Settings must be a class derived from PolicySettings"),
        ("\0", "source code string cannot contain null bytes"),
        ("#" * (MAX_FILE_BYTES + 1), "halve.py has 1048577 bytes; 1048576 are the most"),
    ],
)
def test_where_a_file_cannot_be_loaded_the_old_policy_stays_and_people_are_told_once(directory, text, message):
    path = put(directory, "halve.py", GOOD)
    first = discover(directory)
    put(directory, "halve.py", text)
    second = discover(directory, first)
    assert second.policies["halve"] is first.policies["halve"]
    assert message in second.problems[path]
    assert "discover.py" not in second.problems[path]
    assert second.news(first) == {path: second.problems[path]}
    third = discover(directory, second)
    assert third.problems == second.problems
    assert third.news(second) == {}
    put(directory, "halve.py", GOOD)
    assert discover(directory, third).problems == {}


def test_classes_to_derive_from_and_second_names_are_no_policies(directory):
    base = "class _Base(Policy):\n    def half(self, size): return size // 2\n\n\nclass Helper:\n    pass\n\n\n"
    put(directory, "halve.py", GOOD.replace("class Halve(Policy)", f"{base}class Halve(_Base)") + "Default = Halve\n")
    found = discover(directory)
    assert found.problems == {}
    assert list(found.policies) == [*(policy.name for policy in BUILT_IN), "halve"]


@contextmanager
def somebody_else():
    """Be one who cannot read every file, as the daemon is."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_file_that_can_be_read_now_is_loaded():
    with somebody_else(), TemporaryDirectory() as name:
        path = Path(put(Path(name), "halve.py", GOOD))
        path.chmod(0)
        first, stamps = discover(path.parent), stamps_of(path.parent)
        assert first.problems == {str(path): "halve.py cannot be read: Permission denied"}
        path.chmod(0o644)
        assert discover(path.parent, first).problems == {}
        assert stamps_of(path.parent) != stamps


def test_a_file_that_is_gone_takes_its_policies_along(directory):
    path = put(directory, "halve.py", GOOD)
    first = discover(directory)
    Path(path).unlink()
    assert "halve" not in discover(directory, first).policies


def test_a_name_that_is_taken_is_a_problem_of_who_comes_later(directory):
    one = put(directory, "a.py", GOOD)
    other = put(directory, "b.py", GOOD)
    third = put(directory, "c.py", GOOD.replace('"halve"', '"static"'))
    found = discover(directory)
    assert found.policies["halve"].origin == one
    assert found.problems == {
        other: f"policy 'halve' is there already ({one}): give this one another name",
        third: "policy 'static' is there already (built-in): give this one another name",
    }


def test_only_files_that_are_meant_are_loaded(directory):
    put(directory, "_helper.py", "raise ValueError")
    put(directory, ".hidden.py", "raise ValueError")
    put(directory, "notes.txt", "raise ValueError")
    put(directory, "two\nlines.py", "raise ValueError")
    (directory / os.fsdecode(b"\xff.py")).write_text("raise ValueError")
    assert discover(directory).problems == {}


def test_what_is_no_file_is_a_problem_and_what_it_gave_before_stays(directory):
    path = directory / "a.py"
    put(directory, "a.py", GOOD)
    before = discover(directory)
    path.unlink()
    path.mkdir()
    found = discover(directory, before)
    assert found.problems == {str(path): "a.py is not a file, but a directory"}
    assert "halve" in found.policies
    path.rmdir()
    path.symlink_to("a.py")
    found = discover(directory, found)
    assert found.problems == {str(path): "a.py cannot be read: Too many levels of symbolic links"}
    assert "halve" in found.policies
    path.unlink()
    path.symlink_to("/dev/zero")
    assert discover(directory, found).problems == {str(path): "a.py is not a file, but a device"}


def test_a_file_is_not_read_beyond_its_bound_whatever_size_it_is_said_to_have(directory):
    (directory / "a.py").symlink_to("/proc/self/mountinfo")  # its size is 0
    (problem,) = discover(directory).problems.values()
    assert "SyntaxError" in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class Own(BaseException): pass\nraise Own", "Own"),
        (GOOD + "    class Settings(PolicySettings):\n        print: Callable = print", "Callable"),
        (GOOD + "    class Settings(PolicySettings):\n        text: str = 'x' * 70_000", "65536 are the most"),
    ],
)
def test_whatever_a_file_does_is_its_own_problem(directory, text, said):
    put(directory, "a.py", "from collections.abc import Callable\nfrom vballoond.policy import PolicySettings\n" + text)
    other = put(directory, "b.py", GOOD)
    found = discover(directory)
    assert list(found.problems) == [str(directory / "a.py")]
    assert said in found.problems[str(directory / "a.py")]
    assert found.policies["halve"].origin == other


def test_a_docstring_that_is_none_is_no_summary(directory):
    put(directory, "a.py", GOOD + "    __doc__ = 5\n")
    assert discover(directory).policies["halve"].shown()["summary"] == ""


def test_a_directory_that_is_not_there_is_a_problem(directory):
    found = discover(directory / "none")
    assert len(found.policies) == len(BUILT_IN)
    assert found.problems == {
        str(directory / "none"): "the directory of policies cannot be read: No such file or directory"
    }


def test_stamps_tell_of_every_change(directory):
    put(directory, "a.py", GOOD)
    before = stamps_of(directory)
    assert stamps_of(directory) == before
    (directory / "b.py").symlink_to("nowhere")
    assert stamps_of(directory) == before | {str(directory / "b.py"): (0, 0, 0)}
    assert stamps_of(directory / "none") == stamps_of(None) == {}


def test_there_is_an_end_to_files(directory):
    for number in range(MAX_FILES + 1):
        put(directory, f"p{number:04}.py", GOOD.replace('"halve"', f'"p{number}"'))
    found = discover(directory)
    assert len(found.policies) == len(BUILT_IN) + MAX_FILES
    assert list(found.problems) == [str(directory)]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package with entry points, as far as anybody can tell."""

    def install(points, code):
        (tmp_path / "other_policies.py").write_text(code)
        info = tmp_path / "other_policies-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-policies\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[vballoond.policies]\n{points}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    sys.modules.pop("other_policies", None)


def test_an_installed_package_brings_policies(package):
    package("halve = other_policies:Halve", GOOD)
    found = discover(None)
    assert found.policies["halve"].origin == "package other-policies"
    assert found.problems == {}


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("halve = other_policies:Nothing", "AttributeError"),
        ("halve = other_policies:Plan", "needs a name"),
        ("halve = no_such_package_at_all:X", "ModuleNotFoundError"),
        ("halve = other_policies:__doc__", "is not a class"),
        ("halve = other_policies:Named", "class Named needs plan(self, view, settings) of its own"),
    ],
)
def test_a_package_that_is_broken_harms_nobody(package, points, message):
    package(points, GOOD + "\n\nclass Named:\n    name = 'named'\n")
    found = discover(None)
    assert message in found.problems["package other-policies"]
    assert len(found.policies) == len(BUILT_IN)
