from dataclasses import replace

import pytest
from support.policy_views import a_guest, a_view

from vballoond.errors import OperatorError
from vballoond.lab.simulation.chosen_policy import ChosenPolicy, choose
from vballoond.lab.simulation.snapshots import read_snapshots, would_decide
from vballoond.policy.view import view_json

TIGHT = a_view(a_guest("a", free=600), a_guest("b", free=700), total=4096, available=200)


def recorded(path, *views):
    path.write_bytes(b"\n".join(view_json(view) for view in views) + b"\n\n")
    return path


def test_recorded_views_are_read_line_by_line(tmp_path) -> None:
    later = replace(TIGHT, now_s=TIGHT.now_s + 10)
    assert read_snapshots(recorded(tmp_path / "r.jsonl", TIGHT, later)) == [TIGHT, later]


def test_what_would_have_been_decided_starts_from_what_was_recorded_each_time() -> None:
    later = replace(TIGHT, now_s=TIGHT.now_s + 10)
    first, second = would_decide([TIGHT, later], choose("shares"))
    assert [decision.guest for decision in first.moving] == ["a", "b"]
    assert [decision.from_bytes for decision in second.decisions] == [0, 0]
    assert first.data()["decisions"][0]["balloon"] == "a"


def test_a_policy_remembers_from_one_view_to_the_next() -> None:
    source = (
        "from vballoond.policy import Alert, Plan, Policy\n"
        "class Count(Policy):\n    name = 'count'\n    def plan(self, view, settings):\n"
        "        n = view.memory.get('n', 0) + 1\n"
        "        return Plan(alerts=(Alert(None, f'round {n}'),), memory={'n': n})\n"
    )
    told = would_decide([TIGHT, TIGHT, TIGHT], ChosenPolicy("count", file="count.py", source=source))
    assert [item.alerts for item in told] == [("host: round 1",), ("host: round 2",), ("host: round 3",)]


def test_a_policy_that_fails_is_told_until_it_is_set_aside() -> None:
    source = (
        "from vballoond.policy import Policy\n"
        "class Bad(Policy):\n    name = 'bad'\n    def plan(self, view, settings):\n        return None\n"
    )
    told = would_decide([TIGHT] * 5, ChosenPolicy("bad", file="bad.py", source=source))
    assert "not a Plan" in told[0].problem
    assert "it failed 3 times" in told[4].problem


def test_what_is_no_snapshot_is_told_with_its_line(tmp_path) -> None:
    path = recorded(tmp_path / "r.jsonl", TIGHT)
    path.write_bytes(path.read_bytes() + b'{"now_s": 1}\n')
    with pytest.raises(OperatorError, match="line 3: not a snapshot: host: Field required"):
        read_snapshots(path)
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    with pytest.raises(OperatorError, match="it has no snapshots"):
        read_snapshots(tmp_path / "empty.jsonl")
    with pytest.raises(OperatorError, match="No such file"):
        read_snapshots(tmp_path / "none.jsonl")
