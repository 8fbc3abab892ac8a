"""Scripts that misbehave, each in a real process of its own."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from support.policy_views import a_guest, a_view
from support.running_daemon import exists, gone

from vballoond.errors import OperatorError, PolicyError
from vballoond.policy.plan import read_plan
from vballoond.policy.view import view_json
from vballoond.runner.child import Bounds, Child
from vballoond.runner.findings import Findings
from vballoond.runner.scripts import SeparateScripts

pytestmark = pytest.mark.long

VIEW = a_view(a_guest("vm1"))
HEAD = """
from vballoond.policy import Plan, Policy, PolicySettings, View, Wish
class Bad(Policy):
    name = "bad"
    def plan(self, view, settings):
"""
GOOD = """
from vballoond.policy import Plan, Policy, PolicySettings, Wish
class Good(Policy):
    name = "good"
    class Settings(PolicySettings):
        part: float = 0.5
    def plan(self, view, settings):
        return Plan(tuple(Wish.size(guest, guest.memory_bytes * settings.part, "VERSION") for guest in view.able))
"""

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        before = path.stat().st_mtime_ns if path.exists() else 0
        path.write_text(text)
        os.utime(path, ns=(before + 1, before + 1))  # whatever the clock's grain: it has changed

    return write


@pytest.fixture
async def scripts(tmp_path: Path, write: Write) -> AsyncIterator[SeparateScripts]:
    write("good.py", GOOD)
    scripts = SeparateScripts(Findings(tmp_path), Bounds(time_limit_s=1.0))
    yield scripts
    await scripts.close()


@pytest.fixture
async def patient_scripts(tmp_path: Path, write: Write) -> AsyncIterator[SeparateScripts]:
    """Have more time than anything takes that ends by itself, on however busy a machine."""
    write("good.py", GOOD)
    scripts = SeparateScripts(Findings(tmp_path), Bounds(time_limit_s=60.0))
    yield scripts
    await scripts.close()


async def reason(scripts: SeparateScripts) -> str:
    """Ask the good one, and return what it says."""
    plan = read_plan(await scripts.plan("good", {}, view_json(VIEW)), VIEW)
    return plan.wishes[0].reason


async def test_a_process_is_kept_between_questions_and_ends_with_its_owner(scripts: SeparateScripts) -> None:
    assert (await scripts.look()).problems == {}
    assert await reason(scripts) == "VERSION"
    pid = scripts.pid
    assert pid is not None
    assert await reason(scripts) == "VERSION"
    assert scripts.pid == pid
    await scripts.close()
    assert not exists(pid)
    with pytest.raises(PolicyError, match="ask again"):
        await reason(scripts)
    assert "ask again" in (await scripts.look()).problems["process"]
    assert scripts.pid is None


async def test_a_process_that_was_ended_is_another_one_at_the_next_question(scripts: SeparateScripts) -> None:
    assert await reason(scripts) == "VERSION"
    before = scripts.pid
    await scripts.restart()
    assert await reason(scripts) == "VERSION"
    assert scripts.pid not in {None, before}


async def test_who_asks_beside_waits_for_no_script_of_others(patient_scripts: SeparateScripts, write: Write) -> None:
    write("bad.py", HEAD + "        while True: pass\n")
    await patient_scripts.look()
    looping = asyncio.create_task(patient_scripts.plan("bad", {}, view_json(VIEW)))
    beside = patient_scripts.beside()
    assert {"bad", "good"} <= (await beside.look()).policies.keys()
    assert await beside.settle("good", {"part": 1}) == {"part": 1.0}
    assert await reason(beside) == "VERSION"
    assert not looping.done()
    assert beside.pid not in {None, patient_scripts.pid}
    looping.cancel()
    await asyncio.gather(looping, beside.close(), return_exceptions=True)


async def test_what_was_before_a_file_broke_is_known_beside_as_well(scripts: SeparateScripts, write: Write) -> None:
    await scripts.look()
    write("good.py", "no Python")
    beside = scripts.beside()
    assert "good.py" in str((await beside.look()).problems)
    assert await reason(beside) == "VERSION"
    await beside.close()


async def test_a_process_that_nobody_asks_is_ended_and_one_that_is_asked_is_not(scripts: SeparateScripts) -> None:
    await scripts.end_if_idle()
    assert await reason(scripts) == "VERSION"
    await scripts.end_if_idle()
    pid = scripts.pid
    assert exists(pid)
    assert await reason(scripts) == "VERSION"
    await scripts.end_if_idle()
    assert scripts.pid == pid
    await scripts.end_if_idle()
    assert not exists(pid)
    assert scripts.pid is None
    assert await reason(scripts) == "VERSION"


async def test_policies_are_listed_with_their_origin_and_settings(scripts: SeparateScripts, tmp_path: Path) -> None:
    known = await scripts.look()
    good = known.policies["good"]
    assert good.origin == str(tmp_path / "good.py")
    assert good.settings_schema["properties"]["part"]["default"] == 0.5
    assert known.policies["watermark"].origin == "built-in"


async def test_settings_are_checked_by_the_policys_own_model(scripts: SeparateScripts) -> None:
    assert await scripts.settle("good", {"part": 1}) == {"part": 1.0}
    with pytest.raises(OperatorError, match="part"):
        await scripts.settle("good", {"part": "much"})
    with pytest.raises(OperatorError, match="there is no policy 'none'"):
        await scripts.settle("none", {})


async def test_without_files_nothing_is_started_to_know_what_is_built_in() -> None:
    scripts = SeparateScripts(Findings(None), Bounds())
    assert "watermark" in (await scripts.look()).policies
    assert await scripts.settle("static", {}) == {}
    assert scripts.pid is None


MISBEHAVIOUR = {
    "raises": ('raise ValueError("no")', 'raise ValueError("no")\nValueError: no'),
    "takes all memory": ("x = []\n        while True: x.append(bytearray(1 << 20))", "MemoryError"),
    "ends its process": ("import os; os._exit(3)", "its process ended by itself, with status 3"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "forks": ("import os\n        while True: os.fork()", "a policy may not start a process"),
    "runs a program": ('import os; os.system("true")', "a policy may not run a program"),
    "kills": ("import os; os.kill(os.getppid(), 9)", "a policy may not send a signal"),
    "writes a file": ('open("DIRECTORY/written", "w")', "a policy may not write to a file"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "its process was ended by SIGSEGV"),
    "deletes attributes": ("del View.guests\n        del view.host", "raised an error"),
    "returns no number": ('return Plan((Wish("vm1", float("nan"), "x"),))', "is nan, not a number of bytes"),
    "returns a negative": ('return Plan((Wish("vm1", -1, "x"),))', "is -1, outside of 0 to"),
    "returns what is huge": ('return Plan((Wish("vm1", 10**30, "x"),))', "outside of 0 to"),
    "names who is not there": ('return Plan((Wish("vm2", 1, "x"),))', "guest 'vm2', which the view does not have"),
    "remembers too much": ('return Plan(memory="x" * 10**6)', "65536 are the most"),
    "returns nothing": ("pass", "plan() returned None, not a Plan"),
    "remembers too deeply": (
        "x = 1\n        for _ in range(199): x = [x]\n        return Plan(memory=x)",
        "memory nests more than 64 levels deep",
    ),
    "raises what is no error": ("raise KeyboardInterrupt", "policy 'bad' raised an error\n"),
    "recurses in C": (
        """import sys
        sys.setrecursionlimit(10**9)
        class Again:
            def __repr__(self): return repr(self)
        repr(Again())""",
        "",
    ),
    "opens a socket": ("import socket; socket.socket()", "a policy may not open a socket"),
    "closes all it finds": ("import os; os.closerange(0, 64)", "its process ended by itself"),
    "has threads without end": (
        """import threading
        while True: threading.Thread(target=threading.Event().wait).start()""",
        "can't start new thread",
    ),
}


@pytest.mark.parametrize(("body", "said"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR.keys())
async def test_a_script_that_misbehaves_is_told_of_and_hurts_no_other(
    patient_scripts: SeparateScripts, write: Write, tmp_path: Path, body: str, said: str
) -> None:
    scripts = patient_scripts
    write("bad.py", f"{HEAD}        {body}\n".replace("DIRECTORY", str(tmp_path)))
    await scripts.look()
    with pytest.raises(PolicyError) as caught:
        await scripts.plan("bad", {}, view_json(VIEW))
    assert said in str(caught.value)
    assert "vballoond/" not in str(caught.value)
    assert await reason(scripts) == "VERSION"
    assert not (tmp_path / "written").exists()


LOOPS = {
    "in Python": "while True: pass",
    "whatever is raised": """while True:
            try:
                while True: pass
            except BaseException: pass""",
    "in C": "sum(range(10**12))",
    "in a number": "pow(9, 9**9)",
    "in a pattern": "import re; re.match(r'(a+)+$', 'a' * 40 + 'b')",
    "while its error is shown": """class Error(Exception):
            def __str__(self):
                while True: pass
        raise Error""",
    "asleep": "import time\n        while True: time.sleep(1)",
}


@pytest.mark.parametrize("body", LOOPS.values(), ids=LOOPS.keys())
async def test_a_script_that_loops_is_killed_and_its_lines_are_shown(
    scripts: SeparateScripts, write: Write, body: str, tmp_path: Path
) -> None:
    write("bad.py", f"{HEAD}        {body}\n")
    await scripts.look()
    pid = scripts.pid
    with pytest.raises(PolicyError) as caught:
        await scripts.plan("bad", {}, view_json(VIEW))
    first, *lines = str(caught.value).splitlines()
    assert first == "policy 'bad': it took longer than 1 s, and was killed"
    assert f'File "{tmp_path}/bad.py", line' in lines[-1]
    assert pid is not None
    assert not exists(pid)
    assert await reason(scripts) == "VERSION"


async def test_what_a_script_prints_goes_nowhere(scripts: SeparateScripts, write: Write) -> None:
    body = 'import sys\n        print("x" * 10**7)\n        sys.stderr.write("y" * 10**7)\n        return Plan()'
    write("bad.py", f"{HEAD}        {body}\n")
    assert read_plan(await scripts.plan("bad", {}, view_json(VIEW)), VIEW).wishes == ()


async def test_garbage_in_the_pipe_is_a_failure(scripts: SeparateScripts, write: Write) -> None:
    body = """import os
        for fd in range(3, 9):
            try: os.write(fd, b"garbage!" * 100)
            except OSError: pass"""
    write("bad.py", f"{HEAD}        {body}\n")
    with pytest.raises(PolicyError, match="bytes"):
        await scripts.plan("bad", {}, view_json(VIEW))
    assert await reason(scripts) == "VERSION"


async def test_one_that_fills_the_pipe_and_stays_is_killed_like_any_other(
    scripts: SeparateScripts, write: Write
) -> None:
    # What it writes besides its answers is not read to the end, for which asyncio would wait with the process.
    body = """import os
        for fd in reversed(range(3, 9)):
            try:
                while True: os.write(fd, bytes(1 << 20))
            except OSError: pass"""
    write("bad.py", f"{HEAD}        {body}\n")
    await scripts.look()
    with pytest.raises(PolicyError, match="took longer than 1 s, and was killed"):
        async with asyncio.timeout(60):
            await scripts.plan("bad", {}, view_json(VIEW))
    assert await reason(scripts) == "VERSION"


async def test_one_that_has_files_looked_at_without_end_does_not_get_more_time(
    scripts: SeparateScripts, write: Write
) -> None:
    body = """import sys
        own = sys.modules["__main__"]
        own.pack = lambda message: pack(own.Message({"looking_at": "x", "stamp": [0, 0, 0]}))"""
    write("bad.py", f"from vballoond.runner.messages import pack\n{HEAD}        {body}\n        return Plan()\n")
    await scripts.look()
    with pytest.raises(PolicyError, match="no plan"):
        await scripts.plan("bad", {}, view_json(VIEW))
    assert await reason(scripts) == "VERSION"


@pytest.mark.parametrize("answer", ["b'[' * 1000", "b' ' * (17 << 20)", "b'{}{}'"])
async def test_after_an_answer_that_is_no_plan_the_process_is_another_one(
    scripts: SeparateScripts, write: Write, answer: str
) -> None:
    body = f'import sys\n        sys.modules["__main__"].plan_json = lambda plan: {answer}\n        return Plan()'
    write("bad.py", f"{HEAD}        {body}\n")
    await scripts.look()
    pid = scripts.pid
    with pytest.raises(PolicyError, match=r"policy 'bad': .* came"):
        await scripts.plan("bad", {}, view_json(VIEW))
    assert await reason(scripts) == "VERSION"
    assert scripts.pid != pid


async def test_what_a_script_did_to_its_process_is_over_when_it_is_mended(
    scripts: SeparateScripts, write: Write
) -> None:
    write("bad.py", f"{HEAD}        import math\n        math.inf = 5\n        return Plan()\n")
    await scripts.plan("bad", {}, view_json(VIEW))
    write("bad.py", f"{HEAD}        import math\n        return Plan((Wish('vm1', 4096, str(math.inf)),))\n")
    await scripts.look()
    assert read_plan(await scripts.plan("bad", {}, view_json(VIEW)), VIEW).wishes[0].reason == "inf"


async def test_a_file_that_changes_is_loaded_again_and_the_old_one_stays_where_the_new_one_fails(
    scripts: SeparateScripts, write: Write, tmp_path: Path
) -> None:
    await scripts.look()
    write("good.py", GOOD.replace("VERSION", "two"))
    await scripts.look()
    assert await reason(scripts) == "two"
    write("good.py", "def broken(:\n")
    problem = (await scripts.look()).problems[str(tmp_path / "good.py")]
    assert "SyntaxError" in problem
    assert await reason(scripts) == "two"
    write("good.py", GOOD.replace("VERSION", "three"))
    assert (await scripts.look()).problems == {}
    assert await reason(scripts) == "three"
    (tmp_path / "good.py").unlink()
    assert "good" not in (await scripts.look()).policies


@pytest.mark.parametrize("broken", ["def broken(:\n", "while True: pass\n", "import os\nos._exit(1)\n"])
async def test_the_old_one_stays_though_the_process_is_another_one(
    scripts: SeparateScripts, write: Write, broken: str, tmp_path: Path
) -> None:
    await scripts.look()
    write("good.py", broken)
    assert str(tmp_path / "good.py") in (await scripts.look()).problems
    assert scripts.pid is not None
    os.kill(scripts.pid, signal.SIGKILL)
    await gone(scripts.pid)
    assert str(tmp_path / "good.py") in (await scripts.look()).problems
    assert await reason(scripts) == "VERSION"
    write("good.py", GOOD.replace("VERSION", "mended"))
    assert (await scripts.look()).problems == {}
    assert await reason(scripts) == "mended"


async def test_files_that_hang_are_passed_over_and_the_others_are_there(
    scripts: SeparateScripts, write: Write, tmp_path: Path
) -> None:
    write("a.py", "while True: pass\n")
    write("b.py", "import time\ntime.sleep(1000)\n")
    known = await scripts.look()
    assert sorted(known.problems) == [str(tmp_path / "a.py"), str(tmp_path / "b.py")]
    assert "took longer than 1 s" in known.problems[str(tmp_path / "a.py")]
    assert "good" in known.policies
    assert await scripts.look() == known  # they are not loaded again


async def test_a_question_that_is_given_up_leaves_a_process_for_the_next(
    scripts: SeparateScripts, write: Write
) -> None:
    write("bad.py", f"{HEAD}        while True: pass\n")
    await scripts.look()
    asking = asyncio.create_task(scripts.plan("bad", {}, view_json(VIEW)))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await reason(scripts) == "VERSION"


@pytest.mark.parametrize("turns", range(5))
async def test_a_question_that_is_given_up_twice_leaves_no_process(
    patient_scripts: SeparateScripts, write: Write, turns: int
) -> None:
    write("bad.py", HEAD + "        import time; time.sleep(600)\n")
    await patient_scripts.look()
    pid = patient_scripts.pid
    asked = asyncio.create_task(patient_scripts.plan("bad", {}, view_json(VIEW)))
    await asyncio.sleep(0.05)
    asked.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await gone(pid)


async def test_a_question_that_is_given_up_at_the_last_words_leaves_no_process(
    scripts: SeparateScripts, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("bad.py", HEAD + "        import time; time.sleep(600)\n")
    await scripts.look()
    pid, speaking = scripts.pid, asyncio.Event()

    async def endless(_: Child) -> str:
        speaking.set()
        return str(await asyncio.Event().wait())

    monkeypatch.setattr(Child, "_where", endless)
    asked = asyncio.create_task(scripts.plan("bad", {}, view_json(VIEW)))
    await speaking.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await gone(pid)


async def test_the_process_has_nothing_of_the_daemons_and_is_limited(
    scripts: SeparateScripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    await scripts.look()
    proc = Path(f"/proc/{scripts.pid}")
    assert b"SECRET" not in (proc / "environ").read_bytes()
    assert len(list((proc / "fd").iterdir())) <= 7
    limits = {line[:26].strip(): line[26:].split()[0] for line in (proc / "limits").read_text().splitlines()[1:]}
    assert limits["Max address space"] == str(512 << 20)
    assert limits["Max core file size"] == limits["Max file size"] == limits["Max processes"] == "0"
    assert int(limits["Max open files"]) <= 64
    assert limits["Max cpu time"] != "unlimited"
