"""Workers that serve one vhost-user balloon and die where they are told to: at one line of the daemon's source.

Run as a program this is a zygote: it has imported everything, and forks a worker for each order that it gets on the
socket whose number is its argument. An order is JSON with descriptors: the worker's control socket, and what the worker
before it left. ``support.worker_lives`` is the other end.

A worker dies by ``os._exit``: nothing is closed, flushed or finished, as with SIGKILL.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import traceback
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import vballoond
from vballoond.clock import Clock
from vballoond.config.models import BalloonSettings
from vballoond.holder.holder import Holder
from vballoond.memory.frames import FrameRange
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService
from vballoond.transport.vhost_user.left import sort_out
from vballoond.transport.vhost_user.listener import Listener

MAX_FDS = 250
ORDER_BYTES = 1 << 16

_SOURCE = Path(vballoond.__file__).parent
_ROOMS = tuple(
    f"{_SOURCE / room}/" for room in ("transport/vhost_user", "virtqueue", "service", "state", "holder", "balloon")
)


class Step(NamedTuple):
    """The ``occurrence``-th time (from 1) that a line is about to be executed."""

    file: str  # below vballoond
    line: int
    occurrence: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}#{self.occurrence}"

    @classmethod
    def parse(cls, text: str) -> "Step":
        file, _, place = text.rpartition(":")
        line, _, occurrence = place.partition("#")
        return cls(file, int(line), int(occurrence or 1))


class Death:
    """Ends the process at a step."""

    def __init__(self, step: Step) -> None:
        self._file = str(_SOURCE / step.file)
        self._line = step.line
        self._left = step.occurrence
        self._has: dict[CodeType, bool] = {}

    def __call__(self, frame: FrameType, *_: object) -> Any:
        code = frame.f_code
        if code.co_filename != self._file:
            return None
        if code not in self._has:
            self._has[code] = any(line == self._line for _, _, line in code.co_lines())
        return self._at_line if self._has[code] else None

    def _at_line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line" and frame.f_lineno == self._line:
            self._left -= 1
            if not self._left:
                os._exit(137)
        return self._at_line


class Diary:
    """Counts how often each line is reached."""

    def __init__(self) -> None:
        self.reached: Counter[tuple[str, int]] = Counter()

    def __call__(self, frame: FrameType, *_: object) -> Any:
        return self._at_line if frame.f_code.co_filename.startswith(_ROOMS) else None

    def _at_line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            self.reached[frame.f_code.co_filename, frame.f_lineno] += 1
        return self._at_line

    def to_json(self) -> list[tuple[str, int, int]]:
        """File below vballoond, line, count: in the order in which they were reached for the first time."""
        return [(file.removeprefix(f"{_SOURCE}/"), line, count) for (file, line), count in self.reached.items()]


class Controlled:
    """Does what the test says, a line of JSON at a time."""

    def __init__(self, service: BalloonService, diary: Diary) -> None:
        self._service = service
        self._diary = diary

    def target(self, frames: int) -> bool:
        if self._service.target_frames != frames:  # a worker that died may have done it
            self._service.set_target(frames)
        return True

    def want_statistics(self) -> bool:
        self._service._statistics_due()
        return True

    def show(self) -> dict[str, Any]:
        device, frames = self._service.device, self._service.memory.frame_space.end
        return {
            "state": self._service.state_name,
            "reason": self._service.broken_reason,
            "actual": self._service.actual_frames,
            "target": self._service.target_frames,
            "held": [(part.first, part.count) for part in device.frame_map.ranges(FrameRange(0, frames))],
            "statistics": None if device.state.statistics is None else len(device.state.statistics.values),
            "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        }

    def reached(self) -> list[tuple[str, int, int]]:
        return self._diary.to_json()


async def _serve(order: dict[str, Any], control: socket.socket, fds: list[int], diary: Diary) -> None:
    holder = Holder(order["notify"], kept=dict(zip(order["names"], fds, strict=True)))
    settings = BalloonSettings.model_validate(order["settings"])
    service = BalloonService(settings, Clock(asyncio.get_running_loop().time), Offload())
    service.start()
    left = sort_out(holder.inherited())
    await Listener(service, holder, left.get(settings.name)).start()
    await holder.ready()
    reader, writer = await asyncio.open_unix_connection(sock=control, limit=1 << 24)
    controlled = Controlled(service, diary)
    writer.write(b"null\n")
    while line := await reader.readline():
        command, arguments = json.loads(line)
        writer.write(json.dumps(getattr(controlled, command)(*arguments)).encode() + b"\n")
        await writer.drain()
    os._exit(0)  # the test has seen enough


def _live(order: dict[str, Any], fds: list[int]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    control, *inherited = fds
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    diary = Diary()
    if order["die"] is not None:
        sys.settrace(Death(Step(*order["die"])))
    elif order["record"]:
        sys.settrace(diary)
    try:
        asyncio.run(_serve(order, socket.socket(fileno=control), inherited, diary))
    except BaseException:  # noqa: BLE001 (its log is all that there is of it)
        traceback.print_exc()
    finally:
        os._exit(1)


def main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel may forget its children
    while True:
        data, fds, _, _ = socket.recv_fds(orders, ORDER_BYTES, MAX_FDS)
        if not data:
            return
        if not os.fork():
            orders.close()
            _live(json.loads(data), fds)
        for fd in fds:
            os.close(fd)


if __name__ == "__main__":
    main()
