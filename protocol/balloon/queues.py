"""The balloon's virtqueues and their numbers: virtio 1.4 section 5.5.2.

The specification gives each queue a fixed number, "free_page_vq only exists if ...". Every Linux driver up to 7.2
counts only the queues that it uses, on every transport, so that a reporting_vq may well be number 2. Both numberings
are known here; which one a driver follows shows in the numbers that it sets up.
"""

from enum import Enum

from .features import BalloonFeature


class QueueRole(Enum):
    """What a queue is for; the value is the name that the specification gives it."""

    INFLATE = "inflateq"
    DEFLATE = "deflateq"
    STATS = "statsq"
    FREE_PAGE = "free_page_vq"
    REPORTING = "reporting_vq"


_NEEDS = {
    QueueRole.INFLATE: BalloonFeature(0),
    QueueRole.DEFLATE: BalloonFeature(0),
    QueueRole.STATS: BalloonFeature.STATS_VQ,
    QueueRole.FREE_PAGE: BalloonFeature.FREE_PAGE_HINT,
    QueueRole.REPORTING: BalloonFeature.PAGE_REPORTING,
}

MAX_QUEUES = len(QueueRole)


def compact_roles(features: int) -> dict[int, QueueRole]:
    """Number only the queues that exist under the acknowledged ``features``, as Linux does."""
    existing = (role for role, needed in _NEEDS.items() if features & needed == needed)
    return dict(enumerate(existing))


def specified_roles(features: int) -> dict[int, QueueRole]:
    """Number the queues as section 5.5.2 prints them, leaving out those that do not exist."""
    return {number: role for number, role in enumerate(_NEEDS) if features & _NEEDS[role] == _NEEDS[role]}


def queue_roles(features: int, set_up: frozenset[int] = frozenset()) -> dict[int, QueueRole]:
    """Say which number has which role, given the queue numbers that the driver has ``set_up`` so far.

    Compact numbering, unless a number beyond it has been set up that fits the specification's own.
    """
    compact, specified = compact_roles(features), specified_roles(features)
    if set_up <= compact.keys() or not set_up <= specified.keys():
        return compact
    return specified
