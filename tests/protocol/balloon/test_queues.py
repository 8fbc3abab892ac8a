import itertools

import pytest

from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import MAX_QUEUES, QueueRole, compact_roles, queue_roles, specified_roles

INFLATE, DEFLATE, STATS, FREE_PAGE, REPORTING = QueueRole
ALL = BalloonFeature.STATS_VQ | BalloonFeature.FREE_PAGE_HINT | BalloonFeature.PAGE_REPORTING
ALL_ROLES = {0: INFLATE, 1: DEFLATE, 2: STATS, 3: FREE_PAGE, 4: REPORTING}
_OPTIONAL = (
    (BalloonFeature.STATS_VQ, STATS),
    (BalloonFeature.FREE_PAGE_HINT, FREE_PAGE),
    (BalloonFeature.PAGE_REPORTING, REPORTING),
)

every_choice = pytest.mark.parametrize(
    "chosen", [choice for n in range(4) for choice in itertools.combinations(_OPTIONAL, n)]
)


def test_without_optional_features_there_are_inflateq_and_deflateq():
    assert compact_roles(0) == specified_roles(0) == queue_roles(0) == {0: INFLATE, 1: DEFLATE}


def test_with_all_features_both_numberings_agree():
    assert compact_roles(ALL) == specified_roles(ALL) == ALL_ROLES
    assert len(ALL_ROLES) == MAX_QUEUES


@every_choice
def test_compact_numbers_leave_no_gap_and_keep_the_order(chosen):
    features = sum(feature for feature, _ in chosen)
    assert compact_roles(features) == dict(enumerate([INFLATE, DEFLATE, *(role for _, role in chosen)]))


@every_choice
def test_specified_numbers_are_the_same_under_all_features(chosen):
    features = sum(feature for feature, _ in chosen)
    existing = {INFLATE, DEFLATE, *(role for _, role in chosen)}
    assert specified_roles(features) == {number: role for number, role in ALL_ROLES.items() if role in existing}


def test_features_that_bring_no_queue_change_nothing():
    others = BalloonFeature.MUST_TELL_HOST | BalloonFeature.DEFLATE_ON_OOM | BalloonFeature.PAGE_POISON | (1 << 32)
    assert compact_roles(others) == specified_roles(others) == {0: INFLATE, 1: DEFLATE}


def test_a_driver_that_sets_up_compact_numbers_is_followed():
    roles = queue_roles(BalloonFeature.PAGE_REPORTING, frozenset({0, 1, 2}))
    assert roles == {0: INFLATE, 1: DEFLATE, 2: REPORTING}


def test_a_driver_that_sets_up_the_numbers_of_the_specification_is_followed():
    roles = queue_roles(BalloonFeature.PAGE_REPORTING, frozenset({0, 1, 4}))
    assert roles == {0: INFLATE, 1: DEFLATE, 4: REPORTING}


def test_compact_numbers_hold_until_a_number_beyond_them_is_set_up():
    features = BalloonFeature.STATS_VQ | BalloonFeature.PAGE_REPORTING
    assert queue_roles(features, frozenset({0, 1, 2}))[3] is REPORTING
    assert queue_roles(features, frozenset({0, 1, 2, 4})) == {0: INFLATE, 1: DEFLATE, 2: STATS, 4: REPORTING}


@pytest.mark.parametrize("set_up", [{0, 1, 2, 4}, {7}, {0, 1, 3}])
def test_numbers_that_fit_neither_fall_back_to_compact_ones(set_up):
    assert queue_roles(BalloonFeature.PAGE_REPORTING, frozenset(set_up)) == {0: INFLATE, 1: DEFLATE, 2: REPORTING}
