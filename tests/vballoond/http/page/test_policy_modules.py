"""What the page computes of policies without a document, run in the browser that it is for."""

import json
from typing import Any

import pytest
from support.page_modules import said
from support.scripted_policy import available, decision

from vballoond.policy.builtin import BUILT_IN
from vballoond.policy.policy import check_settings

MIB = 1 << 20

pytestmark = pytest.mark.asyncio(loop_scope="module")


def round_of(number: int, *decisions: Any, policy: str = "psi", **known: Any) -> dict[str, Any]:
    return {
        "number": number,
        "at": f"2026-03-01T12:00:{number:02}Z",
        "policy": policy,
        "shadow": False,
        "error": None,
        "alerts": [],
        "decisions": list(decisions),
        **known,
    }


STAYS, MOVES = decision("demo", 1, 1, 1, "enough"), decision("demo", 1, 9, 5, "short")


async def test_fewer_rounds_are_read_where_each_is_about_many_balloons(modules) -> None:
    cases = [(0, False), (1, False), (60, False), (1000, False), (10, True)]
    assert await said(modules, "roundsFor", "policy_feed.js", *cases) == [40, 40, 10, 2, 80]


async def test_the_newest_decision_about_a_balloon_is_of_a_policy_that_was_heard(modules) -> None:
    other = decision("vm1", 1, 2, 2, "another")
    rounds = [round_of(4, other), round_of(3, MOVES, shadow=True), round_of(2, other, STAYS), round_of(1, MOVES)]
    found, nothing = await said(modules, "newestAbout", "policy_feed.js", (rounds, "demo"), (rounds, "web"))
    assert (found["round"]["number"], found["decision"], nothing) == (2, STAYS, None)


async def test_a_way_says_whether_anything_moves_and_a_wish_only_what_is_new(modules) -> None:
    assert await said(modules, "wayOf", "policy_words.js", (STAYS,), (MOVES,)) == [
        *("stays at 1.00 MiB", "1.00 MiB → 5.00 MiB")
    ]
    assert await said(modules, "wishOf", "policy_words.js", (STAYS,), (MOVES,)) == ["", "wished 9.00 MiB"]


async def test_the_policys_reason_is_told_without_the_guards(modules) -> None:
    ruled = decision("demo", 1, 9, 5, "short; of memory", ("bounds", 8, "8 MiB at most"), ("steps", 5, "a step"))
    odd = {**ruled, "reason": "another text"}
    assert await said(modules, "reasonOf", "policy_words.js", (ruled,), (MOVES,), (odd,)) == [
        *("short; of memory", "short", "another text")
    ]
    assert await said(modules, "changeText", "policy_words.js", (ruled["changes"][0],)) == [
        "bounds: 8.00 MiB, 8 MiB at most"
    ]


async def test_a_problem_is_a_sentence_and_lines(modules) -> None:
    cases = ["raised an error\n  File x\nValueError: 7", "it hangs\n", "last with: Error\n  File x\nError", "x" * 900]
    parts = await said(modules, "problemParts", "policy_words.js", *[(case,) for case in cases])
    assert parts[0] == {"sentence": "raised an error: ValueError: 7", "lines": "  File x\nValueError: 7"}
    assert parts[1] == {"sentence": "it hangs", "lines": ""}
    assert parts[2]["sentence"] == "last with: Error"
    assert len(parts[3]["sentence"]) == 402


async def test_a_round_in_an_event_is_told_in_a_line(modules) -> None:
    moved = [{**MOVES, "balloon": f"vm{number}"} for number in range(5)]
    alert = {"balloon": None, "message": "swap is full", "level": "warning"}
    cases = [
        {"policy": "psi", "decisions": moved, "alerts": [], "problem": None},
        {"policy": "psi", "decisions": [], "alerts": [alert], "problem": "it hangs\nfor ever"},
        {"policy": "psi", "decisions": [], "alerts": [], "problem": None},
        {},
    ]
    assert await said(modules, "roundWords", "policy_words.js", *[(case,) for case in cases]) == [
        "psi: vm0 1.00 MiB → 5.00 MiB, vm1 1.00 MiB → 5.00 MiB, vm2 1.00 MiB → 5.00 MiB, 2 balloons more",
        "psi: host: swap is full; it hangs: for ever",
        "psi: acts from now on",
        "",
    ]


