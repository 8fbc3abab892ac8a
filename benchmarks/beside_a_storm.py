"""What one guest that does its worst costs another guest and the API: ratios within one run.

The daemon is a process of its own. A calm guest has 256 frames inflated and deflated, again and again, and the API is
asked, first alone and then beside another guest's storm: kicks without end, requests without end, messages without end.
A host with fewer free CPUs than the daemon, the storm and the calm guest want measures its scheduler as well.
"""

import multiprocessing
import os
import select
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.api import Api
from fuzz.daemon import Daemon, socket_of
from fuzz.front_end import FrontEnd, Said
from fuzz.vm import OWN_BYTES, Vm
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature

CALM, STORM = "well-split", "rings-split"
ROUNDS: Final = 300
ASKED: Final = 200
FEATURES: Final = int(RingFeature.VERSION_1 | RingFeature.EVENT_IDX)
_FIRST: Final = OWN_BYTES // FRAME_BYTES
_FRAMES: Final = np.arange(_FIRST, _FIRST + 256, dtype="<u4").tobytes()


@contextmanager
def guest(path: Path) -> Iterator[tuple[Vm, FrontEnd]]:
    """A guest whose rings run."""
    vm = Vm(FEATURES)
    with FrontEnd.welcomed(path) as front_end:
        front_end.do(vm.monitor.conversation(table=True))
        yield vm, front_end
    vm.close()


def kicks(path: Path) -> None:
    """Kick both queues as fast as it goes, with nothing in them."""
    with guest(path) as (vm, _):
        fds = [doorbells.kick for doorbells in vm.monitor.doorbells.values()]
        while True:
            for fd in fds:
                os.eventfd_write(fd, 1)


def requests(path: Path) -> None:
    """Keep the queues full of requests of a frame each, inflate and deflate; sleep only where both are full."""
    with guest(path) as (vm, _):
        vm.ram.write(OWN_BYTES - FRAME_BYTES, _FRAMES[:4])
        indices = [vm.indices[QueueRole.INFLATE], vm.indices[QueueRole.DEFLATE]]
        calls = [vm.monitor.doorbells[index].call for index in indices]
        while True:
            for index in indices:
                ring = vm.rings[index]
                while ring.get_used() is not None:
                    pass
                while ring.num_free:
                    ring.add(OWN_BYTES - FRAME_BYTES, 4)
                vm.monitor.kick(index)
            for fd in select.select(calls, [], [])[0]:
                os.eventfd_read(fd)


def messages(path: Path) -> None:
    """Ask for the features without end, with as much on its way as the socket takes."""
    with guest(path) as (_, front_end):
        question = Said(Request.GET_FEATURES).wire() * 64
        while True:
            front_end.socket.sendall(question)
            front_end.socket.recv(1 << 16)


def resizes_s(path: Path) -> list[float]:
    """Return how long each request of the calm guest takes, from its kick to its return."""
    taken = []
    with guest(path) as (vm, _):
        for _ in range(ROUNDS):
            vm.ram.touch(_FIRST, 256)
            for role in (QueueRole.INFLATE, QueueRole.DEFLATE):
                started = time.perf_counter()
                vm.serve(role, _FRAMES)
                taken.append(time.perf_counter() - started)
    return taken


def answers_s(api: Api) -> list[float]:
    """Return how long each answer of the API takes."""
    taken = []
    for _ in range(ASKED):
        started = time.perf_counter()
        api.get("/v1/balloons")
        taken.append(time.perf_counter() - started)
    return taken


def row(what: str, requests_s: list[float], api_s: list[float], alone_s: float) -> None:
    """Print a row of the table."""
    median_s = statistics.median(requests_s)
    figures = [median_s, statistics.quantiles(requests_s, n=100)[98], statistics.quantiles(api_s, n=100)[98]]
    print(f"{what:22}", *(f"{figure * 1000:9.2f} ms" for figure in figures), f"{median_s / alone_s:8.1f} x")


def beside(storm: Callable[[Path], None], directory: Path, api: Api) -> tuple[list[float], list[float]]:
    """Measure while ``storm`` goes on in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=storm, args=(socket_of(directory, STORM),))
    process.start()
    try:
        while api.get(f"/v1/balloons/{STORM}")["state"] != "running":
            time.sleep(0.01)
        return resizes_s(socket_of(directory, CALM)), answers_s(api)
    finally:
        process.kill()
        process.join()


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="vballoond-") as name, Daemon(Path(name)) as daemon:
        directory = Path(name)
        alone, api = resizes_s(socket_of(directory, CALM)), answers_s(daemon.api)
        alone_s = statistics.median(alone)
        print(f"{'':22} {'256 frames':>12} {'at worst 99 %':>12} {'API, 99 %':>12} {'of alone':>10}")
        row("alone", alone, api, alone_s)
        for storm in (kicks, requests, messages):
            row(f"beside {storm.__name__}", *beside(storm, directory, daemon.api), alone_s)


if __name__ == "__main__":
    main()
