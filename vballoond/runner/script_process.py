"""The process in which policies run: ``python -m vballoond.runner.script_process``, started by the daemon only.

Rules of this file:

* It answers one question after the other, each with one message, and ends when nobody asks any more.
* Whatever a script prints goes nowhere: standard input and output were the pipes, and are not any more.
* It decides nothing. What it says is read by the daemon as if a stranger had said it.
"""

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from ..errors import OperatorError, PolicyError
from ..policy.asking import ask
from ..policy.blame import own_lines
from ..policy.discover import Catalogue, Found, Loaded, discover, load, stamp_of
from ..policy.plan import plan_json
from ..policy.policy import check_settings
from ..policy.view import read_view
from .confinement import allow_cpu, confine
from .messages import Message, pack, read

MAX_SOURCES_BYTES: Final = 16 << 20
"""Of all files together; what is beyond that is not there for a process after this one, if it cannot be loaded then."""


class _Known(Mapping[str, Loaded]):
    """What was loaded before, by file. It tells the daemon which file is looked at, before that can hang."""

    def __init__(self, files: Mapping[str, Loaded], tell: "ScriptProcess") -> None:
        self._files: Final = files
        self._tell: Final = tell

    def __getitem__(self, path: str) -> Loaded:
        self._tell.looking_at(path)
        return self._files[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


class ScriptProcess:
    """Answers.

    Args:
        incoming: Questions come from there.
        outgoing: Answers go there.
        time_limit_s: How long the daemon waits for one.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO, time_limit_s: float) -> None:
        self._incoming: Final = incoming
        self._outgoing: Final = outgoing
        self._time_limit_s: Final = time_limit_s
        self._catalogue: Catalogue | None = None

    def run(self) -> None:
        """Answer until nobody asks any more."""
        self._send(Message({"ready": os.getpid()}))
        while (question := read(self._incoming)) is not None:
            allow_cpu(self._time_limit_s)
            self._send(self._answer(question))

    def looking_at(self, path: str) -> None:
        """Say which file comes next."""
        self._send(Message({"looking_at": path, "stamp": stamp_of(Path(path))}))

    def _answer(self, question: Message) -> Message:
        found: Found | None = None
        try:
            if question.head["do"] == "look":
                return self._look(question)
            found = self._found(question.head["name"])
            settings = check_settings(found.policy, question.head["settings"])
            if question.head["do"] == "settle":
                return Message({"settled": True}, settings.model_dump_json().encode())
            plan = ask(found, read_view(question.body), settings, question.body)
            return Message({"planned": True}, plan_json(plan))
        except OperatorError as error:
            return Message({"refused": error.detail, "code": error.code})
        except PolicyError as error:
            return Message({"failed": str(error)})
        except BaseException as error:  # noqa: BLE001 (a script can raise anything, and nothing ends this process)
            who = f"policy {question.head['name']!r}" if "name" in question.head else "it"
            return Message({"failed": f"{who} raised an error\n{own_lines(error, found.file if found else '')}"})

    def _found(self, name: str) -> Found:
        assert self._catalogue is not None
        found = self._catalogue.policies.get(name)
        if found is None:
            known = ", ".join(sorted(self._catalogue.policies))
            raise OperatorError(f"there is no policy {name!r}; there are: {known}", status=422, code="no-such-policy")
        return found

    def _look(self, question: Message) -> Message:
        directory = question.head["directory"]
        before = self._catalogue or self._left(json.loads(question.body))
        shown_before = Catalogue(before.policies, before.problems, _Known(before.files, self))
        now = discover(Path(directory) if directory is not None else None, shown_before)
        self._catalogue = now
        loaded = {path: file for path, file in now.files.items() if file is not before.files.get(path)}
        return Message({"looked": True}, json.dumps(_shown(now, loaded)).encode())

    def _left(self, files: list[dict[str, Any]]) -> Catalogue:
        """Return what a process before this one had loaded, from the sources that it told."""
        loaded: dict[str, Loaded] = {}
        for file in files:
            path, stamp, problem = file["path"], tuple(file["stamp"]), file["problem"]
            policies: tuple[Found, ...] = ()
            if file["source"] is not None:
                self.looking_at(path)
                try:
                    policies = load(Path(path), file["source"].encode())
                except PolicyError as error:
                    problem = str(error)
            loaded[path] = Loaded(stamp, policies, problem)
        return Catalogue(files=loaded)

    def _send(self, message: Message) -> None:
        self._outgoing.write(pack(message))
        self._outgoing.flush()


def _shown(catalogue: Catalogue, loaded: Mapping[str, Loaded]) -> dict[str, Any]:
    room = MAX_SOURCES_BYTES
    files = []
    for path, file in catalogue.files.items():
        source = _source(Path(path), file, room) if path in loaded and file.problem is None else None
        room -= len(source or "")
        files.append({"path": path, "stamp": file.stamp, "problem": file.problem, "source": source})
    policies = [found.shown() for found in catalogue.policies.values()]
    return {"policies": policies, "problems": dict(catalogue.problems), "files": files}


def _source(path: Path, file: Loaded, room: int) -> str | None:
    """Return what the file has, if that is what was loaded."""
    try:
        source = path.read_bytes()
        return source.decode() if len(source) <= room and stamp_of(path) == file.stamp else None
    except (OSError, UnicodeDecodeError):
        return None


def main() -> None:
    """Serve the daemon that started this, which says how much memory and time there is, and who it is."""
    memory_bytes, time_limit_s, parent = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    # Scripts may print, read and raise as they like: the pipes are elsewhere before any of them is loaded.
    incoming, outgoing, lines = os.dup(0), os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    # Where a script hangs, the daemon asks for its lines before it kills this process.
    faulthandler.register(signal.SIGUSR1, file=lines, all_threads=False, chain=False)
    with open(incoming, "rb") as reader, open(outgoing, "wb") as writer:  # noqa: PTH123 (descriptors)
        try:
            confine(memory_bytes, parent)
            ScriptProcess(reader, writer, time_limit_s).run()
        except Exception as error:
            os.write(lines, f"{type(error).__name__}: {error}\n".encode())
            raise


if __name__ == "__main__":
    main()
