"""Which features the driver takes: the table of each generation, and virtballoon_validate().

Rules of this file:

* A driver knows what its kernel knew: DEFLATE_ON_OOM came in 2014, the others later. IN_ORDER is known to the newest
  only.
* PAGE_POISON says that the guest will fill its free pages: it is not taken by one that does not. One that does, facing
  a device without PAGE_POISON, must not report free pages, since the host would hand them back with something else in
  them.
* ACCESS_PLATFORM and INDIRECT_DESC are never taken: a stable update of 6.1 and of 6.12 clears the latter.
"""

from typing import Final

from protocol.balloon.features import BalloonFeature
from protocol.virtio import RingFeature

from ..balloon_compaction import Generation
from .state import DriverOptions

_RINGS: Final = int(RingFeature.VERSION_1 | RingFeature.EVENT_IDX | RingFeature.RING_PACKED)
_FIRST: Final = int(BalloonFeature.MUST_TELL_HOST | BalloonFeature.STATS_VQ)
_ALL: Final = sum(BalloonFeature)

KNOWN_FEATURES: Final[dict[Generation, int]] = {
    "2012": _RINGS | _FIRST,
    "2022": _RINGS | _ALL,
    "2026": _RINGS | _ALL | RingFeature.IN_ORDER,
}


def validated(offered: int, options: DriverOptions) -> int:
    """Return which of the features on offer the driver takes."""
    features = offered & KNOWN_FEATURES[options.interface]
    if not (options.page_poisoning or options.init_on_free):
        features &= ~int(BalloonFeature.PAGE_POISON)
    elif not features & BalloonFeature.PAGE_POISON:
        features &= ~int(BalloonFeature.PAGE_REPORTING)
    return features
