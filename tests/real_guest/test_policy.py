"""A real Linux guest under a policy: its programs come into need, and it gets memory back before OOM."""

import asyncio
from pathlib import Path

import pytest
from support.policy_host import PolicyHost
from support.served import MIB, Served
from support.uml import UmlGuest

from vballoond.config.models import BalloonSettings, HttpSettings, Settings
from vballoond.config.policy import GuardSettings, PolicySettings
from vballoond.daemon import Daemon
from vballoond.runner.acting import Acting

pytestmark = pytest.mark.real_guest

# 200 MiB that cannot be dropped, a little at a time, as programs take memory.
FILL = (
    "i=0; while [ $i -lt 40 ]; do dd if=/dev/zero of=/tmp/$i bs=1M count=5 2>/dev/null || break; "
    "usleep 250000; i=$((i+1)); done; echo filled $i"
)
WATERMARK = Acting("watermark", {"samples": 1, "max_balloon_change_percent": 0.2})


@pytest.mark.parametrize("helped", [True, False], ids=["watermark", "nobody"])
async def test_a_guest_in_need_gets_memory_back_before_its_oom_killer_acts(
    uml_initrd: Path, tmp_path: Path, helped: bool
) -> None:
    host = PolicyHost(total_mib=1000, available_mib=100)
    guard = GuardSettings(new_for_s=0, take_after_give_s=0, give_after_take_s=1, rate="1GiB", step="1GiB")
    policy = PolicySettings(name="watermark", settings=dict(WATERMARK.settings), interval_s=0.3, guard=guard)
    balloon = BalloonSettings(
        name="vm1", transport="vhost-user", socket=tmp_path / "vm1.sock", stats_interval_s=0.1, max="384MiB"
    )
    settings = Settings(http=HttpSettings(listen="127.0.0.1:0"), policy=policy, balloon=(balloon,))
    async with (
        Daemon(settings, read_host=host.read) as daemon,
        Served.client(daemon, tmp_path) as served,
        UmlGuest(uml_initrd, tmp_path / "uml", served.socket("vm1")) as guest,
    ):
        await guest.run("insmod /virtio_balloon.ko")
        async with asyncio.timeout(60):
            while (await served.show("vm1"))["actual_bytes"] < 300 * MIB:  # the host is short, so the guest is squeezed
                pass

        if not helped:
            await daemon.policies.choose(Acting("static"), None, change_shadow=False)
        host.available_mib = 500
        if not helped:
            assert await ran_out_of_memory(guest)
            return
        assert "filled 40" in await guest.run(FILL, timeout_s=120)
        assert await oom_kills(guest) == 0
        assert (await served.show("vm1"))["actual_bytes"] < 200 * MIB
        assert (await daemon.policies.status()).acting.problem is None
        assert await guest.complaints() == ""


async def oom_kills(guest: UmlGuest) -> int:
    return int((await guest.run("grep ^oom_kill /proc/vmstat")).split()[1])


async def ran_out_of_memory(guest: UmlGuest) -> bool:
    """Fill a guest that nobody helps: its OOM killer acts, or finds nobody and gives up."""
    try:
        await guest.run(FILL, timeout_s=120)
        return await oom_kills(guest) > 0
    except AssertionError:
        return "deadlocked on memory" in guest.log
