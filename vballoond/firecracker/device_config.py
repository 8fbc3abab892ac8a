"""A balloon's settings in the words of Firecracker's configuration, and the other way round.

Rules of this file:

* Amounts are in whole MiB, and intervals in whole seconds. What was set otherwise in finer units is shown rounded: an
  amount down, an interval up, since 0 would be none.
* Statistics are enabled where they are offered and asked for. Firecracker offers them to a guest that is to be asked.
* What Firecracker has no word for, as ``must-tell-host``, stays offered or not as it was.
"""

import math
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES

from ..config.models import BalloonSettings, FeatureName
from ..service.balloon_service import BalloonService
from .bodies import MAX_U16, BalloonConfig

MIB: Final = 1 << 20
FRAMES_PER_MIB: Final = MIB // FRAME_BYTES


def show_config(service: BalloonService) -> BalloonConfig:
    """Return the configuration of a balloon, as a client would have given it."""
    features = service.settings.features
    return BalloonConfig(
        amount_mib=service.target_frames // FRAMES_PER_MIB,
        deflate_on_oom="deflate-on-oom" in features,
        stats_polling_interval_s=polling_interval_s(service),
        free_page_hinting="free-page-hint" in features,
        free_page_reporting="page-reporting" in features,
    )


def polling_interval_s(service: BalloonService) -> int:
    """Return how often statistics are asked for; 0: they are disabled."""
    if "stats" not in service.settings.features:
        return 0
    return min(MAX_U16, math.ceil(service.statistics_interval_s))


def with_features(settings: BalloonSettings, config: BalloonConfig) -> BalloonSettings:
    """Return settings that offer what ``config`` wants, and of all else what they offered before."""
    wanted: dict[FeatureName, bool] = {
        "stats": config.stats_polling_interval_s > 0,
        "deflate-on-oom": config.deflate_on_oom,
        "free-page-hint": config.free_page_hinting,
        "page-reporting": config.free_page_reporting,
    }
    kept = tuple(name for name in settings.features if wanted.get(name, True))
    added = tuple(name for name, offered in wanted.items() if offered and name not in kept)
    return settings.model_copy(update={"features": kept + added})
