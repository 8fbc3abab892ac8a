from support.policy_views import a_guest, a_view

from vballoond.policy import Plan, PolicySettings
from vballoond.policy.builtin.static import Static


def test_nothing_moves_however_short_the_host_is():
    assert Static().plan(a_view(a_guest(free=900), available=0), PolicySettings()) == Plan()
