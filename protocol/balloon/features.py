"""Feature bits of the balloon: virtio 1.4 section 5.5.3."""

from enum import IntFlag


class BalloonFeature(IntFlag):
    """By their mask in the 64-bit feature word."""

    MUST_TELL_HOST = 1 << 0
    STATS_VQ = 1 << 1
    DEFLATE_ON_OOM = 1 << 2
    FREE_PAGE_HINT = 1 << 3
    PAGE_POISON = 1 << 4
    PAGE_REPORTING = 1 << 5
