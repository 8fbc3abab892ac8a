"""What outlives the holder, too: targets, settings and balloons of run time, in one file on disk.

Rules of this file:

* The file is replaced as a whole: written beside, flushed, renamed over, and its directory flushed. Whenever the
  machine stops, the one before or the new one is found.
* It has a version and a checksum. A damaged file is set aside and said; one that a newer vballoond wrote is refused,
  since starting without it could lose what that kept.
* A disk that is full, read-only or gone stops no balloon. It is said once, and tried again at the next change. Only a
  first start is refused for it: nobody depends on the daemon yet.
* A directory that comes back is locked anew before anything is written there: it can be another one.
"""

import asyncio
import fcntl
import json
import os
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import structlog
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..config.models import MAX_STATISTICS_INTERVAL_S, BalloonSettings, FeatureName
from ..errors import StartError
from ..offload import Offload

FORMAT_VERSION: Final = 3
FILE_NAME: Final = "state.json"
_LOCK_NAME: Final = "lock"
_DAMAGED_NAME: Final = "state.json.damaged"

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
UPGRADES: Final[Mapping[int, Upgrade]] = {
    1: lambda content: {**content, "added": []},
    2: lambda content: {**content, "policy": None},
}
"""What makes content of the version after of that of each version before."""


@dataclass(frozen=True)
class KeptBalloon:
    """What was set of one balloon at run time; None: nothing, so the configuration counts."""

    target_bytes: Annotated[int, Field(ge=0)] | None = None
    stats_interval_s: Annotated[float, Field(ge=0, le=MAX_STATISTICS_INTERVAL_S)] | None = None
    features: tuple[FeatureName, ...] | None = None


@dataclass(frozen=True)
class DiskState:
    """The content: what was set of balloons by their names, those that were added at run time, and what policies know.

    ``policy`` is plain JSON data, which :mod:`vballoond.runner.kept` reads.
    """

    balloons: dict[str, KeptBalloon]
    added: tuple[BalloonSettings, ...] = ()
    policy: dict[str, Any] | None = None


_ADAPTER: Final = TypeAdapter(DiskState)


class Disk:
    """The state directory, or none.

    Args:
        directory: Made if missing; None: nothing is kept on disk.
        offload: Where files are written.
        again: Whether guests are served already. Then a directory that cannot be used is a problem, and no error.

    Raises:
        StartError: Exit status 1: another daemon uses the directory, it cannot be used, or its file is a newer
            vballoond's.
    """

    def __init__(self, directory: Path | None, offload: Offload, *, again: bool = False) -> None:
        self.problem: str | None = None
        """Why the last change is not on disk; None where it is."""
        self.content = DiskState({})
        self._directory: Final = directory
        self._offload: Final = offload
        self._writing: Final = asyncio.Lock()
        self._wanted = 0
        self._written = 0
        self._lock_fd: int | None = None
        if directory is None:
            return
        try:
            self._open(directory, for_writing=not again)
        except StartError as error:
            self._unlock()
            if not again:
                raise
            self._say(directory, error.detail)
        except BaseException:
            self._unlock()
            raise

    def _open(self, directory: Path, *, for_writing: bool) -> None:
        self._lock_fd = _locked(directory)
        if for_writing and not os.access(directory, os.W_OK):
            raise StartError(f"state.directory {directory} cannot be written", exit_status=1)
        self.content = _read(directory)

    async def keep(self, content: DiskState) -> None:
        """Return once ``content``, or what came after it, is on disk, or cannot be: ``problem`` says."""
        self.content = content
        self._wanted += 1
        wanted = self._wanted
        if self._directory is not None:
            # A thread that writes cannot be cancelled, so nobody may write beside it who comes after a cancelled one.
            await asyncio.shield(self._write_up_to(self._directory, wanted))

    async def _write_up_to(self, directory: Path, wanted: int) -> None:
        async with self._writing:
            if self._written >= wanted:
                return  # somebody who came later wrote this along
            now = self._wanted
            await self._write(directory, self.content)
            self._written = now

    async def _write(self, directory: Path, content: DiskState) -> None:
        try:
            await self._offload.run(self._lock_and_replace, directory, content)
        except OSError as error:
            self._say(directory, f"the state directory cannot be written: {error.strerror or error}")
            return
        except StartError as error:
            self._say(directory, error.detail)
            return
        if self.problem is not None:
            structlog.get_logger().info("state kept on disk again", directory=str(directory))
        self.problem = None

    def _lock_and_replace(self, directory: Path, content: DiskState) -> None:
        if self._lock_fd is None or not _is_lock_of(directory, self._lock_fd):
            lock_fd = _locked(directory)
            self._unlock()
            self._lock_fd = lock_fd
            try:
                _read(directory)  # what is there now must not be a newer vballoond's
            except StartError:
                self._unlock()
                raise
        _replace(directory, content)

    def _say(self, directory: Path, problem: str) -> None:
        if self.problem is None:
            structlog.get_logger().error("state not kept on disk", directory=str(directory), reason=problem)
        self.problem = problem

    async def close(self) -> None:
        """Let another daemon use the directory, once nothing is being written. Closing twice is harmless."""
        async with self._writing:
            self._unlock()

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def _locked(directory: Path) -> int:
    """Return the descriptor by which the directory is this process's.

    Raises:
        StartError: It is another's, or cannot be had.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # For reading: a file system that has become read-only can still be read, and locked.
        fd = os.open(directory / _LOCK_NAME, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"state.directory {directory} cannot be used: {error.strerror}", exit_status=1) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise StartError(f"state.directory {directory} is in use by another vballoond", exit_status=1) from error
    return fd


def _is_lock_of(directory: Path, fd: int) -> bool:
    try:
        return os.path.samestat((directory / _LOCK_NAME).stat(), os.fstat(fd))
    except OSError:
        return False


def _read(directory: Path) -> DiskState:
    path = directory / FILE_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return DiskState({})
    except OSError as error:
        raise StartError(f"{path} cannot be read: {error.strerror}", exit_status=1) from error
    try:
        return _decode(text, path)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        aside = directory / _DAMAGED_NAME
        with suppress(OSError):
            path.rename(aside)
        structlog.get_logger().error("damaged state set aside", file=str(aside), reason=str(error) or repr(error))
        return DiskState({})


def _decode(text: bytes, path: Path) -> DiskState:
    """Return what is in a file.

    Raises:
        StartError: A newer vballoond wrote it.
        ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError: It is damaged.
    """
    envelope = json.loads(text)
    version, content = int(envelope["version"]), envelope["content"]
    if version > FORMAT_VERSION:
        raise StartError(
            f"{path} is of format {version}, and this vballoond reads up to {FORMAT_VERSION}: a newer one wrote it; "
            f"start that, or move the file away",
            exit_status=1,
        )
    if _checksum(content) != envelope["checksum"]:
        raise ValueError("its checksum is wrong")
    for older in range(version, FORMAT_VERSION):
        content = UPGRADES[older](content)
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        raise ValueError(str(error)) from error


def _replace(directory: Path, state: DiskState) -> None:
    content = _ADAPTER.dump_python(state, mode="json", exclude_unset=True)
    envelope = {"version": FORMAT_VERSION, "checksum": _checksum(content), "content": content}
    new = directory / f"{FILE_NAME}.new"
    with new.open("wb") as file:
        file.write(json.dumps(envelope, indent=1).encode())
        file.flush()
        os.fsync(file.fileno())
    new.rename(directory / FILE_NAME)
    flushed = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(flushed)
    finally:
        os.close(flushed)


def _checksum(content: Any) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
