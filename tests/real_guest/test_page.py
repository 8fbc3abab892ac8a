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
from support.policy_host import PolicyHost
from support.running_daemon import running_daemon
from support.served import Served
from support.uml import UmlGuest

from vballoond.config.models import BalloonSettings, HttpSettings, Settings
from vballoond.config.policy import GuardSettings, PolicySettings
from vballoond.daemon import Daemon

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
FAILS = """
from vballoond.policy import Plan, Policy


class Fails(Policy):
    \"\"\"Divides by what is not there.\"\"\"

    name = "fails"

    def plan(self, view, settings):
        return Plan() if view.host.total_bytes / 0 else Plan()
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


async def choose_policy(page: Page, name: str) -> None:
    """Open the dialog and go to a policy by the arrow keys."""
    await page.focus("#policy-choose")
    await page.key("Enter")
    legend = "document.querySelector('#policy-settings legend').textContent"
    for _ in range(20):
        if await page.evaluate(legend) == f"Settings of {name}":
            return
        await page.key("ArrowDown")
    raise AssertionError(f"there is no policy {name}")


async def test_a_person_tries_a_policy_has_it_act_and_sees_what_it_does(
    chromium, uml_initrd: Path, tmp_path: Path
) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "fails.py").write_text(FAILS)
    (tmp_path / "policies" / "unreadable.py").write_text("def\n")
    guard = GuardSettings(new_for_s=0, take_after_give_s=0, give_after_take_s=0, rate="1GiB", step="8MiB", step_share=0)
    policy = PolicySettings(directory=tmp_path / "policies", interval_s=0.3, guard=guard)
    balloon = BalloonSettings(name="vm1", transport="vhost-user", socket=tmp_path / "vm1.sock", stats_interval_s=0.1)
    settings = Settings(http=HttpSettings(listen="127.0.0.1:0"), policy=policy, balloon=(balloon,))
    async with (
        Daemon(settings, read_host=PolicyHost(total_mib=1000, available_mib=100).read) as daemon,
        Served.client(daemon, tmp_path) as served,
        page_in(chromium) as page,
    ):
        await page.go(f"{daemon.api_url}/#vm1")
        await page.until_text("#policy-problems", "1 file or package could not be loaded")
        async with UmlGuest(uml_initrd, tmp_path / "uml", served.socket("vm1")) as guest:
            await guest.run(INSMOD)
            await page.until_text("#state", "running")
            await page.until_text("#curves-reading", "guest free")

            await choose_policy(page, "watermark")
            await page.key("Enter")
            await page.until_text("#policy-result", "would move 1 balloon. Nothing was changed.")
            assert (await served.show("vm1"))["target_bytes"] == 0
            await page.screenshot(screenshots(tmp_path) / "real-policy-choice.png")
            await page.click("#policy-act")

            await page.until_text("#policy-chosen strong", "watermark")
            await page.until_text("#policy-decision", "of the host is free")
            await page.until("document.querySelector('#decisions .moves .rules')?.textContent.includes('steps')")
            await daemon.policies.reserve(512 * MIB, within_s=60, keep_s=60, purpose="vm7")
            await page.until_text("#reservations", "512 MiB for vm7")
            await page.screenshot(screenshots(tmp_path) / "real-policy.png")
            assert (await served.show("vm1"))["target_bytes"] > 0

            await choose_policy(page, "fails")
            await page.key("Enter")
            await page.until_text("#policy-error", "ZeroDivisionError")
            await page.click("#policy-act")
            await page.until_text("#policy-chosen .policy-mark", "set aside")
            await page.until_text("#policy-chosen .problem pre", "view.host.total_bytes / 0")
            await page.screenshot(screenshots(tmp_path) / "real-policy-set-aside.png")
        # Of the dry run that failed.
        assert len(page.complaints) == 1
        assert "422" in page.complaints.pop()