async def test_rounds_in_which_nothing_moved_are_one_group_of_one_policy(modules) -> None:
    rounds = [
        *(round_of(13, error="it raised"), round_of(12, error="it raised"), round_of(11, error="it hangs")),
        *(round_of(9, STAYS), round_of(8), round_of(7, STAYS, policy="shares"), round_of(6, MOVES)),
        *(round_of(5, STAYS), round_of(4, MOVES, shadow=True), round_of(3, STAYS), round_of(2, error="it hangs")),
        round_of(1, alerts=[{"balloon": None, "message": "look", "level": "info"}]),
    ]
    (groups,) = await said(modules, "grouped", "round_groups.js", (rounds,))
    assert [(each["newest"]["number"], each["oldest"]["number"], each["rounds"]) for each in groups] == [
        *((13, 12, 2), (11, 11, 1)),
        *((9, 8, 2), (7, 7, 1), (6, 6, 1), (5, 3, 2), (2, 2, 1), (1, 1, 1)),
    ]


async def test_a_group_keeps_its_key_while_rounds_join_it_and_old_ones_go(modules) -> None:
    rounds = [round_of(number, STAYS if number != 4 else MOVES) for number in range(9, 0, -1)]
    before, after, quiet, later = await said(
        *(modules, "grouped", "round_groups.js"),
        *((rounds[2:],), (rounds[:-1],), (rounds[-3:],), (rounds[-2:],)),
    )
    assert [each["key"] for each in before] == [each["key"] for each in after]
    assert len({each["key"] for each in after}) == 3
    assert [each["key"] for each in quiet] == [each["key"] for each in later]


async def test_reservations_that_are_open_come_first_and_old_ones_go(modules) -> None:
    now = 1_000_000_000_000

    def one(number: int, state: str, ago_s: int) -> dict[str, Any]:
        return {"id": number, "state": state, "changed_at": f"2001-09-09T01:{46 - ago_s // 60:02}:40Z"}

    reservations = [one(6, "failed", 0), one(5, "ready", 0), one(4, "claimed", 60), one(3, "expired", 60)]
    reservations += [one(2, "failed", 120), one(1, "failed", 1200)]
    few, many = reservations[:3] + reservations[5:], reservations
    shown = await said(modules, "shownOf", "reservations.js", (few, now), (many, now))
    assert [[each["id"] for each in listed] for listed in shown] == [[5, 6, 4], [5, 6, 4, 3]]


async def test_a_reservation_says_how_it_stands(modules) -> None:
    known = {"bytes": 4 * MIB, "gathered_bytes": MIB, "keep_s": 300, "claimed_by": None}
    at = {"by": "1970-01-01T00:01:30Z", "changed_at": "1970-01-01T00:01:00Z"}
    cases = [({**known, **at, "state": state}, 60_000) for state in ("gathering", "ready")]
    cases.append(({**known, **at, "state": "gathering"}, 91_000))
    assert await said(modules, "standing", "reservations.js", *cases) == [
        "1.00 MiB of 4.00 MiB · in 30 s at the latest",
        "ready, kept for 5 min 00 s",
        "1.00 MiB of 4.00 MiB · the time is over",
    ]
    parts = await said(modules, "gatheredPart", "policy_words.js", *[(case,) for case, _ in cases])
    assert parts == [0.25, 1, 0.25]


async def test_settings_that_are_not_as_usual_come_first(modules) -> None:
    schema = {"properties": {"a": {"default": 1}, "size_bytes": {"default": MIB}, "gone": {"default": None}}}
    (rows,) = await said(modules, "settingsInOrder", "policy_block.js", ({"size_bytes": 2 * MIB, "a": 1}, schema))
    assert [(row["name"], row["text"], row["changed"]) for row in rows] == [
        *(("size_bytes", "2.00 MiB", True), ("a", "1", False), ("gone", "null", False))
    ]


# What is entered for a setting.

