"""The daemon with real Linux guests: user-mode Linux 6.1."""

import asyncio
import contextlib
import itertools
from pathlib import Path

import pytest
from support.served import MIB, Served
from support.uml import UmlGuest

from guest_driver.virtio_balloon import ARRAY_PFNS_MAX
from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.queues import QueueRole
from vballoond.balloon.facts import ConfigWritten, Fact, Request
from vballoond.config.models import BalloonSettings, HttpSettings, Settings
from vballoond.daemon import Daemon

pytestmark = pytest.mark.real_guest

EVERY_FEATURE = ("must-tell-host", "stats", "deflate-on-oom", "page-poison", "page-reporting", "free-page-hint")
INSMOD = "insmod /virtio_balloon.ko"
RMMOD = "rmmod virtio_balloon"
TOUCH_HALF = "dd if=/dev/zero of=/tmp/half bs=1M count=256 2>/dev/null && rm /tmp/half"


async def assert_maps_agree(served: Served, name: str, guest: UmlGuest) -> set[int]:
    """The daemon's map and the guest's own set of ballooned frames are the same, frame by frame."""
    theirs, covered = await guest.ballooned_frames()
    ours = await served.frames(name)
    assert {pfn for pfn in ours if pfn < covered} == theirs
    # What the guest's file does not cover is a small part at the end of its memory.
    assert covered > 0.9 * max(ours, default=0)
    return ours


@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_a_guest_gives_back_what_it_touched_and_takes_it_again(
    serving, uml_initrd: Path, tmp_path: Path, ring: str
) -> None:
    one_guest = serving("vm1", ring=ring)
    async with one_guest as served, UmlGuest(uml_initrd, tmp_path / "uml", served.socket("vm1")) as guest:
        await guest.run(INSMOD)
        await guest.run(TOUCH_HALF)
        mem_total_kib = await guest.meminfo_kib("MemTotal")
        before = await served.show("vm1")
        touched = served.touched_frames("vm1")

        after = await served.set_mib("vm1", 128)

        assert after["actual_bytes"] == 128 * MIB
        assert after["held_frames"] == 32768
        assert (await guest.vmstat())["balloon_inflate"] == 32768
        assert mem_total_kib - await guest.meminfo_kib("MemTotal") == 128 * 1024
        ballooned = await assert_maps_agree(served, "vm1", guest)
        fallen = before["resident_bytes"] - after["resident_bytes"]
        # The guest goes on living meanwhile, so it may touch a little of the rest.
        assert fallen == pytest.approx(len(ballooned & touched) * 4096, abs=4 * MIB)
        assert fallen > 64 * MIB
        assert after["reclaimed_bytes"] >= fallen
        assert ("ring-packed" in after["features"]["negotiated"]) == (ring == "packed")

        emptied = await served.set_mib("vm1", 0)

        assert emptied["held_frames"] == 0
        assert await served.ranges("vm1") == []
        assert (await guest.vmstat())["balloon_deflate"] == 32768
        assert await guest.meminfo_kib("MemTotal") == mem_total_kib
        assert await guest.complaints() == ""


async def test_pages_that_compaction_moves_are_followed(serving, uml_initrd: Path, tmp_path: Path) -> None:
    async with serving("vm1") as served, UmlGuest(uml_initrd, tmp_path / "uml", served.socket("vm1")) as guest:
        await guest.run(INSMOD)
        await guest.run("dd if=/dev/zero of=/tmp/fill bs=1M count=300 2>/dev/null")
        await served.set_mib("vm1", 64)
        before = await assert_maps_agree(served, "vm1", guest)
        await guest.run("rm /tmp/fill; echo 3 > /proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory")

        vmstat = await guest.vmstat()
        after = await assert_maps_agree(served, "vm1", guest)

        assert vmstat["balloon_migrate"] > 0
        assert len(after - before) > 0
        assert len(after) == len(before) == 16384
        assert (await served.show("vm1"))["actual_bytes"] == 64 * MIB
        assert await guest.complaints() == ""


