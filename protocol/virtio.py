"""What every virtio device has: its status field and the feature bits that are not its own.

Source: virtio 1.4 sections 2.1 (device status) and 6 (reserved feature bits).
"""

from enum import IntFlag
from typing import Final

# Section 5: the traditional memory balloon device.
BALLOON_DEVICE_ID: Final = 5

# Section 2.7: a split queue has a power of two of entries, at most this many.
MAX_QUEUE_SIZE: Final = 32768


class DeviceStatus(IntFlag):
    """Section 2.1: how far the driver has come with the device."""

    ACKNOWLEDGE = 1
    DRIVER = 2
    DRIVER_OK = 4
    FEATURES_OK = 8
    NEEDS_RESET = 64
    FAILED = 128


class RingFeature(IntFlag):
    """Section 6: feature bits of the rings and of the transport, by their mask in the 64-bit feature word."""

    INDIRECT_DESC = 1 << 28
    EVENT_IDX = 1 << 29
    VERSION_1 = 1 << 32
    ACCESS_PLATFORM = 1 << 33
    RING_PACKED = 1 << 34
    IN_ORDER = 1 << 35