SCHEMA = {
    "$defs": {"Mode": {"enum": ["soft", "hard"], "type": "string"}},
    "properties": {
        "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.2, "description": "Of the host."},
        "count": {"type": "integer", "minimum": 1, "exclusiveMaximum": 9},
        "on": {"type": "boolean", "default": True},
        "label": {"type": "string", "default": "x"},
        "mode": {"$ref": "#/$defs/Mode", "default": "soft"},
        "size_bytes": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}], "default": None},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}], "default": 3},
        "list": {"type": "array", "default": [1]},
        "lost": {"$ref": "#/$defs/toString", "default": {}},
    },
}


async def test_each_setting_has_the_field_that_fits(modules) -> None:
    (fields,) = await said(modules, "fieldsOf", "settings_schema.js", (SCHEMA,))
    assert {each["name"]: each["kind"] for each in fields} == {
        "share": "number",
        "count": "number",
        "on": "flag",
        "label": "text",
        "mode": "choice",
        "size_bytes": "number",
        "either": "json",
        "list": "json",
        "lost": "json",
    }
    hints = {each["name"]: each["hint"] for each in fields}
    assert hints["share"] == "Of the host. · more than 0, at most 1 · usually 0.2"
    assert hints["count"] == "whole, at least 1, less than 9 · it must be given"
    assert hints["size_bytes"] == "whole, at least 0 · usually nothing"


async def test_what_is_no_schema_or_too_much_has_no_fields(modules) -> None:
    many = {"properties": {f"s{number}": {} for number in range(101)}}
    assert await said(modules, "fieldsOf", "settings_schema.js", ({},), (None,), (many,)) == [[], [], None]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *(("share", "0.5", 0.5), ("share", " 1e-3 ", 0.001), ("share", "", None), ("size_bytes", "", None)),
        *(("size_bytes", "4096", 4096), ("on", "false", False), ("label", " two words ", " two words ")),
        *(("mode", "hard", "hard"), ("list", "[1, 2]", [1, 2]), ("either", '"text"', "text"), ("either", "7", 7)),
    ],
)
async def test_what_is_entered_becomes_a_value_and_is_shown_again_as_it_was(modules, name, text, value) -> None:
    said_value, again = await modules.module(
        f"const f = m.fieldsOf({json.dumps(SCHEMA)}).find((f) => f.name === {json.dumps(name)});"
        f"const v = m.valueOf(f, {json.dumps(text)}); return [v ?? null, m.valueOf(f, m.textOf(f, v)) ?? null];",
        "m: settings_schema.js",
    )
    assert said_value == again == value


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("share", "lots", "share: lots is not a number"),
        ("share", "Infinity", "share: Infinity is not a number"),
        ("list", "[1,", 'list: [1, is not JSON, such as 3, "text", true, [1, 2] or {"a": 1}'),
    ],
)
async def test_what_is_no_value_is_said_to_be_none(modules, name: str, text: str, why: str) -> None:
    body = (
        f"const f = m.fieldsOf({json.dumps(SCHEMA)}).find((f) => f.name === {json.dumps(name)});"
        f"try {{ m.valueOf(f, {json.dumps(text)}); }} catch (e) {{ return [e instanceof m.NoValue, e.message]; }}"
    )
    assert await modules.module(body, "m: settings_schema.js") == [True, why]


async def test_only_what_is_not_as_usual_is_sent_whatever_it_is_called(modules) -> None:
    sent = await modules.module(
        """const f = (name, usual) => ({name, usual});
        const s = m.settingsOf([[f("a", 1), 1], [f("b", 1), 2], [f("c"), undefined], [f("__proto__", 0), {x: 1}]]);
        return [JSON.stringify(s), Object.getPrototypeOf(s) === Object.prototype];""",
        "m: settings_schema.js",
    )
    assert sent == ['{"b":2,"__proto__":{"x":1}}', True]


