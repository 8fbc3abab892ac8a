"""The same guest with this balloon and with QEMU's own, in one run: how long each takes to inflate and to deflate.

Runs where VBALLOOND_QEMU names a QEMU that can; CONTRIBUTING.md says how to have one. The guest has 2 GiB, 1.5 GiB of
it touched, and no free page reporting, which would give memory back before it is asked for.
"""

import asyncio
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import structlog

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import qemu
from support.console_guest import ConsoleGuest

from vballoond.config.models import BalloonSettings, HttpSettings, Settings
from vballoond.daemon import Daemon

MEMORY_MIB: Final = 2048
TOUCHED_MIB: Final = 1536
BALLOON_MIB: Final = 1024
MIB: Final = 1 << 20
POLL_S: Final = 0.005

Resize = Callable[[int], Awaitable[None]]


class Qmp:
    """As much of QEMU's monitor as a balloon needs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader: Final = reader
        self._writer: Final = writer

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Return what ``command`` returns; events in between are passed over."""
        self._writer.write(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(await self._reader.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise RuntimeError(answer["error"]["desc"])


async def measure(guest: ConsoleGuest, resize: Resize) -> tuple[float, float]:
    """Return the seconds to inflate and to deflate."""
    await guest.run("insmod /virtio_balloon.ko")
    await guest.run(f"dd if=/dev/zero of=/tmp/t bs=1M count={TOUCHED_MIB} 2>/dev/null && rm /tmp/t", timeout_s=300)
    times = []
    for target_mib in (BALLOON_MIB, 0):
        started = time.perf_counter()
        await resize(target_mib)
        times.append(time.perf_counter() - started)
    return times[0], times[1]


async def ours(directory: Path, initrd: Path) -> tuple[float, float]:
    """Measure this balloon."""
    socket = directory / "vm1.sock"
    balloon = BalloonSettings(name="vm1", transport="vhost-user", socket=socket, stats_interval_s=0)
    async with Daemon(Settings(http=HttpSettings(listen="127.0.0.1:0"), balloon=(balloon,))) as daemon:
        service = daemon.registry.find("vm1")

        async def resize(target_mib: int) -> None:
            if not await service.resizing.wait(service.set_target(target_mib * MIB // 4096), 300):
                raise RuntimeError("the target was not reached")

        async with qemu.QemuGuest(initrd, socket, memory_mib=MEMORY_MIB) as guest:
            return await measure(guest, resize)


async def theirs(directory: Path, initrd: Path) -> tuple[float, float]:
    """Measure QEMU's own balloon."""
    socket = directory / "qmp.sock"
    command = [
        *shlex.split(os.environ["VBALLOOND_QEMU"]),
        *("-machine", "q35,memory-backend=ram", "-m", f"{MEMORY_MIB}M", "-nodefaults", "-display", "none"),
        *("-object", f"memory-backend-memfd,id=ram,size={MEMORY_MIB}M,share=on", "-device", "virtio-balloon-pci"),
        *("-qmp", f"unix:{socket},server=on,wait=off"),
        *("-kernel", os.environ["VBALLOOND_QEMU_KERNEL"], "-initrd", str(initrd)),
        *("-append", "console=ttyS0 quiet", "-serial", "stdio", "-no-reboot"),
    ]
    async with ConsoleGuest(command, boot_timeout_s=180) as guest:
        monitor = Qmp(*await asyncio.open_unix_connection(socket))
        await monitor.execute("qmp_capabilities")

        async def resize(target_mib: int) -> None:
            wanted = (MEMORY_MIB - target_mib) * MIB
            await monitor.execute("balloon", value=wanted)
            while (await monitor.execute("query-balloon"))["actual"] != wanted:
                await asyncio.sleep(POLL_S)

        return await measure(guest, resize)


async def run() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="vballoond-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        initrd = qemu.initrd(directory)
        mine, qemus = await ours(directory, initrd), await theirs(directory, initrd)
    print(f"{BALLOON_MIB} MiB of a guest of {MEMORY_MIB} MiB, {TOUCHED_MIB} MiB of it touched")
    for what, ours_s, theirs_s in zip(("inflate", "deflate"), mine, qemus, strict=True):
        print(f"{what:10} vballoond {ours_s:6.2f} s   QEMU {theirs_s:6.2f} s   ratio {ours_s / theirs_s:5.2f}")


def main() -> None:
    """Run where there is a QEMU."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    if reason := qemu.missing():
        print(f"beside QEMU: skipped, {reason}")
    else:
        asyncio.run(run())


if __name__ == "__main__":
    main()
