"""The virtio features that the device offers to a driver, on any transport."""

from typing import Final

from protocol.virtio import RingFeature

from ..config.models import BalloonSettings

# IN_ORDER costs nothing to promise: every queue of a balloon completes its buffers as they come, the one statistics
# buffer that is held included, since a second one sends it back.
_ANY_RING: Final = RingFeature.VERSION_1 | RingFeature.EVENT_IDX | RingFeature.INDIRECT_DESC | RingFeature.IN_ORDER


def offered_features(settings: BalloonSettings) -> int:
    """Return the feature bits on offer: those of the rings, and those of the balloon that are configured."""
    rings = _ANY_RING | RingFeature.RING_PACKED if settings.ring == "packed" else _ANY_RING
    return int(rings) | int(settings.offered)
