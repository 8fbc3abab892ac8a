"""A real Linux guest with a busybox shell on its console, driven line by line."""

import asyncio
import base64
import contextlib
import gzip
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

import numpy as np

BUSYBOX = Path("/bin/busybox")
_KPF_OFFLINE = 23  # /proc/kpageflags: what a balloon holds

# Boots to a shell that runs what it is given and says when it has.
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=90% tmpfs /tmp
stty -echo
dmesg -c > /dev/null
echo guest-is-ready
while IFS= read -r line; do eval "$line"; echo "guest-did: $?"; done
poweroff -f
"""


def missing_tools() -> str | None:
    """Why no initial ramdisk can be built here; None when it can."""
    if not BUSYBOX.exists() or shutil.which("cpio") is None:
        return "Debian's busybox-static and cpio are not installed"
    return None


def build_initrd(directory: Path, module: Path) -> Path:
    """Return an initial ramdisk with busybox and the balloon ``module``, which may be compressed."""
    root = directory / "root"
    for name in ("bin", "dev", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    unpack = {".xz": ["xz", "-dc"], ".zst": ["zstd", "-dc"]}.get(module.suffix, ["cat"])
    with (root / "virtio_balloon.ko").open("wb") as file:
        subprocess.run([*unpack, str(module)], stdout=file, check=True)
    (root / "init").write_text(_INIT)
    (root / "init").chmod(0o755)
    initrd = directory / "initrd.gz"
    subprocess.run(f"cd '{root}' && find . | cpio -o -H newc --quiet | gzip -1 > '{initrd}'", shell=True, check=True)
    return initrd


class ConsoleGuest:
    """One boot of a kernel by ``command``. Use it as an asynchronous context manager."""

    def __init__(self, command: list[str], *, boot_timeout_s: float = 60) -> None:
        self._command = command
        self._boot_timeout_s = boot_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self.log = ""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # User-mode Linux keeps its memory in a file of this directory.
            env={**os.environ, "TMPDIR": "/dev/shm"},
            start_new_session=True,
            limit=1 << 24,
        )
        try:
            await self._until(r"guest-is-ready", timeout_s=self._boot_timeout_s)
        except BaseException:
            await self._kill()
            raise
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._kill()

    async def run(self, command: str, *, timeout_s: float = 60) -> str:
        """Run ``command`` in the guest's shell; return what it printed. A failing command fails the test."""
        status, output = await self.run_status(command, timeout_s=timeout_s)
        assert status == 0, f"{command!r} failed with {status}:\n{output}"
        return output

    async def run_status(self, command: str, *, timeout_s: float = 60) -> tuple[int, str]:
        """Run ``command``; return its exit status and what it printed."""
        self._stdin.write(command.encode() + b"\n")
        output = await self._until(r"guest-did: (\d+)", timeout_s=timeout_s)
        match = re.search(r"guest-did: (\d+)", output)
        assert match is not None
        return int(match[1]), output[: match.start()]

    async def power_off(self) -> None:
        """Power off and wait until the process is gone."""
        self._stdin.write(b"poweroff -f\n")
        assert self._process is not None
        async with asyncio.timeout(60):
            await self._process.wait()

    async def vmstat(self) -> dict[str, int]:
        """The balloon's and compaction's lines of /proc/vmstat."""
        lines = (await self.run("grep -E '^(balloon_|compact_|oom_)' /proc/vmstat")).split("\n")
        return {name: int(value) for name, value in (line.split() for line in lines if line.strip())}

    async def meminfo_kib(self, field: str) -> int:
        """A line of /proc/meminfo."""
        return int((await self.run(f"grep ^{field}: /proc/meminfo")).split()[1])

    async def ballooned_frames(self) -> tuple[set[int], int]:
        """The frames that the guest itself counts as ballooned, and the PFN up to which its file tells."""
        text = await self.run("gzip -c /proc/kpageflags | base64")
        flags = np.frombuffer(gzip.decompress(base64.b64decode(text)), dtype="<u8")
        held = np.flatnonzero(flags >> np.uint64(_KPF_OFFLINE) & np.uint64(1))
        return set(held.tolist()), len(flags)

    async def complaints(self) -> str:
        """What the kernel logged since boot, but for what it says of loaded modules and of emulated clocks."""
        expected = "taints kernel|module verification|Out of puff|drop_caches|Free page reporting"
        expected += "|clocksource|tsc: |TSC found|sched_clock: "
        return await self.run(f"dmesg | grep -vE '{expected}' || true")

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        assert self._process is not None
        assert self._process.stdin is not None
        return self._process.stdin

    async def _until(self, pattern: str, *, timeout_s: float) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        text = ""
        try:
            async with asyncio.timeout(timeout_s):
                while not re.search(pattern, text):
                    line = await self._process.stdout.readline()
                    assert line, f"the guest ended before {pattern!r}:\n{self.log[-4000:]}"
                    text += line.decode(errors="replace")
                    self.log += line.decode(errors="replace")
        except TimeoutError:
            raise AssertionError(f"no {pattern!r} within {timeout_s} s:\n{self.log[-4000:]}") from None
        return text

    async def _kill(self) -> None:
        assert self._process is not None
        # SIGTERM is ignored by a guest that hangs, and its helpers outlive the main process.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._process._transport.close()  # type: ignore[attr-defined]
