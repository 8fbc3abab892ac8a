"""Feature bits by the names that configuration and API give them."""

from typing import Final

from protocol.balloon.features import BalloonFeature
from protocol.virtio import RingFeature

FEATURE_NAMES: Final = {
    "must-tell-host": BalloonFeature.MUST_TELL_HOST,
    "stats": BalloonFeature.STATS_VQ,
    "deflate-on-oom": BalloonFeature.DEFLATE_ON_OOM,
    "page-poison": BalloonFeature.PAGE_POISON,
    "page-reporting": BalloonFeature.PAGE_REPORTING,
    "free-page-hint": BalloonFeature.FREE_PAGE_HINT,
}
"""The features that can be offered, by their names in configuration and API."""

_FEATURE_BITS: Final[dict[str, int]] = {
    **FEATURE_NAMES,
    **{str(bit.name).lower().replace("_", "-"): bit for bit in RingFeature},
}


def feature_names(features: int) -> list[str]:
    """Return the names of the known bits in ``features``."""
    return [name for name, bit in _FEATURE_BITS.items() if features & bit]
