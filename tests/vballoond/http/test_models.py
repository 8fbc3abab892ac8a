import pytest
from pydantic import ValidationError

from protocol.balloon.features import BalloonFeature
from protocol.virtio import RingFeature
from vballoond.config.feature_names import FEATURE_NAMES, feature_names
from vballoond.http.models.resize import TargetChange


@pytest.mark.parametrize(
    ("fields", "in_bytes"),
    [({"target_mib": 1}, 1 << 20), ({"target_mib": 0}, 0), ({"target_bytes": 7}, 7), ({"target_mib": -1}, -(1 << 20))],
)
def test_a_target_is_understood_in_either_unit(fields: dict[str, int], in_bytes: int) -> None:
    assert TargetChange(**fields).in_bytes == in_bytes


@pytest.mark.parametrize("fields", [{}, {"target_mib": 1, "target_bytes": 1}, {"target_mib": 0, "target_bytes": 0}])
def test_a_target_is_given_once(fields: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        TargetChange(**fields)


def test_features_have_the_names_of_the_configuration() -> None:
    for name, bit in FEATURE_NAMES.items():
        assert feature_names(bit) == [name]


def test_features_of_the_rings_have_names_too() -> None:
    assert feature_names(RingFeature.VERSION_1 | RingFeature.EVENT_IDX | BalloonFeature.PAGE_REPORTING) == [
        "page-reporting",
        "event-idx",
        "version-1",
    ]
    assert feature_names(0) == []


def test_bits_that_nobody_knows_have_no_names() -> None:
    assert feature_names(1 << 30 | 1 << 63) == []
