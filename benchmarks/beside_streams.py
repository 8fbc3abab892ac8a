"""What the API's answers take beside 100 open event streams and a guest of 64 GiB that inflates as fast as it goes.

The daemon, the guest and the readers are processes of their own. The guest's memory is a sparse file of which little is
touched. Every reader sees that no event is missing between two that it is told. A host with fewer free CPUs than the
daemon, the guest and the readers want measures its scheduler as well.
"""

import multiprocessing
import re
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.api import Api
from fuzz.daemon import Daemon, socket_of
from fuzz.front_end import FrontEnd
from fuzz.vm import OWN_BYTES, Vm
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.virtio import RingFeature

GUEST: Final = "rings-split"
GUEST_BYTES: Final = 64 << 30
STREAMS: Final = 100
ASKED: Final = 400
FEATURES: Final = int(RingFeature.VERSION_1 | RingFeature.EVENT_IDX)
REQUEST_FRAMES: Final = 256
PATHS: Final = (
    "/v1/balloons",
    f"/v1/balloons/{GUEST}",
    f"/v1/balloons/{GUEST}/frames?first=4096&count=65536",
    "/readyz",
)
_ID: Final = re.compile(rb"^id: \w+-(\d+)$", re.MULTILINE)


def inflate(path: Path) -> None:
    """Inflate all memory but the rings', from the bottom to the top, and deflate it again, without end."""
    vm = Vm(FEATURES, ram_bytes=GUEST_BYTES)
    frames = np.arange(OWN_BYTES // FRAME_BYTES, GUEST_BYTES // FRAME_BYTES, dtype="<u4")
    with FrontEnd.welcomed(path) as front_end:
        front_end.do(vm.monitor.conversation(table=True))
        while True:
            for role in (QueueRole.INFLATE, QueueRole.DEFLATE):
                for at in range(0, frames.size, REQUEST_FRAMES):
                    vm.serve(role, frames[at : at + REQUEST_FRAMES].tobytes())


class Reader:
    """One stream of events: what it has been told, and whether anything is missing."""

    def __init__(self, api: Api) -> None:
        self.socket: Final = socket.create_connection((api.host, api.port))
        self.socket.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.told = self.missing = 0
        self._last = 0
        self._rest = b""

    def read(self) -> None:
        """Take in what has come."""
        lines, newline, self._rest = (self._rest + self.socket.recv(1 << 16)).rpartition(b"\n")
        for number in map(int, _ID.findall(lines + newline)):
            self.missing += self._last != 0 and number != self._last + 1
            self._last = number
            self.told += 1


def read(api: Api, results: Connection) -> None:
    """Read all streams until asked for what came of it."""
    readers = [Reader(api) for _ in range(STREAMS)]
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader.socket, selectors.EVENT_READ, reader)
        results.send(None)
        while not results.poll():
            for key, _ in selector.select(0.05):
                key.data.read()
    results.send((sum(reader.told for reader in readers), sum(reader.missing for reader in readers)))


@contextmanager
def process(target: Callable[..., None], *args: object) -> Iterator[None]:
    """Have something go on in a process of its own."""
    running = multiprocessing.get_context("spawn").Process(target=target, args=args)
    running.start()
    try:
        yield
    finally:
        running.kill()
        running.join()


def answers_s(api: Api) -> list[float]:
    """Return how long each answer of the API takes; a target is set now and then."""
    taken = []
    for number in range(ASKED):
        started = time.perf_counter()
        if number % 20 == 0:
            api.set_target(GUEST, (number + 1) << 20)
        else:
            api.get(PATHS[number % len(PATHS)])
        taken.append(time.perf_counter() - started)
    return taken


def row(what: str, taken_s: list[float]) -> None:
    """Print a row of the table."""
    centiles = statistics.quantiles(taken_s, n=100)
    figures = (statistics.median(taken_s), centiles[94], centiles[98], max(taken_s))
    print(f"{what:42}", *(f"{figure * 1000:9.2f} ms" for figure in figures))


def served_frames(api: Api) -> int:
    """Return how many frames the guest has inflated and deflated."""
    counters = api.get(f"/v1/balloons/{GUEST}")["counters"]
    return int(counters["inflated_frames"] + counters["deflated_frames"])


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="vballoond-") as name, Daemon(Path(name)) as daemon:
        api = daemon.api
        print(f"{'API, ' + str(ASKED) + ' requests':42} {'median':>12} {'95 %':>12} {'99 %':>12} {'slowest':>12}")
        row("alone", answers_s(api))
        with process(inflate, socket_of(Path(name), GUEST)):
            while api.get(f"/v1/balloons/{GUEST}")["state"] != "running":
                time.sleep(0.01)
            row("beside a guest of 64 GiB", answers_s(api))
            ours, theirs = multiprocessing.Pipe()
            with process(read, api, theirs):
                ours.recv()
                before, began_s = served_frames(api), time.perf_counter()
                row(f"beside it and {STREAMS} streams of events", answers_s(api))
                gib = (served_frames(api) - before) * FRAME_BYTES / (time.perf_counter() - began_s) / (1 << 30)
                ours.send(None)
                told, missing = ours.recv()
        print(f"the guest's requests meanwhile: {gib:.2f} GiB/s; events told: {told}, missing: {missing}")


if __name__ == "__main__":
    main()
