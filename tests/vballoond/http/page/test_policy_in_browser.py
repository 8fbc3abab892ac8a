"""What a person sees of policies and does with them, with a daemon behind it that says what the test has it say."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.chromium import Page, page_in, screenshots
from support.scripted_api import MIB, ScriptedApi
from support.scripted_policy import decision, listed

pytestmark = pytest.mark.long

BROKEN = """policy 'leave-half' raised an error
  File "/etc/vballoond/policies/leave_half.py", line 22, in plan
    share = guest.available_bytes / guest.free_bytes
ZeroDivisionError: division by zero"""
OPEN = "document.querySelector('#policy-dialog').open"


async def shown(page: Page, scripted: ScriptedApi, name: str = "demo") -> None:
    """Open the page, and wait until it knows policies."""
    await page.go(f"{scripted.url}/#{name}")
    await page.until("!document.querySelector('#policy-known').hidden")
    await page.until_text("#name", name)


async def opened(page: Page, name: str) -> None:
    """Open the dialog and choose a policy."""
    await page.focus("#policy-choose")
    await page.key("Enter")
    await page.until(OPEN)
    for _ in range(20):
        if (
            await page.evaluate("document.querySelector('#policy-settings legend').textContent")
            == f"Settings of {name}"
        ):
            return
        await page.key("ArrowDown")
    raise AssertionError(f"there is no policy {name}")


def asked(scripted: ScriptedApi, method: str) -> list[Any]:
    return [body for each, path, body in scripted.asked if each == method and path.startswith("/v1/policy")]


def reads(scripted: ScriptedApi, path: str) -> int:
    return sum(each.partition("?")[0] == path for _, each, _ in scripted.asked)


def a_day_of_policies(scripted: ScriptedApi, now: datetime) -> None:
    """A host on which much happens."""
    policies = scripted.policies
    policies.view["interval_s"] = 10.0
    policies.act("watermark", settings={"pressure_threshold": 0.3, "samples": 3})
    policies.shade(
        "psi",
        ("demo", 512, 640, "1.2 ms of 10 ms pressure, probing"),
        ("db-main", 64, 0, "21 ms of pressure: back off"),
        settings={"interval_s": 6.0},
    )
    policies.view["available"].append(listed("leave-half", summary="Takes half of what guests do not use."))
    policies.view["problems"] = {"/etc/vballoond/policies/broken.py": BROKEN.replace("leave", "broken")}
    policies.view["left_alone"] = [{"balloon": "batch", "until": (now + timedelta(minutes=8)).isoformat()}]
    for step in range(30, 6, -1):
        at = now - timedelta(seconds=10 * step)
        quiet = decision("demo", 256, 256, 256, "41% of the host is free")
        policies.round(at, quiet, decision("db-main", 64, 64, 64, "41% of the host is free"))
    policies.round(
        now - timedelta(seconds=60),
        decision(
            "demo", 256, 700, 512, "18% of the host is free", ("steps", 512, "it moves by 256 MiB in a round at most")
        ),
        decision(
            *("db-main", 64, 32, 64, "18% of the host is free"),
            ("see-saw", 64, "it shrank 12 s ago, and grows again after 100 s"),
        ),
    )
    policies.round(
        now - timedelta(seconds=50),
        decision("demo", 512, 512, 512, "19% of the host is free"),
        alerts=[{"balloon": None, "message": "3.1% of the host is free (low)", "level": "warning"}],
    )
    policies.round(now - timedelta(seconds=40), error=BROKEN)
    policies.round(now - timedelta(seconds=30), decision("demo", 512, 512, 512, "21% of the host is free"))
    policies.round(now - timedelta(seconds=20), decision("demo", 512, 512, 512, "21% of the host is free"))
    policies.reserve(
        1, 512, 0, "failed", now - timedelta(seconds=200), reason="the time is over: 12 MiB of 512 MiB is there"
    )
    policies.reserve(2, 1024, 1024, "ready", now - timedelta(seconds=100), purpose="vm8")
    policies.reserve(
        *(3, 2048, 1300, "gathering", now - timedelta(seconds=20)),
        by=(now + timedelta(seconds=90)).isoformat(),
        purpose="vm7",
        reason="1.27 GiB of 2 GiB is there; guests that follow may give 3.5 GiB more",
    )
    policies.plan = {
        "settings": {"samples": 3},
        "alerts": [{"balloon": "db-main", "message": "it does not follow", "level": "warning"}],
        "decisions": [
            decision("db-main", 64, 64, 64, "it has what it needs"),
            decision("demo", 512, 900, 768, "18% of the host is free", ("steps", 768, "256 MiB in a round at most")),
        ],
    }


@pytest.mark.parametrize("look", ["desktop", "dark", "phone"])
async def test_policies_as_people_see_them(chromium, scripted, tmp_path: Path, look: str) -> None:
    now = datetime.now(UTC)
    scripted.add("demo", target_bytes=512 * MIB, actual_bytes=512 * MIB).held[:131072] = 1
    scripted.add("db-main", target_bytes=64 * MIB, actual_bytes=64 * MIB)
    scripted.add("batch", state="waiting", memory_bytes=None, resident_bytes=None, target_bytes=64 * MIB)
    a_day_of_policies(scripted, now)
    size = {"width": 360, "height": 780, "phone": True} if look == "phone" else {"width": 1440, "height": 1000}
    async with page_in(chromium, dark=look == "dark", **size) as page:
        await shown(page, scripted)
        await page.until_text("#policy-decision", "21% of")
        await page.until_text("#map-scale", "shown")
        pictures = screenshots(tmp_path)
        await page.screenshot(pictures / f"policies-{look}.png", whole=look == "phone")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await opened(page, "watermark")
        await page.key("Enter")
        await page.until_text("#policy-result", "would move 1 balloon")
        await page.screenshot(pictures / f"policy-choice-{look}.png")
        form = "document.querySelector('#policy-form')"
        assert await page.evaluate(f"{form}.scrollWidth <= {form}.clientWidth")


async def test_at_first_nobody_moves_anything(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted)
    assert "static" in await page.text("#policy-chosen")
    assert await page.text("#decisions-none") == "Nothing was decided yet."
    hidden = "['#policy-part', '#reservations-part', '#policy-problems', '#policy-alone']"
    assert await page.evaluate(f"{hidden}.every((e) => document.querySelector(e).hidden)")


async def test_a_round_is_shown_when_an_event_tells_of_it(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted)
    scripted.policies.act("shares")
    change = decision("demo", 0, 900, 256, "3 GiB used above the host's target", ("steps", 256, "256 MiB at most"))
    scripted.policies.round(datetime.now(UTC), change)
    scripted.tell("policy", policy="shares", decisions=[change], alerts=[], problem=None)
    await page.until_text("#decisions .way", "0 B → 256 MiB")
    assert await page.text("#decisions .decision-head .quiet") == "wished 900 MiB"
    assert await page.text("#decisions .decision > .quiet") == "3 GiB used above the host's target"
    assert await page.text("#decisions .rules li") == "steps: 256 MiB, 256 MiB at most"
    assert await page.until_text("#policy-decision .way", "0 B → 256 MiB")
    assert "shares" in await page.text("#policy-when")
    assert await page.text("#events .event-words") == "shares: demo 0 B → 256 MiB"
    await page.click("#events-mine")
    await page.until("document.querySelectorAll('#events .event').length === 1")


async def test_a_storm_of_events_has_policies_read_once_a_second_at_most(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted)
    before = reads(scripted, "/v1/policy")
    for _ in range(200):
        scripted.tell("policy", policy="static", decisions=[], alerts=[], problem=None)
    await page.until("document.querySelectorAll('#events .event').length === 200")
    await page.evaluate("new Promise((then) => setTimeout(then, 100))")
    assert reads(scripted, "/v1/policy") - before <= 2


async def test_rounds_in_which_nothing_moves_are_one_line_that_stays_unfolded(page, scripted) -> None:
    scripted.add("demo")
    scripted.policies.act("shares")
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    quiet = decision("demo", 256, 256, 256, "enough")
    for second in range(3):
        scripted.policies.round(now + timedelta(seconds=second), quiet)
    await shown(page, scripted)
    await page.until_text("#decisions .round-head", "shares, 3 rounds")
    await page.click("#decisions .stayed summary")
    scripted.policies.round(now + timedelta(seconds=9), quiet)
    scripted.tell("policy", policy="shares", decisions=[], alerts=[], problem=None)
    await page.until_text("#decisions .round-head", "shares, 4 rounds")
    assert await page.evaluate("document.querySelector('#decisions .stayed').open")
    assert await page.evaluate("document.querySelectorAll('#decisions .round').length") == 1


async def test_a_policy_that_is_set_aside_says_why_with_its_lines_folded(page, scripted) -> None:
    scripted.add("demo")
    why = "it is set aside, and the last targets hold: it failed 3 times within 300 s, last with: ZeroDivisionError"
    scripted.policies.act("leave-half", problem=f"{why}\n{BROKEN}", set_aside=True)
    await shown(page, scripted)
    assert await page.text("#policy-chosen .policy-mark") == "set aside"
    assert (await page.text("#policy-chosen .problem p")).startswith(why)
    assert not await page.evaluate("document.querySelector('#policy-chosen .problem details').open")
    await page.click("#policy-chosen .problem summary")
    assert "leave_half.py" in await page.text("#policy-chosen .problem pre")
    scripted.policies.act("leave-half")
    scripted.policies.view["available"].append(listed("leave-half"))
    scripted.tell("policy", policy="leave-half", decisions=[], alerts=[], problem=None)
    await page.until("document.querySelector('#policy-chosen .problem').hidden")
    assert await page.evaluate("document.querySelector('#policy-chosen .policy-mark').hidden")


async def test_where_the_one_in_shadow_differs_is_told_there_and_of_the_balloon(page, scripted) -> None:
    scripted.add("demo")
    scripted.policies.shade("psi", ("demo", 512, 640, "probing"), ("vm1", 0, 1, None))
    await shown(page, scripted)
    await page.until_text("#policy-chosen .differences", "640 MiB instead of 512 MiB")
    assert "it has no wish" in await page.text("#policy-chosen .differences")
    assert await page.text("#policy-notes") == "In shadow, psi wishes 640 MiB: probing"


async def test_a_balloon_that_was_set_by_hand_says_so(page, scripted) -> None:
    scripted.add("demo")
    scripted.policies.view["left_alone"] = [{"balloon": "demo", "until": "2026-03-01T12:34:56Z"}]
    await shown(page, scripted)
    assert "policies leave it alone until" in await page.until_text("#policy-notes", "Set by hand")
    assert "demo until" in await page.text("#policy-alone")


async def test_an_older_decision_about_the_chosen_balloon_is_asked_for_once(page, scripted) -> None:
    scripted.add("demo")
    scripted.add("vm1")
    now = datetime.now(UTC)
    scripted.policies.round(now, decision("vm1", 0, 1, 1, "new"))
    older = {**scripted.policies.rounds[0], "at": (now - timedelta(hours=1)).isoformat()}
    heard = {**older, "decisions": [decision("demo", 9, 7, 7, "an hour ago")]}
    scripted.policies.older = [{**older, "shadow": True, "decisions": [decision("demo", 9, 8, 8, "unheard")]}, heard]
    await shown(page, scripted)
    await page.until_text("#policy-decision", "an hour ago")
    await page.evaluate("new Promise((then) => setTimeout(then, 1200))")
    assert sum("balloon=demo" in path for _, path, _ in scripted.asked) == 1
    assert sum("balloon=vm1" in path for _, path, _ in scripted.asked) == 0


async def test_reservations_are_shown_with_how_far_they_are(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted)
    now = datetime.now(UTC)
    scripted.policies.reserve(1, 1024, 256, "gathering", now, by=(now + timedelta(hours=1)).isoformat(), purpose="vm7")
    scripted.tell("reservation", reservation=scripted.policies.reservations[0])
    await page.until_text("#reservations", "1.00 GiB for vm7")
    assert "256 MiB of 1.00 GiB" in await page.text("#reservations")
    assert await page.evaluate("document.querySelector('#reservations .progress').ariaValueNow") == "25"
    await page.until_text("#events .event-words", "1.00 GiB for vm7 gathering")
    scripted.policies.reservations[0].update(state="ready", gathered_bytes=1024 * MIB, changed_at=now.isoformat())
    scripted.tell("reservation", reservation=scripted.policies.reservations[0])
    await page.until_text("#reservations", "ready, kept for")


async def test_a_reservation_that_gathers_is_followed_without_events(page, scripted) -> None:
    scripted.add("demo")
    now = datetime.now(UTC)
    scripted.policies.reserve(1, 1024, 256, "gathering", now, by=(now + timedelta(hours=1)).isoformat())
    await shown(page, scripted)
    await page.until_text("#reservations", "256 MiB of 1.00 GiB")
    scripted.policies.reservations[0].update(gathered_bytes=512 * MIB)
    await page.until_text("#reservations", "512 MiB of 1.00 GiB")


async def test_everything_is_read_again_when_the_daemon_is_back(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted)
    scripted.tell("connected", "demo")
    await page.until("document.querySelectorAll('.event').length === 1")
    await scripted.stop()
    await page.until("document.body.classList.contains('stale')")
    scripted.policies.act("watermark")
    await scripted.start()
    await page.until_text("#policy-chosen", "watermark")
    page.complaints.clear()


HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe"


async def test_what_policies_say_never_becomes_markup(page, scripted) -> None:
    scripted.add("demo")
    policies = scripted.policies
    schema = {"properties": {HOSTILE: {"default": HOSTILE, "description": HOSTILE}, "__proto__": {"default": 1}}}
    schema = {"properties": dict(schema["properties"]), "$defs": {"constructor": HOSTILE}}
    policies.view["available"] = [listed("evil", origin=HOSTILE, summary=HOSTILE, settings_schema=schema)]
    policies.act("evil", problem=f"{HOSTILE}\n{HOSTILE}", set_aside=True, settings={HOSTILE: HOSTILE})
    policies.shade("evil", ("demo", 1, 2, HOSTILE))
    policies.view["problems"] = {HOSTILE: HOSTILE}
    now = datetime.now(UTC)
    alerts = [{"balloon": HOSTILE, "message": HOSTILE, "level": HOSTILE}]
    change = decision("demo", 1, 2, 3, HOSTILE, (HOSTILE, 3, HOSTILE))
    policies.round(now, change, alerts=alerts, error=HOSTILE)
    policies.reserve(1, 10, 1, "gathering", now, purpose=HOSTILE, reason=HOSTILE)
    policies.plan = {"settings": {HOSTILE: HOSTILE}, "decisions": [change], "alerts": alerts}
    await shown(page, scripted)
    scripted.tell("policy", policy=HOSTILE, decisions=[change], alerts=alerts, problem=HOSTILE)
    scripted.tell("reservation", reservation=policies.reservations[0])
    await page.until_text("#decisions", HOSTILE)
    await page.until_text("#reservations", HOSTILE)
    await opened(page, "evil")
    await page.key("Enter")
    await page.until_text("#policy-result", HOSTILE)
    assert await page.evaluate("document.querySelectorAll('img, script:not([src])').length") == 0
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_policy_is_tried_and_then_chosen_by_keyboard_alone(page, scripted) -> None:
    scripted.add("demo")
    scripted.policies.plan["decisions"] = [decision("demo", 0, 512, 256, "short", ("steps", 256, "a step"))]
    await shown(page, scripted)
    await opened(page, "watermark")
    await page.key("Enter")
    await page.until_text("#policy-result", "would move 1 balloon. Nothing was changed.")
    assert asked(scripted, "POST") == [{"name": "watermark", "settings": {}}]
    assert asked(scripted, "PUT") == []
    await page.key("Tab")
    await page.evaluate("document.activeElement.select()")
    await page.key("1")
    assert await page.text("#policy-result") == ""
    await page.key("Enter")
    await page.until_text("#policy-result", "Nothing was changed")
    await page.until("document.activeElement.closest('.setting') !== null")
    for _ in range(20):
        await page.key("Tab")
        if await page.evaluate("document.activeElement.id") == "policy-act":
            break
    await page.key("Enter")
    await page.until(f"!{OPEN}")
    assert asked(scripted, "PUT") == [{"name": "watermark", "settings": {"pressure_threshold": 1}}]
    await page.until_text("#policy-chosen strong", "watermark")
    assert await page.evaluate("document.activeElement.id") == "policy-choose"


async def test_a_policy_is_put_in_shadow_and_taken_from_there(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted)
    await opened(page, "psi")
    await page.click("#policy-shade")
    await page.until(f"!{OPEN}")
    assert asked(scripted, "PUT") == [{"shadow": {"name": "psi", "settings": {}}}]
    await page.until_text("#policy-chosen", "in shadow")
    await opened(page, "static")
    await page.click("#policy-unshade")
    await page.until(f"!{OPEN}")
    assert asked(scripted, "PUT")[1:] == [{"shadow": None}]


@pytest.mark.parametrize("button", ["#policy-dry", "#policy-act", "#policy-shade"])
async def test_what_the_daemon_refuses_is_said_in_place(page, scripted, button: str) -> None:
    scripted.add("demo")
    scripted.policies.refuse = {"detail": "settings of policy 'watermark': samples: Input should be less than 101"}
    await shown(page, scripted)
    await opened(page, "watermark")
    await page.click(button)
    await page.until_text("#policy-error", "samples: Input should be less than 101")
    assert await page.evaluate(OPEN)
    invalid = "[...document.querySelectorAll('[aria-invalid]')].map((e) => e.closest('label').textContent.slice(0, 7))"
    assert await page.evaluate(invalid) == ["samples"]
    assert await page.evaluate("document.activeElement.ariaInvalid") == "true"
    await page.key("7")
    assert await page.evaluate(f"{invalid}.length") == 0
    assert await page.evaluate("document.querySelector('#policy-error .problem').hidden")
    page.complaints.clear()


async def test_what_is_no_number_is_not_sent(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted)
    await opened(page, "watermark")
    await page.key("Tab")
    await page.key("x", "Enter")
    await page.until_text("#policy-error", "is not a number")
    assert asked(scripted, "POST") == []


async def test_a_policy_that_fails_in_a_dry_run_shows_its_lines(page, scripted) -> None:
    scripted.add("demo")
    scripted.policies.refuse = {"detail": BROKEN}
    await shown(page, scripted)
    await opened(page, "psi")
    await page.key("Enter")
    await page.until_text("#policy-error p", "raised an error: ZeroDivisionError: division by zero")
    assert "line 22" in await page.text("#policy-error pre")
    page.complaints.clear()


async def test_an_answer_that_nobody_waits_for_any_more_is_not_shown(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted)
    await opened(page, "psi")
    scripted.policies.held = asyncio.Event()
    await page.key("Enter", "ArrowDown")
    await page.until("document.querySelector('#policy-settings legend').textContent !== 'Settings of psi'")
    assert await page.evaluate("document.querySelector('#policy-dialog').ariaBusy") == "true"
    scripted.policies.held.set()
    await page.until("document.querySelector('#policy-dialog').ariaBusy === 'false'")
    assert await page.text("#policy-result") == ""


async def test_the_settings_in_use_stand_in_the_fields(page, scripted) -> None:
    scripted.add("demo")
    scripted.policies.act("shares", settings={"used_target": 0.7, "step_bytes": 1 << 20})
    await shown(page, scripted)
    assert "Settings, 2 not as usual" in await page.text("#policy-chosen")
    await opened(page, "shares")
    values = "[...document.querySelectorAll('.setting')].map((e) => [e.firstChild.textContent, e.children[1].value])"
    assert ["used_target", "0.7"] in await page.evaluate(values)
    assert "= 1.00 MiB" in await page.text("#policy-settings")
    await page.key("Enter")
    await page.until_text("#policy-result", "no wishes")
    assert asked(scripted, "POST") == [{"name": "shares", "settings": {"used_target": 0.7, "step_bytes": 1 << 20}}]


async def test_escape_leaves_everything_as_it_is(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted)
    await opened(page, "psi")
    await page.key("Escape")
    await page.until(f"!{OPEN}")
    assert asked(scripted, "PUT") == asked(scripted, "POST") == []


async def test_everything_in_the_dialog_has_a_name(page, scripted) -> None:
    scripted.add("demo")
    schema: dict[str, Any] = {"properties": {f"s{number}": {"type": "number"} for number in range(101)}}
    scripted.policies.view["available"].append(listed("zz-many", settings_schema=schema))
    await shown(page, scripted)
    names = (
        "[...document.querySelectorAll('dialog[open] :is(button, input, select, textarea, [tabindex])')]"
        ".filter((e) => e.checkVisibility() && !(e.ariaLabel || e.textContent.trim() || e.labels?.length))"
        ".map((e) => e.outerHTML)"
    )
    for name in ("huge-pages", "zz-many"):
        await opened(page, name)
        await page.key("Enter")
        await page.until_text("#policy-result", "no wishes")
        assert await page.evaluate(names) == []
        await page.key("Escape")
        await page.until(f"!{OPEN}")
