"""The virtio features that the device offers on any transport besides the balloon's own."""

from typing import Final

from protocol.virtio import RingFeature

RING_FEATURES: Final = RingFeature.VERSION_1 | RingFeature.EVENT_IDX | RingFeature.INDIRECT_DESC
