"""What outlives the holder, too: targets, settings and balloons that were set at run time, in one file on disk.

Rules of this file:

* The file is replaced as a whole: written beside, flushed, renamed over, and its directory flushed. Whenever the
  machine stops, the one before or the new one is found.
* It has a version and a checksum. A damaged file is set aside and said; one that a newer vballoond wrote is refused,
  since starting without it could lose what that kept.
* A disk that is full, read-only or gone stops no balloon. It is said, and tried again at the next change.
"""

import asyncio
import fcntl
import json
import os
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..errors import StartError
from ..offload import Offload

FORMAT_VERSION: Final = 1
FILE_NAME: Final = "state.json"
_LOCK_NAME: Final = "lock"
_DAMAGED_NAME: Final = "state.json.damaged"

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
UPGRADES: Final[Mapping[int, Upgrade]] = {}
"""What makes content of the version after of that of each version before."""


@dataclass(frozen=True)
class KeptBalloon:
    """What was set of one balloon at run time; None: nothing, so the configuration counts."""

    target_bytes: int | None = None
    stats_interval_s: float | None = None


@dataclass(frozen=True)
class DiskState:
    """The content. ``added`` are balloons that the API added, as a configuration has them."""

    balloons: dict[str, KeptBalloon]
    added: tuple[dict[str, Any], ...] = ()


_ADAPTER: Final = TypeAdapter(DiskState)


class Disk:
    """The state directory, or none.

    Args:
        directory: Made if missing; None: nothing is kept on disk.
        offload: Where files are written.

    Raises:
        StartError: Exit status 1: another daemon uses the directory, it cannot be used, or its file is a newer
            vballoond's.
    """

    def __init__(self, directory: Path | None, offload: Offload) -> None:
        self.problem: str | None = None
        """Why the last change is not on disk; None where it is."""
        self._directory: Final = directory
        self._offload: Final = offload
        self._writing: Final = asyncio.Lock()
        self._wanted = 0
        self._written = 0
        self._lock_fd: int | None = None
        self.content = DiskState({})
        if directory is not None:
            self._lock_fd = _locked(directory)
            try:
                self.content = _read(directory)
            except BaseException:
                self.close()
                raise

    async def keep(self, content: DiskState) -> None:
        """Return once ``content``, or what came after it, is on disk, or cannot be: ``problem`` says."""
        self.content = content
        self._wanted += 1
        wanted = self._wanted
        if self._directory is None:
            return
        async with self._writing:
            if self._written >= wanted:
                return  # somebody who came later wrote this along
            now = self._wanted
            await self._write(self._directory, self.content)
            self._written = now

    async def _write(self, directory: Path, content: DiskState) -> None:
        try:
            await self._offload.run(_replace, directory, content)
        except OSError as error:
            if self.problem is None:
                structlog.get_logger().error("state not kept on disk", directory=str(directory), reason=str(error))
            self.problem = f"the state directory cannot be written: {error.strerror}"
            return
        if self.problem is not None:
            structlog.get_logger().info("state kept on disk again", directory=str(directory))
        self.problem = None

    def close(self) -> None:
        """Let another daemon use the directory. Closing twice is harmless."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def _locked(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(directory / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"state.directory {directory} cannot be used: {error.strerror}", exit_status=1) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise StartError(f"state.directory {directory} is in use by another vballoond", exit_status=1) from error
    return fd


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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        with suppress(OSError):
            path.rename(directory / _DAMAGED_NAME)
        structlog.get_logger().error("damaged state set aside", file=str(directory / _DAMAGED_NAME), reason=str(error))
        return DiskState({})


def _decode(text: bytes, path: Path) -> DiskState:
    """Return what is in a file.

    Raises:
        StartError: A newer vballoond wrote it.
        ValueError, KeyError, TypeError, AttributeError, RecursionError: It is damaged.
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
    content = _ADAPTER.dump_python(state, mode="json")
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