@pytest.mark.parametrize("policy", BUILT_IN, ids=lambda policy: policy.name)
async def test_what_the_form_sends_is_what_the_daemon_takes(modules, policy) -> None:
    (schema,) = [each["settings_schema"] for each in available() if each["name"] == policy.name]
    untouched, whole = await modules.module(
        f"const fields = m.fieldsOf({json.dumps(schema)});"
        "const entered = (f) => m.valueOf(f, m.textOf(f, f.usual));"
        "return [m.settingsOf(fields.map((f) => [f, entered(f)])),"
        "  Object.fromEntries(fields.map((f) => [f.name, entered(f) ?? null]))];",
        "m: settings_schema.js",
    )
    assert untouched == {}
    assert check_settings(policy, whole) == check_settings(policy, {})


async def test_the_setting_that_a_refusal_is_about_is_found(modules) -> None:
    details = ["settings of policy 'psi': b.0: too much", "settings of policy 'psi': no: x", "b: x", ""]
    fields = [{"name": "a"}, {"name": "b"}]
    found = await said(modules, "fieldNamedIn", "settings_schema.js", *[(fields, detail) for detail in details])
    assert found == [{"name": "b"}, None, None, None]


async def test_a_plan_is_told_in_a_sentence_with_those_that_move_first(modules) -> None:
    cases = [{"name": "psi", "decisions": each} for each in ([], [STAYS], [STAYS, MOVES, MOVES])]
    assert await said(modules, "planSentence", "plan_result.js", *[(case,) for case in cases]) == [
        "Now psi has no wishes and would move nothing. Nothing was changed.",
        "Now psi has 1 wish and would move nothing. Nothing was changed.",
        "Now psi has 3 wishes and would move 2 balloons. Nothing was changed.",
    ]
    (order,) = await said(modules, "moversFirst", "plan_result.js", ([STAYS, MOVES],))
    assert order == [MOVES, STAYS]


async def test_an_event_is_about_the_balloons_that_it_names(modules) -> None:
    event = {"kind": "policy", "balloon": None, "decisions": [{"balloon": "a"}], "alerts": [{"balloon": "b"}]}
    cases = [(event, "a"), (event, "b"), (event, "c"), ({"balloon": "c"}, "c"), ({"balloon": None}, "c")]
    assert await said(modules, "isAbout", "events.js", *cases) == [True, True, False, True, False]


async def test_many_that_are_set_by_hand_are_told_shortly(modules) -> None:
    balloons = [{"balloon": f"vm{number}", "until": "2026-03-01T12:00:00Z"} for number in range(9)]
    none, many = await said(*(modules, "leftAlone", "policy.js"), ({"left_alone": []},), ({"left_alone": balloons},))
    assert none == ""
    assert many.endswith("and 1 more")


async def test_what_is_asked_for_while_it_reads_is_read_once_afterwards(modules) -> None:
    log = await modules.module(
        """const log = []; let go;
        const read = async () => { log.push("begin"); await new Promise((then) => (go = then)); log.push("end"); };
        const r = new m.Refresh(read, 0);
        const done = r.ask(); r.ask(); r.ask(); r.ask();
        log.push("asked"); go(); while (log.length < 4) await new Promise((then) => setTimeout(then)); go(); await done;
        const failing = new m.Refresh(async () => { log.push("lost"); throw new a.Lost("gone"); }, 0);
        await failing.ask(); await failing.ask();
        return log;""",
        *("m: refresh.js", "a: api.js"),
    )
    assert log == ["begin", "asked", "end", "begin", "end", "lost", "lost"]


@pytest.mark.parametrize(("interval_s", "ticks", "more"), [(0.1, 14, 0), (0.1, 15, 1), (40, 39, 0), (40, 40, 1)])
async def test_rounds_that_no_event_tells_of_are_read_slowly(modules, interval_s, ticks: int, more: int) -> None:
    read = await modules.module(
        f"""const paths = [], view = {{interval_s: {interval_s}, shadow: null}};
        const api = {{json: async (path) => {{ paths.push(path); return {{...view, rounds: []}}; }}}};
        const feed = new m.PolicyFeed(api, {{balloons: new Map()}});
        feed.view = view;
        for (let tick = 0; tick < {ticks}; tick += 1) feed.tick();
        while (paths.length % 2) await null;
        return paths;""",
        "m: policy_feed.js",
    )
    assert read == ["/v1/policy", "/v1/policy/decisions?limit=40"] * more
