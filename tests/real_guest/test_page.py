"""The page in Chromium with a real guest behind the daemon: a person sets a size and sees what comes of it."""

import asyncio
import os
import re
import signal
from pathlib import Path

import aiohttp
import pytest
from support.chromium import Page, chromium, page_in, screenshots
from support.fake_front_end import RING_FEATURES, FakeFrontEnd, FakeGuest, qemu_connect, qemu_start
from support.running_daemon import running_daemon
from support.uml import UmlGuest

pytestmark = pytest.mark.real_guest

__all__ = ["chromium"]

MIB = 1 << 20
INSMOD = "insmod /virtio_balloon.ko"
TOUCH_HALF = "dd if=/dev/zero of=/tmp/half bs=1M count=256 2>/dev/null && rm /tmp/half"
CONFIGURATION = """
[http]
listen = "127.0.0.1:0"

[state]
directory = "state"

[[balloon]]
name = "vm1"
transport = "vhost-user"
socket = "vm1.sock"
stats_interval_s = 1
"""
MAP = "document.querySelector('#map').toDataURL()"


async def set_by_slider(page: Page, to: float) -> None:
    """Drag the slider to a part of its way."""
    now = await page.evaluate("(e => (e.value - e.min) / (e.max - e.min))(document.querySelector('#slider'))")
    # The knob's middle does not reach the ends of the slider.
    await page.drag(await page.place("#slider", 0.01 + 0.98 * now), await page.place("#slider", 0.01 + 0.98 * to))


async def test_a_person_sees_a_real_guest_give_up_memory(serving, chromium, uml_initrd: Path, tmp_path: Path) -> None:
    pictures = screenshots(tmp_path)
    served_guest = serving("vm1", "vm2", stats_interval_s=1)
    async with served_guest as served, page_in(chromium) as page:
        await page.go(f"{served.daemon.api_url}/#vm1")
        await page.until_text("#state", "waiting")
        async with UmlGuest(uml_initrd, tmp_path / "uml", served.socket("vm1")) as guest:
            await guest.run(TOUCH_HALF)
            await guest.run(INSMOD)
            await page.until_text("#state", "running")
            await page.until_text("#map-scale", "shown")
            await page.until("document.querySelector('#slider').max > 450")
            before = await page.evaluate(MAP)

            await set_by_slider(page, 0.25)

            await page.until("document.querySelector('#run').dataset.outcome === 'done'")
            await page.until(f"{MAP} !== {before!r}")
            await page.until("[...document.querySelectorAll('.event b')].some((e) => e.textContent === 'resize-done')")
            await page.until_text("#curves-reading", "guest free")
            balloon = await served.show("vm1")
            assert (
                balloon["actual_bytes"]
                == balloon["target_bytes"]
                == pytest.approx(balloon["memory_bytes"] / 4, abs=8 * MIB)
            )
            assert (await guest.vmstat())["balloon_inflate"] == balloon["held_frames"]
            await page.screenshot(pictures / "real-guest.png")
            await point_at_a_ballooned_cell(page)
            await page.key(*["+"] * 12)
            await page.until_text("#map-scale", "a cell is a frame")
            reading = await page.until_text("#map-reading", "· ballooned")
            assert int(reading.partition(" ")[0], 16) // 4096 in await served.frames("vm1")
            await page.screenshot(pictures / "real-guest-frames.png")
        await page.until_text("#state", "waiting")
        await page.until_text("#map-none", "No guest has connected")


async def point_at_a_ballooned_cell(page: Page) -> None:
    """Move the map's cursor down by rows until it reads that all of a cell is ballooned."""
    await page.focus("#map")
    await page.key("Home")
    for _ in range(100):
        await page.evaluate("new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then)))")
        if "all ballooned" in await page.text("#map-reading"):
            return
        await page.key("ArrowDown")
    raise AssertionError("no cell is ballooned in the first column")


async def test_a_broken_guest_is_seen_with_the_reason(serving, chromium, tmp_path: Path) -> None:
    async with serving("vm1", "vm2") as served, page_in(chromium) as page:
        await page.go(f"{served.daemon.api_url}/#vm1")
        await page.until_text("#state", "waiting")
        guest = FakeGuest()
        queue = guest.add_queue(0)
        front_end = await FakeFrontEnd.connect(served.socket("vm1"), guest)
        try:
            await qemu_start(front_end, await qemu_connect(front_end) & RING_FEATURES)
            await page.until_text("#state", "running")
            queue.ring._avail[1] = 0x4000
            queue.kick()
            await page.until_text("#reason", "Broken: inflateq: the available index is 16384 ahead")
            await page.until_text("#total-broken", "1")
            assert await page.text("#row-vm1 .mark") == "✕"
            await page.until("[...document.querySelectorAll('.event b')].some((e) => e.textContent === 'broken')")
            await page.screenshot(screenshots(tmp_path) / "broken-guest.png")
        finally:
            front_end.close()
            guest.close()


async def test_a_killed_daemon_is_back_and_the_page_goes_on(chromium, uml_initrd: Path, tmp_path: Path) -> None:
    async with running_daemon(tmp_path, configuration=CONFIGURATION) as daemon, page_in(chromium) as page:
        found = re.search(r"http://127\.0\.0\.1:\d+", daemon.said)
        assert found, daemon.said
        await page.go(f"{found[0]}/#vm1")
        async with UmlGuest(uml_initrd, tmp_path / "uml", tmp_path / "vm1.sock") as guest:
            await guest.run(INSMOD)
            await page.until_text("#state", "running")
            await set_by_slider(page, 0.25)
            await page.until("document.querySelector('#run').dataset.outcome === 'done'")
            async with aiohttp.ClientSession() as client, client.get(f"{found[0]}/healthz") as answer:
                pid = (await answer.json())["pid"]
            lost = asyncio.create_task(page.until("document.body.classList.contains('stale')"))
            await page.evaluate("1")
            os.kill(pid, signal.SIGKILL)
            await lost
            await page.screenshot(screenshots(tmp_path) / "lost-worker.png")
            await page.until("!document.body.classList.contains('stale')")
            await page.until_text("#state", "running")
            shown = await page.text("#figure-target")
            await set_by_slider(page, 0.5)
            await page.until(f"document.querySelector('#figure-target').textContent !== {shown!r}")
            await page.until(
                "document.querySelector('#run').dataset.outcome === 'done'"
                " && document.querySelector('#figure-actual').textContent"
                " === document.querySelector('#figure-target').textContent"
            )
            assert (await guest.vmstat())["balloon_inflate"] * 4096 == pytest.approx(250 * MIB, abs=16 * MIB)
            # Of the connections that the worker took with it.
            page.complaints.clear()