@pytest.mark.parametrize("features", [("must-tell-host", "stats", "page-poison"), ("must-tell-host", "stats"), ()])
async def test_the_driver_is_removed_and_loaded_again(
    serving, uml_initrd: Path, tmp_path: Path, features: tuple[str, ...]
) -> None:
    serving_quickly = serving("vm1", features=features, stats_interval_s=0.1)
    async with serving_quickly as served, UmlGuest(uml_initrd, tmp_path / "uml", served.socket("vm1")) as guest:
        for _ in range(3):
            await guest.run(INSMOD)
            await served.set_mib("vm1", 32)
            await assert_maps_agree(served, "vm1", guest)
            await guest.run(RMMOD)
            gone = await served.show("vm1")
            assert gone["state"] == "paused"
            assert gone["actual_bytes"] == gone["held_frames"] == 0
            assert gone["target_bytes"] == 32 * MIB
            # A device that went on with the rings of a removed driver would write into this.
            await guest.run("dd if=/dev/zero bs=1M count=200 of=/tmp/x 2>/dev/null")
            assert (await guest.run("tr -d '\\0' < /tmp/x | wc -c; rm /tmp/x")).strip() == "0"
        assert await guest.complaints() == ""


async def test_a_guest_boots_again_on_the_same_socket(serving, uml_initrd: Path, tmp_path: Path) -> None:
    async with serving("vm1") as served:
        for boot in range(2):
            async with UmlGuest(uml_initrd, tmp_path / f"uml{boot}", served.socket("vm1")) as guest:
                await guest.run(INSMOD)
                await served.set_mib("vm1", 48)
                await assert_maps_agree(served, "vm1", guest)
                await guest.power_off()
            async with asyncio.timeout(10):
                while (await served.show("vm1"))["state"] != "waiting":
                    pass
            gone = await served.show("vm1")
            assert (gone["memory_bytes"], gone["held_frames"], gone["target_bytes"]) == (None, 0, 48 * MIB)


async def test_two_guests_at_once_have_a_balloon_each(serving, uml_initrd: Path, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving("vm1", "vm2"))
        guests = {
            name: await stack.enter_async_context(
                UmlGuest(uml_initrd, tmp_path / f"uml-{name}", served.socket(name), memory_mib=256)
            )
            for name in ("vm1", "vm2")
        }
        for guest in guests.values():
            await guest.run(INSMOD)
        await asyncio.gather(served.set_mib("vm1", 96), served.set_mib("vm2", 64))
        for name, guest in guests.items():
            await assert_maps_agree(served, name, guest)
        await asyncio.gather(served.set_mib("vm1", 16), served.set_mib("vm2", 128))
        for name, guest in guests.items():
            await assert_maps_agree(served, name, guest)
            assert await guest.complaints() == ""


async def test_a_target_waits_for_a_driver_that_comes_later(serving, uml_initrd: Path, tmp_path: Path) -> None:
    async with serving("vm1") as served, UmlGuest(uml_initrd, tmp_path / "uml", served.socket("vm1")) as guest:
        async with served.session.patch("/v1/balloons/vm1", json={"target_mib": 40}) as answer:
            waiting = await answer.json()
            assert answer.status == 202
        assert waiting["state"] == "waiting"
        assert waiting["memory_bytes"] is None
        assert waiting["resize"]["stalled"].startswith("no driver")
        await guest.run(INSMOD)
        number = waiting["resize"]["id"]
        assert await served.service("vm1").resizing.wait(number, 30)
        assert (await served.show("vm1"))["actual_bytes"] == 40 * MIB
        await assert_maps_agree(served, "vm1", guest)


async def test_free_memory_is_reported_and_given_back_while_the_balloon_works(
    serving, uml_initrd: Path, tmp_path: Path
) -> None:
    all_at_once = serving("vm1", features=EVERY_FEATURE, stats_interval_s=0.1)
    guest_of = UmlGuest(uml_initrd, tmp_path / "uml", tmp_path / "vm1.sock", append="init_on_free=1")
    async with all_at_once as served, guest_of as guest:
        await guest.run(INSMOD)
        await guest.run(TOUCH_HALF)
        touched = (await served.show("vm1"))["resident_bytes"]
        # Linux reports two seconds after memory was freed.
        await guest.run("sleep 4")
        reported = await served.show("vm1")
        assert reported["counters"]["reported_frames"] > 0
        assert reported["resident_bytes"] < touched / 2
        assert reported["held_frames"] == 0
        for _ in range(10):
            await served.hint("vm1")
            await served.set_mib("vm1", 128)
            await assert_maps_agree(served, "vm1", guest)
            await served.set_mib("vm1", 0)
            await assert_maps_agree(served, "vm1", guest)
        working = await served.show("vm1")
        assert set(EVERY_FEATURE) <= set(working["features"]["negotiated"])
        assert all(working["counters"][what] for what in ("reported_frames", "hinted_frames", "statistics_updates"))
        await guest.run(RMMOD)
        assert await guest.complaints() == ""


