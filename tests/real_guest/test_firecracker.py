"""A client of Firecracker with a real Linux guest: configured before it boots, resized, asked, hinted, reset."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.firecracker_client import Client, client
from support.uml import UmlGuest

pytestmark = pytest.mark.real_guest

MIB = 1 << 20
INSMOD = "insmod /virtio_balloon.ko"
RMMOD = "rmmod virtio_balloon"
CONFIG = {
    "amount_mib": 16,
    "deflate_on_oom": True,
    "stats_polling_interval_s": 1,
    "free_page_hinting": True,
    "free_page_reporting": False,
}


async def until(asking: Client, path: str, **wanted: Any) -> dict[str, Any]:
    """Ask until the answer has what is wanted."""
    async with asyncio.timeout(60):
        while True:
            answer = await asking.ask("GET", path)
            if answer.status == 200 and wanted.items() <= answer.json().items():
                return answer.json()


async def test_a_client_of_firecracker_drives_a_linux_guest(serving, uml_initrd: Path, tmp_path: Path) -> None:
    fc = tmp_path / "fc.sock"
    async with serving("vm1", firecracker_socket=fc, memory="512MiB") as served, client(fc) as asking:
        await asking.done("PUT", "/balloon", CONFIG)
        assert "before starting" in await asking.refused("PATCH", "/balloon", {"amount_mib": 2})
        async with UmlGuest(uml_initrd, tmp_path / "uml", served.socket("vm1")) as guest:
            await guest.run(INSMOD)
            sizes = await until(asking, "/balloon/statistics", actual_mib=16)
            assert (sizes["target_mib"], sizes["actual_pages"]) == (16, 4096)
            assert "after starting" in await asking.refused("PUT", "/balloon", CONFIG)

            # User-mode Linux has a little more memory than mem= says.
            memory_mib = served.service("vm1").memory.size_bytes // MIB
            assert "should be less than" in await asking.refused("PATCH", "/balloon", {"amount_mib": memory_mib + 1})

            total = await guest.meminfo_kib("MemTotal")
            await asking.done("PATCH", "/balloon", {"amount_mib": 128})
            await until(asking, "/balloon/statistics", actual_mib=128)
            # With deflate-on-oom, MemTotal stays as it is (virtio 1.4 section 5.5.6.1, and Linux).
            assert await guest.meminfo_kib("MemTotal") == total
            assert (await guest.vmstat())["balloon_inflate"] == 32768

            await asking.done("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 2})
            said = await asking.get("/balloon/statistics")
            assert said["total_memory"] == total * 1024
            assert 0 < said["free_memory"] <= said["total_memory"]
            assert "enabled/disabled" in await asking.refused(
                "PATCH", "/balloon/statistics", {"stats_polling_interval_s": 0}
            )

            await asking.done("PATCH", "/balloon/hinting/start")
            assert (await until(asking, "/balloon/hinting/status", host_cmd=1))["guest_cmd"] == 0

            await guest.run(RMMOD)
            await guest.run(INSMOD)
            await until(asking, "/balloon/statistics", target_mib=128, actual_mib=128)
            await asking.done("PATCH", "/balloon", {"amount_mib": 0})
            await until(asking, "/balloon/statistics", actual_pages=0)
            assert await guest.complaints() == ""
            await guest.power_off()
        async with asyncio.timeout(10):
            while (await served.show("vm1"))["state"] != "waiting":
                pass
        assert "before starting" in await asking.refused("GET", "/balloon/statistics")
        await asking.done("PUT", "/balloon", CONFIG)
