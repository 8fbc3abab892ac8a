"""The daemon under test: a process of its own with a balloon for each worker, and what it logs."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, Final, NamedTuple, Self

from .api import Api
from .finding import Finding
from .front_end import PATIENCE_S
from .modelled import MEMORY_MIB

_FEATURES: Final = '["must-tell-host", "stats", "deflate-on-oom", "page-poison", "page-reporting", "free-page-hint"]'
_REMEMBERED_LINES: Final = 30
_KIB: Final = 1024

VHOST_USER: Final = {
    "well-split": ("split", 5),
    "well-packed": ("packed", 5),
    "messages-split": ("split", 0.1),
    "messages-packed": ("packed", 0.1),
    "rings-split": ("split", 0.1),
    "rings-packed": ("packed", 0.1),
    "attacks": ("packed", 0),
}
"""Ring format and statistics interval of each balloon that a VM monitor may connect to."""

MODELLED: Final = "modelled"


def socket_of(directory: Path, name: str) -> Path:
    """Return where a balloon's socket is."""
    return directory / f"{name}.sock"


def configuration() -> str:
    """Return the daemon's configuration file."""
    balloons = [
        f'[[balloon]]\nname = "{name}"\ntransport = "vhost-user"\nsocket = "{name}.sock"\n'
        f'ring = "{ring}"\nfeatures = {_FEATURES}\nstats_interval_s = {interval_s}\n'
        for name, (ring, interval_s) in VHOST_USER.items()
    ]
    modelled = (
        f'[[balloon]]\nname = "{MODELLED}"\ntransport = "in-process"\nmemory = "{MEMORY_MIB}MiB"\n'
        f'ring = "packed"\nfeatures = {_FEATURES}\n'
    )
    return "\n".join(('[http]\nlisten = "127.0.0.1:0"\n', *balloons, modelled))


class Usage(NamedTuple):
    """What the daemon uses: memory of its own, guests' memory that it has looked at with it, and descriptors."""

    own_bytes: int
    resident_bytes: int
    descriptors: int


class Log:
    """What a daemon logs: it is read as it comes, the newest lines are kept, and so is what must not be in it."""

    def __init__(self, file: IO[str]) -> None:
        self.newest: Final[deque[str]] = deque(maxlen=_REMEMBERED_LINES)
        self.wrong: Final[list[str]] = []
        self._file: Final = file
        self._thread: Final = threading.Thread(target=self._read, name="log")
        self._thread.start()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()
        self._file.close()

    def _read(self) -> None:
        for line in self._file:
            self.newest.append(line)
            if must_not_be_logged(line):
                self.wrong.append(line)


def must_not_be_logged(line: str) -> bool:
    """Say whether a line tells of a defect: a traceback, something critical, or what is no log line at all."""
    try:
        entry = json.loads(line)
    except ValueError:
        return True
    return not isinstance(entry, dict) or "Traceback" in line or entry.get("level") == "critical"


class Daemon:
    """A daemon that serves; killed where it was not ended.

    Args:
        directory: Where its configuration and its sockets are.
    """

    def __init__(self, directory: Path) -> None:
        config = directory / "vballoond.toml"
        config.write_text(configuration())
        self._process: Final = subprocess.Popen(  # noqa: S603 (this very program)
            [sys.executable, "-m", "vballoond", "serve", "--no-keeper", "--config", config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("VBALLOOND_")},
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.log: Final = Log(self._process.stderr)
        self.api: Final = self._serving(self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._process.kill()
        self._process.wait()
        self.log.join()

    @property
    def ended(self) -> int | None:
        """Its exit status, where it has ended."""
        return self._process.poll()

    def usage(self) -> Usage:
        """Return what it uses now, by the kernel's account."""
        status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
        sizes = {name: int(size) * _KIB for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE)}
        descriptors = sum(1 for _ in Path(f"/proc/{self._process.pid}/fd").iterdir())
        return Usage(sizes["VmRSS"] - sizes["RssShmem"], sizes["VmRSS"], descriptors)

    def end(self) -> None:
        """Have it end; that it does not, or not with status 0, is a :class:`Finding`."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise Finding(f"the daemon does not end within {PATIENCE_S:g} s of SIGTERM") from error
        if status:
            raise Finding(f"the daemon ends with status {status} on SIGTERM")

    def _serving(self, output: IO[str]) -> Api:
        """Wait until it says that it serves; return its API."""
        said = ""
        with output:
            for line in output:
                said += line
                if "Ctrl-C" in line:
                    break
        address = re.search(r"http://(127\.0\.0\.1):(\d+)/", said)
        if address is None:
            self.__exit__()
            raise Finding(f"the daemon does not start: {said}{''.join(self.log.newest)}")
        return Api(address[1], int(address[2]))