async def test_linux_lists_its_free_memory_and_keeps_what_is_in_it(serving, uml_initrd: Path, tmp_path: Path) -> None:
    hinting = serving("vm1", features=("must-tell-host", "stats", "page-poison", "free-page-hint"))
    async with hinting as served, UmlGuest(uml_initrd, tmp_path / "uml", served.socket("vm1")) as guest:
        await guest.run(INSMOD)
        await guest.run("dd if=/dev/urandom of=/tmp/kept bs=1M count=100 2>/dev/null")
        sum_before = await guest.run("md5sum /tmp/kept")
        resident = (await served.show("vm1"))["resident_bytes"]
        for _ in range(3):
            free_kib = await guest.meminfo_kib("MemFree")
            state = await served.hint("vm1")
            # Blocks of 4 MiB, down to the lowest watermark.
            assert 0.7 * free_kib * 1024 < state["hinted_bytes"] <= free_kib * 1024
        assert await guest.run("md5sum /tmp/kept") == sum_before
        assert (await served.show("vm1"))["resident_bytes"] >= resident
        await served.set_mib("vm1", 64)
        await assert_maps_agree(served, "vm1", guest)
        await guest.run(RMMOD)
        assert await guest.complaints() == ""


def request_of(fact: Fact) -> tuple[str, int] | None:
    """What a driver asked for, as the device saw it; statistics come by the clock and are left out."""
    match fact:
        case Request(role=role, data=data) if role is not QueueRole.STATS:
            return role.value, len(data) // 4
        case ConfigWritten(offset=offset, data=data) if offset == BALLOON_CONFIG.offset_of("actual"):
            return "actual", int.from_bytes(data, "little")
    return None


async def test_the_modelled_guest_asks_for_the_same_as_linux(serving, uml_initrd: Path, tmp_path: Path) -> None:
    targets_mib = (64, 65, 20, 0)
    seen: dict[str, list[tuple[str, int]]] = {"linux": [], "model": []}

    def observer_for(name: str):
        return lambda fact: seen[name].append(wanted) if (wanted := request_of(fact)) else None

    async with (
        serving("vm1", observer=observer_for("linux")) as served,
        UmlGuest(uml_initrd, tmp_path / "uml", served.socket("vm1")) as guest,
    ):
        await guest.run(INSMOD)
        for target_mib in targets_mib:
            await served.set_mib("vm1", target_mib)
        # An odd number of frames: the last request is not full.
        number = served.service("vm1").set_target(3 * ARRAY_PFNS_MAX + 7)
        assert await served.service("vm1").resizing.wait(number, 30)
        await guest.run(RMMOD)

    model = BalloonSettings(name="model", transport="in-process", memory="512MiB")
    settings = Settings(http=HttpSettings(listen="127.0.0.1:0"), balloon=(model,))
    async with Daemon(settings, observer_for) as daemon, Served.client(daemon, tmp_path) as served:
        await daemon.fleet.guest("model").booted()
        for target_mib in targets_mib:
            await served.set_mib("model", target_mib)
        number = served.service("model").set_target(3 * ARRAY_PFNS_MAX + 7)
        assert await served.service("model").resizing.wait(number, 30)
        await daemon.fleet.guest("model").remove_driver()

    assert len(seen["linux"]) > 2 * 64
    for step, (linux, model_did) in enumerate(itertools.zip_longest(seen["linux"], seen["model"])):
        assert linux == model_did, f"request {step} of {len(seen['linux'])} and {len(seen['model'])}"
