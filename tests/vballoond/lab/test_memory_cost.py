"""What a modelled guest costs the daemon: sixteen bytes for each of its frames, nothing for memory that it leaves."""

import os
import subprocess
import sys

import pytest
from support.mm import run

from guest_driver.guest import Guest
from guest_driver.mm.zone import bytes_of, make_zone
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.virtio import RingFeature
from vballoond.balloon.frame_map import FrameMap
from vballoond.lab.direct_device import DirectDevice
from vballoond.memory.frames import FrameRange, FrameSpace

MIB = 1 << 20
BYTES_PER_FRAME = 16
RESIDENT_FIXED_BYTES = 384 << 10
"""What else a guest makes the process touch: Python's objects, pages of shared memory."""

MEASURE = """
import os, sys
from guest_driver.guest import Guest
from vballoond.lab.direct_device import DirectDevice

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def touched(mib):
    guest = Guest(mib << 20)
    device = DirectDevice(guest, 1 << 32)
    guest.load_driver(device)
    guest.kernel.run(0)
    for array in (*guest.zone, device.device.frame_map._held):
        array.fill(array.flat[0])
    return guest, device

warm = touched(16)
before = resident()
kept = touched(int(sys.argv[1]))
print(resident() - before)
"""


@pytest.mark.parametrize("mib", [16, 1024, 64 * 1024])
def test_a_frame_costs_sixteen_bytes(mib):
    frames = mib * MIB // FRAME_BYTES
    frame_map = FrameMap(FrameSpace((FrameRange(0, frames),)))
    in_all = bytes_of(make_zone(frames)) + frame_map._held.nbytes
    assert in_all <= BYTES_PER_FRAME * frames


def test_a_guest_of_a_gibibyte_makes_the_process_grow_by_that():
    frames = 1024 * MIB // FRAME_BYTES
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, "1024"], check=True, capture_output=True, text=True, timeout=120
    )
    grown_bytes = int(measured.stdout)
    assert grown_bytes <= BYTES_PER_FRAME * frames + RESIDENT_FIXED_BYTES
    assert grown_bytes >= 14 * frames, "the measurement has missed the page array"


@pytest.mark.parametrize("mib", [16, 1024])
def test_the_host_has_found_only_the_kernels_memory(mib):
    guest = Guest(mib * MIB)
    device = DirectDevice(guest, int(RingFeature.VERSION_1), discard=False)
    try:
        kernels = guest.total_frames - guest.counts.free
        assert _found_frames(guest) == kernels
        balloon = guest.load_driver(device)
        for frames in (1000, 0):
            device.set_target(frames * FRAME_BYTES)
            guest.kernel.run(0)
            assert balloon.num_pages == frames
        run(guest.kernel, balloon.remove())
        assert _found_frames(guest) == kernels
    finally:
        device.close()
        guest.close()


def _found_frames(guest: Guest) -> int:
    return os.fstat(guest.ram.fd).st_blocks * 512 // FRAME_BYTES
