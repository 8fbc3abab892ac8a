"""The daemon with QEMU and a Debian kernel over PCI, where VBALLOOND_QEMU names a QEMU that can."""

from pathlib import Path

import pytest
from support.qemu import QemuGuest
from support.served import MIB, Served

pytestmark = pytest.mark.real_guest

INSMOD = "insmod /virtio_balloon.ko"


async def assert_maps_agree(served: Served, guest: QemuGuest) -> None:
    theirs, _ = await guest.ballooned_frames()
    assert await served.frames("vm1") == theirs


@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_a_guest_gives_back_what_it_touched_and_takes_it_again(serving, qemu_initrd: Path, ring: str) -> None:
    async with serving("vm1", ring=ring) as served, QemuGuest(qemu_initrd, served.socket("vm1")) as guest:
        await guest.run(INSMOD)
        await guest.run("dd if=/dev/zero of=/tmp/half bs=1M count=200 2>/dev/null && rm /tmp/half")
        mem_total_kib = await guest.meminfo_kib("MemTotal")
        before = await served.show("vm1")
        touched = served.touched_frames("vm1")

        after = await served.set_mib("vm1", 128)

        assert (await guest.vmstat())["balloon_inflate"] == after["held_frames"] == 32768
        assert mem_total_kib - await guest.meminfo_kib("MemTotal") == 128 * 1024
        await assert_maps_agree(served, guest)
        fallen = before["resident_bytes"] - after["resident_bytes"]
        ballooned = await served.frames("vm1")
        assert fallen == pytest.approx(len(ballooned & touched) * 4096, abs=8 * MIB)

        assert ("ring-packed" in after["features"]["negotiated"]) == (ring == "packed")

        await served.set_mib("vm1", 0)

        assert (await guest.vmstat())["balloon_deflate"] == 32768
        assert await served.ranges("vm1") == []


@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_the_driver_is_removed_and_loaded_again(serving, qemu_initrd: Path, ring: str) -> None:
    features = ("must-tell-host", "stats", "deflate-on-oom", "page-poison", "page-reporting")
    everything = serving("vm1", ring=ring, features=features, stats_interval_s=0.1)
    async with everything as served, QemuGuest(qemu_initrd, served.socket("vm1")) as guest:
        for _ in range(3):
            await guest.run(INSMOD)
            await served.set_mib("vm1", 64)
            await assert_maps_agree(served, guest)
            await guest.run("rmmod virtio_balloon")
            gone = await served.show("vm1")
            assert (gone["state"], gone["held_frames"], gone["actual_bytes"]) == ("paused", 0, 0)


@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_everything_is_on_at_once_and_it_inflates_and_deflates_ten_times(
    serving, qemu_initrd: Path, ring: str
) -> None:
    features = ("must-tell-host", "stats", "deflate-on-oom", "page-poison", "page-reporting", "free-page-hint")
    everything = serving("vm1", ring=ring, features=features, stats_interval_s=0.1)
    async with everything as served, QemuGuest(qemu_initrd, served.socket("vm1"), append="init_on_free=1") as guest:
        await guest.run(INSMOD)
        await guest.run("dd if=/dev/zero of=/tmp/half bs=1M count=200 2>/dev/null && rm /tmp/half; sleep 4")
        for _ in range(10):
            await served.hint("vm1")
            await served.set_mib("vm1", 128)
            await assert_maps_agree(served, guest)
            await served.set_mib("vm1", 0)
            await assert_maps_agree(served, guest)
        working = await served.show("vm1")
        assert set(features) <= set(working["features"]["negotiated"])
        assert all(working["counters"][what] for what in ("reported_frames", "hinted_frames", "statistics_updates"))
        await guest.run("rmmod virtio_balloon")
        assert await guest.complaints() == ""
