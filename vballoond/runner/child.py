"""The daemon's side of the process in which policies run.

Rules of this file:

* Nobody waits for a script for longer than its time: then it is asked where it is, and killed with all that it started.
* Whoever gives up a question ends the process with it: it is killed before anything is waited for, so that giving up
  twice leaves none either.
* What it says is bounded before it is read, and checked as if a stranger had said it.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

from ..errors import PolicyError
from ..policy.discover import MAX_FILES
from .messages import BadMessageError, Message, pack, receive

START_S: Final = 30.0
"""Python and its libraries take half a second to start, on a host that is short of memory much longer."""

MOST_FILES_TOLD: Final = 2 * MAX_FILES + 1
"""Each file has the time of an answer while it is loaded: as it was, and as it is. More of them are no answer."""

_LAST_WORDS_S: Final = 0.5
_SILENCE_S: Final = 0.1
_LAST_WORDS_BYTES: Final = 64 << 10
_MODULE: Final = "vballoond.runner.script_process"
_LINE: Final = re.compile(r'^  File "(?P<file>[^"]*)", line (?P<line>\d+) in (?P<name>.*)$', re.MULTILINE)
_MOST_LINES: Final = 10


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a process may use."""

    time_limit_s: float = 2.0
    memory_bytes: int = 512 << 20


class GoneError(Exception):
    """The process has ended, or was killed; the message says why, as a part of a sentence."""

    def __init__(self, reason: str, words: str = "", looking_at: tuple[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.words: Final = words
        """Where it was, as it said itself."""
        self.looking_at: Final = looking_at
        """The file that it was loading, with its stamp, if it was."""

    def report(self, file: str) -> str:
        """Return what happened, with the lines of ``file`` in which it did."""
        found = [match for match in _LINE.finditer(self.words) if match["file"] == file][:_MOST_LINES]
        lines = [f'  File "{match["file"]}", line {match["line"]}, in {match["name"]}' for match in reversed(found)]
        return "\n".join([str(self), *lines])


class Child:
    """A process that answers; :meth:`start` makes one."""

    def __init__(self, process: asyncio.subprocess.Process, bounds: Bounds) -> None:
        self.pid: Final = process.pid
        self._process: Final = process
        self._bounds: Final = bounds

    @classmethod
    async def start(cls, bounds: Bounds) -> Self:
        """Start a process, which has nothing of this one's but three pipes.

        Raises:
            PolicyError: It cannot be had.
        """
        program = [sys.executable, "-s", "-P", "-m", _MODULE]
        limits = [str(bounds.memory_bytes), str(bounds.time_limit_s), str(os.getpid())]
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *(*program, *limits),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=_environ(),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise PolicyError(f"no process for policies can be had: {error.strerror}") from error
        child = cls(process, bounds)
        try:
            async with asyncio.timeout(START_S):
                await child._receive()
        except (TimeoutError, EOFError, BadMessageError) as error:
            await child._end()
            said = (await child._last_words()).strip().splitlines()
            raise PolicyError(f"the process for policies does not start: {said[-1] if said else error!r}") from error
        except BaseException:
            await child._end()
            raise
        return child

    @property
    def alive(self) -> bool:
        """Whether it can be asked, as far as is known."""
        return self._process.returncode is None

    async def ask(self, question: Message) -> Message:
        """Return the answer.

        Raises:
            GoneError: There is none, and never will be.
        """
        looking_at: tuple[str, Any] | None = None
        try:
            async with asyncio.timeout(self._bounds.time_limit_s) as limit:
                assert self._process.stdin is not None
                self._process.stdin.write(pack(question))
                await self._process.stdin.drain()
                files = MOST_FILES_TOLD if question.head.get("do") == "look" else 0
                while "looking_at" in (answer := await self._receive()).head and files > 0:
                    files -= 1
                    looking_at = (str(answer.head["looking_at"]), answer.head.get("stamp"))
                    limit.reschedule(asyncio.get_running_loop().time() + self._bounds.time_limit_s)
                return answer
        except TimeoutError:
            try:
                words = await self._where()
            finally:
                await self._end()
            reason = f"it took longer than {self._bounds.time_limit_s:g} s, and was killed"
            raise GoneError(reason, words, looking_at) from None
        except (EOFError, ConnectionError) as error:
            await self._end(patience_s=_LAST_WORDS_S)
            raise GoneError(self._how_it_ended(), "", looking_at) from error
        except BadMessageError as error:
            await self._end()
            raise GoneError(f"its process sent {error}, and was killed", "", looking_at) from error
        except BaseException:
            await self._end()
            raise

    async def close(self) -> None:
        """End it. Closing twice is harmless."""
        await self._end()

    async def _receive(self) -> Message:
        assert self._process.stdout is not None
        return await receive(self._process.stdout)

    async def _where(self) -> str:
        """Ask it for the lines at which it is."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
        return await self._last_words()

    async def _last_words(self) -> str:
        """Return what it says of itself, which comes in pieces: until it is over, or nothing has come for a moment."""
        assert self._process.stderr is not None
        said = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S) as silence:
                while len(said) < _LAST_WORDS_BYTES and (piece := await self._process.stderr.read(_LAST_WORDS_BYTES)):
                    said += piece
                    silence.reschedule(asyncio.get_running_loop().time() + _SILENCE_S)
        return said.decode(errors="replace")

    async def _end(self, patience_s: float = 0.0) -> None:
        """Kill it with all that it started; one that is about to end by itself gets ``patience_s`` to do so."""
        try:
            if patience_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        await self._process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._close_pipes()
        try:
            await self._process.wait()
        finally:
            if self._process.returncode is not None:  # else asyncio closes it when it sees that end
                self._transport.close()

    @property
    def _transport(self) -> asyncio.SubprocessTransport:
        return cast("asyncio.SubprocessTransport", self._process._transport)  # type: ignore[attr-defined]  # noqa: SLF001

    def _close_pipes(self) -> None:
        """Let go of its pipes: waiting for a process is waiting for their ends, too.

        One that is full of what nobody reads any more has none, and others may have been given the rest. To close all
        of the transport would be to ask for the process's end, of which asyncio would then hear nothing.
        """
        for fd in (0, 1, 2):
            pipe = self._transport.get_pipe_transport(fd)
            if pipe is not None:
                pipe.close()

    def _how_it_ended(self) -> str:
        status = self._process.returncode
        if status is not None and status < 0:
            name = signal.Signals(-status).name if -status in signal.valid_signals() else str(-status)
            return f"its process was ended by {name}"
        return f"its process ended by itself, with status {status}"


def _environ() -> dict[str, str]:
    """Return the environment: nothing of the daemon's own, but where its code is."""
    here = {
        name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH") if name in os.environ
    }
    code = str(Path(__file__).resolve().parents[2])
    return here | {"PYTHONPATH": code, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
