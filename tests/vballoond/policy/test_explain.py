import json
from dataclasses import replace
from datetime import UTC, datetime

from support.policy_views import MIB, a_guest, a_view, known, wish

from vballoond.policy import Alert, Plan
from vballoond.policy.comparing import Difference, compare
from vballoond.policy.explain import Round
from vballoond.policy.guard.decide import guard
from vballoond.policy.guard.limits import Limits
from vballoond.policy.view import read_view

VIEW = a_view(a_guest("a", most=300), a_guest("b"))
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_round(**more):
    plan = Plan((wish("a", 400),), alerts=(Alert("a", "look"),))
    decisions = guard(VIEW, plan, known(VIEW), Limits())
    return Round(AT, "test", {"part": 0.5}, VIEW, plan, decisions, **more)


def test_a_record_says_what_went_in_and_what_came_out():
    data = a_round(took_s=0.01).data()
    assert json.loads(json.dumps(data)) == data | {"wishes": [*data["wishes"]], "alerts": [*data["alerts"]]}
    assert (data["at"], data["policy"], data["settings"], data["shadow"]) == (
        "2026-01-02T03:04:05+00:00",
        "test",
        {"part": 0.5},
        False,
    )
    assert data["wishes"] == [{"guest": "a", "target_bytes": 400 * MIB, "reason": "a test wishes so"}]
    assert data["orders"] == [{"guest": "a", "target_bytes": 256 * MIB}]
    assert [change["rule"] for change in data["decisions"][0]["changes"]] == ["bounds", "steps"]
    assert data["alerts"] == [{"guest": "a", "message": "look", "level": "warning"}]


def test_the_view_in_a_record_can_be_asked_about_again():
    assert read_view(json.dumps(a_round().data()["view"])) == VIEW


def test_a_failure_is_a_record_too():
    data = replace(a_round(), plan=None, decisions=None, error="it raised").data()
    assert (data["error"], data["wishes"], data["decisions"], data["orders"]) == ("it raised", [], [], [])


def test_a_shadow_has_wishes_and_no_orders():
    data = replace(a_round(), decisions=None, shadow=True).data()
    assert (len(data["wishes"]), data["orders"], data["shadow"]) == (1, [], True)
    assert data["alerts"] == [{"guest": "a", "message": "look", "level": "warning"}]


def test_two_policies_are_compared_by_what_they_wish():
    acting = Plan((wish("a", 100), wish("b", 50)))
    shadow = Plan((wish("b", 50),))
    assert compare(VIEW, acting, shadow) == (Difference("a", 100 * MIB, 0, "a test wishes so", None),)
    assert compare(VIEW, shadow, acting) == (Difference("a", 0, 100 * MIB, None, "a test wishes so"),)
    assert compare(VIEW, acting, acting) == ()
