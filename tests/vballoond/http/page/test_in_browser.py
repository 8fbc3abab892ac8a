"""What a person does with the page and sees, with a daemon behind it that says what the test has it say."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from support.chromium import Page, page_in, screenshots
from support.scripted_api import MIB, ScriptedApi, ScriptedMap, resize, rfc3339

pytestmark = pytest.mark.long

GUTTER = 80


async def shown(page: Page, scripted: ScriptedApi, name: str = "") -> None:
    """Open the page, at a balloon, and wait until it follows the daemon."""
    await page.go(f"{scripted.url}/#{name}" if name else scripted.url)
    await page.until("document.querySelector('#connection').dataset.state === 'live'")
    await page.until("document.querySelector('#balloons').childElementCount > 0")
    await page.until("!document.querySelector('#policy-known').hidden")  # what is below moves when that is read
    if name:
        await page.until_text("#name", name)


def patches(scripted: ScriptedApi) -> list[object]:
    return [body for method, _, body in scripted.asked if method == "PATCH"]


BALLOONED = "[20, 80, 180, 255]"
PIXEL = f"[...document.querySelector('#map').getContext('2d').getImageData({GUTTER} + X, Y, 1, 1).data]"


def pixel(x: int, y: int) -> str:
    return "JSON.stringify(" + PIXEL.replace("X", str(x)).replace("Y", str(y)) + ")"


async def followed(page: Page, frames: ScriptedMap) -> None:
    """Wait until the page follows a map."""
    async with asyncio.timeout(30):
        while not frames.followers:
            await page.evaluate("new Promise(requestAnimationFrame)")


async def test_every_balloon_is_listed_with_its_sizes_and_its_state(page, scripted) -> None:
    scripted.add("demo", target_bytes=512 * MIB, actual_bytes=128 * MIB)
    scripted.add("vm1", state="waiting", memory_bytes=None, resident_bytes=None)
    scripted.add("vm2", state="broken", reason="inflateq: a loop of descriptors")
    await shown(page, scripted, "vm2")
    assert await page.text("#row-demo .row-sizes") == "128 MiB → 512 MiB"
    assert await page.text("#row-demo .row-resident") == "600 MiB of 1.00 GiB resident"
    assert await page.evaluate("document.querySelector('#row-vm1 .mark').getAttribute('aria-label')") == "waiting"
    assert await page.text("#state") == "✕ broken"
    assert await page.text("#reason") == "Broken: inflateq: a loop of descriptors"
    assert await page.text("#total-broken") == "1"
    await page.click("#row-vm1")
    await page.until_text("#map-none", "No guest has connected")
    assert await page.evaluate("document.querySelector('#reason').hidden")


async def test_what_a_guest_says_never_becomes_markup(page, scripted) -> None:
    scripted.add("demo", state="broken", reason="<img src=x onerror=alert(1)>")
    await shown(page, scripted, "demo")
    scripted.tell("broken", "demo", reason="<b>bold</b>")
    await page.until_text(".event-words", "<b>bold</b>")
    assert await page.evaluate("document.querySelectorAll('main img, .event-words b').length") == 0


async def test_letting_go_of_the_slider_asks_once_and_shows_the_resize(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted, "demo")
    start, half = await page.place("#slider", 0.01), await page.place("#slider", 0.5)
    await page.drag(start, half, let_go=False)
    await page.until("Number(document.querySelector('#target').value) > 400")
    assert patches(scripted) == []
    await page.mouse("mouseReleased", *half)
    await page.until_text("#run-text", "→")
    (asked,) = patches(scripted)
    assert asked["target_mib"] == pytest.approx(512, abs=16)
    now = datetime.now(UTC)
    going = resize(1, 0, 512, started_at=rfc3339(now), rate_bytes_per_s=100 * MIB)
    going["expected_at"] = rfc3339(now + timedelta(seconds=90))
    scripted.balloons["demo"].update(resize=going, target_bytes=512 * MIB)
    scripted.sizes("demo", actual_bytes=128 * MIB)
    assert "0 B → 512 MiB" in await page.until_text("#run-text", "25 % · 100 MiB/s")
    stalled = {**going, "stalled": "the guest finds no more memory"}
    scripted.balloons["demo"].update(resize=stalled)
    scripted.tell("resize-stalled", "demo", resize=stalled)
    await page.until_text("#run-stall", "Stalled: the guest finds no more memory")
    assert await page.evaluate("document.querySelector('#run').dataset.outcome") == "stalled"
    ended = {**going, "outcome": "done", "done": True, "ended_at": rfc3339(now + timedelta(seconds=4))}
    scripted.balloons["demo"].update(resize=ended, actual_bytes=512 * MIB)
    scripted.tell("resize-done", "demo", resize={**ended, "reached_bytes": 512 * MIB})
    assert "reached, after 4.0 s, 128 MiB/s" in await page.until_text("#run-text", "reached")
    assert await page.text("#run-stall") == ""
    assert len(patches(scripted)) == 1


async def test_the_arrow_keys_choose_and_enter_asks(page, scripted) -> None:
    scripted.add("demo", target_bytes=100 * MIB)
    await shown(page, scripted, "demo")
    await page.until("document.querySelector('#slider').value === '100'")
    await page.focus("#slider")
    await page.key("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft")
    await page.until("document.querySelector('#target').value === '102'")
    assert patches(scripted) == []
    scripted.sizes("demo", resident_bytes=500 * MIB)
    await page.until_text("#figure-resident", "500 MiB")
    assert await page.evaluate("document.querySelector('#target').value") == "102"
    await page.key("Escape")
    assert await page.evaluate("document.querySelector('#target').value") == "100"
    await page.key("ArrowRight", "Enter")
    await page.until_text("#run-text", "→")
    assert patches(scripted) == [{"target_mib": 101}]


async def test_a_number_with_options_is_asked_for_by_enter(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted, "demo")
    await page.click("#settle")
    await page.focus("#deadline")
    await page.key("3", "0")
    await page.focus("#target")
    await page.evaluate("document.querySelector('#target').select()")
    await page.key("6", "4", "Enter")
    await page.until_text("#run-text", "64 MiB")
    assert patches(scripted) == [{"target_mib": 64, "settle": True, "deadline_s": 30}]


async def test_a_refusal_is_said_with_its_limit_and_the_target_stays(page, scripted) -> None:
    scripted.add("demo", target_bytes=8 * MIB)
    scripted.refuse = {"detail": "the target is larger than the balloon may be", "limit_bytes": 256 * MIB}
    await shown(page, scripted, "demo")
    await page.focus("#target")
    await page.key("9", "Enter")
    said = await page.until_text("#resize-error", "Not set")
    assert said == "Not set: the target is larger than the balloon may be (limit 256 MiB)"
    await page.until("document.querySelector('#target').value === '8'")
    assert len(page.complaints) == 1
    assert "422" in page.complaints.pop()


async def test_the_map_shows_what_is_held_and_changes_as_it_does(page, scripted) -> None:
    frames = scripted.add("demo")
    frames.held[:131072] = 1
    await shown(page, scripted, "demo")
    await page.until(f"{pixel(2, 2)} === '{BALLOONED.replace(' ', '')}'")
    await page.until(f"{pixel(2, 300)} !== {pixel(2, 2)}")
    await followed(page, frames)
    frames.fill(0, 65536, held=False)
    await page.until(f"{pixel(2, 2)} === {pixel(2, 300)}")
    frames.fill(131072, 131072, held=True)
    await page.until(f"{pixel(2, 300)} === '{BALLOONED.replace(' ', '')}'")
    # Only once was the window read: everything since came by the stream.
    assert len([query for query in frames.read if "first" in query]) == 1


async def test_the_map_of_a_tebibyte_goes_down_to_single_frames_by_keyboard(page, scripted) -> None:
    frames = scripted.add("big", memory_bytes=1 << 34)
    frames.held[5] = 1
    await shown(page, scripted, "big")
    await page.until_text("#map-scale", "16 GiB of 16 GiB")
    await page.focus("#map")
    await page.until_text("#map-reading", "0x000000000 to")
    await page.key(*["+"] * 24)
    await page.until_text("#map-scale", "a cell is a frame")
    await page.key("Home", *["ArrowRight"] * 5)
    await page.until_text("#map-reading", "frame 0x5 · ballooned")
    await page.key("ArrowRight")
    await page.until_text("#map-reading", "frame 0x6 · the guest's")
    await page.key("End")
    await page.until_text("#map-reading", f"frame {hex((1 << 22) - 1)}")
    await page.key("0")
    await page.until_text("#map-scale", "16 GiB of 16 GiB")
    assert max(int(query.get("count", 0)) // int(query["scale"]) for query in frames.read) < 1 << 17


async def test_the_wheel_zooms_at_the_pointer_and_a_drag_moves(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted, "demo")
    before = await page.until_text("#map-scale", "1.00 GiB of 1.00 GiB")
    x, y = await page.place("#map", 0.5, 0.5)
    await page.mouse("mouseMoved", x, y)
    address = (await page.until_text("#map-reading", "0x0")).partition(" ")[0]
    for _ in range(3):
        await page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-120)
    await page.until(f"document.querySelector('#map-scale').textContent !== {json.dumps(before)}")
    await page.mouse("mouseMoved", x + 1, y)
    near = int((await page.until_text("#map-reading", "0x0")).partition(" ")[0], 16)
    assert abs(near - int(address, 16)) < 64 * MIB
    await page.drag((x, y), (x, y - 60))
    await page.mouse("mouseMoved", x, y)
    await page.until(f"parseInt(document.querySelector('#map-reading').textContent, 16) > {near}")


async def test_the_guests_own_states_are_shown_where_they_are_known(page, scripted) -> None:
    frames = scripted.add("demo", transport="in-process", memory_bytes=16 * MIB)
    frames.states = np.repeat(np.arange(8, dtype=np.uint8) % 6, 512)
    frames.held[512:1024] = 1
    await shown(page, scripted, "demo")
    await page.until("document.querySelector('#map-legend').classList.contains('with-states')")
    await page.focus("#map")
    await page.until_text("#map-reading", "free")
    await page.key("End")
    await page.until_text("#map-reading", "movable: page cache")


async def test_pages_that_move_are_counted(page, scripted) -> None:
    frames = scripted.add("demo", counters={"migrated_frames": 7})
    await shown(page, scripted, "demo")
    await followed(page, frames)
    frames.tell("migrations", {"migrations": [[1, 2], [100, 200]], "total": 9})
    scripted.balloons["demo"]["counters"] = {"migrated_frames": 9}
    scripted.tell("balloon-changed", "demo")
    await page.until_text("#map-moved", "9 balloon pages moved by compaction, 2 before your eyes")


async def test_events_are_listed_newest_first_filtered_and_bounded(page, scripted) -> None:
    scripted.add("demo")
    scripted.add("vm1")
    await shown(page, scripted, "demo")
    scripted.tell("connected", "vm1")
    scripted.tell("target-clamped", "demo", target_bytes=MIB, limit_bytes=MIB)
    scripted.tell("statistics", "demo", statistics={"statistics": {"free_memory": 5 * MIB}})
    await page.until("document.querySelectorAll('.event').length === 2")
    kinds = "[...document.querySelectorAll('#events .event b')].map((e) => e.textContent).join()"
    assert await page.evaluate(kinds) == "target-clamped,connected"
    await page.click("#events-mine")
    await page.until(f"{kinds} === 'target-clamped'")
    await page.click("#events-mine")
    choose = (
        "(() => {{ const e = document.querySelector('#events-kind'); e.value = '{}';"
        "e.dispatchEvent(new Event('change')); }})()"
    )
    await page.evaluate(choose.format("state"))
    await page.until(f"{kinds} === 'connected'")
    await page.evaluate(choose.format("measurement"))
    await page.until(f"{kinds} === 'statistics'")
    await page.evaluate(choose.format(""))
    for number in range(600):
        scripted.tell("connected", f"vm{number}")
    await page.until("document.querySelector('.event-balloon').textContent === 'vm599'")
    assert await page.evaluate("document.querySelectorAll('#events .event').length") == 500


async def test_a_lost_daemon_is_said_and_what_was_missed_is_heard_when_it_returns(
    page, scripted, tmp_path: Path
) -> None:
    scripted.add("demo")
    await shown(page, scripted, "demo")
    scripted.tell("connected", "demo")
    await page.until("document.querySelectorAll('.event').length === 1")
    await scripted.stop()
    await page.until_text("#connection-text", "No answer since")
    assert await page.evaluate("document.body.classList.contains('stale')")
    await page.screenshot(screenshots(tmp_path) / "lost-daemon.png")
    scripted.sizes("demo", actual_bytes=77 * MIB, target_bytes=77 * MIB)
    scripted.tell("state", "demo", state="paused")
    scripted.balloons["demo"]["state"] = "paused"
    await scripted.start()
    await page.click("#retry")
    await page.until_text("#state", "paused")
    await page.until_text("#figure-actual", "77 MiB")
    assert await page.text("#connection-text") == "live"
    assert not await page.evaluate("document.body.classList.contains('stale')")
    assert scripted.last_ids[-1] == "r-1"
    page.complaints.clear()


async def test_everything_is_read_again_where_events_are_lost(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted, "demo")
    scripted.tell("connected", "demo")
    await page.until("document.querySelectorAll('.event').length === 1")
    await scripted.stop()
    await page.until("document.body.classList.contains('stale')")
    scripted.balloons.clear()
    scripted.add("other", actual_bytes=3 * MIB)
    scripted.lost = True
    await scripted.start()
    await page.until("document.querySelector('#row-other') !== null && document.querySelector('#row-demo') === null")
    await page.until_text("#nothing", "There is no balloon demo any more.")
    page.complaints.clear()


async def test_balloons_come_and_go(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted, "demo")
    scripted.add("vm1")
    scripted.tell("balloon-added", "vm1")
    await page.until("document.querySelector('#row-vm1') !== null")
    del scripted.balloons["vm1"]
    scripted.tell("balloon-removed", "vm1")
    await page.until("document.querySelector('#row-vm1') === null")
    assert await page.text("#total-balloons") == "1"


async def test_the_token_is_asked_for_kept_for_the_tab_and_forgotten_on_demand(page, scripted) -> None:
    scripted.add("demo")
    scripted.token = "open sesame"
    await page.go(scripted.url)
    await page.until("document.querySelector('#token-dialog').open")
    assert await page.evaluate("document.querySelector('#token-wrong').hidden")
    await page.key(*"wrong", "Enter")
    await page.until("!document.querySelector('#token-wrong').hidden && document.querySelector('#token-dialog').open")
    await page.key(*"open sesame", "Enter")
    await page.until_text("#name", "demo")
    assert not any("sesame" in url for url in page.requested)
    await page.go(f"{scripted.url}/?again#demo")
    await page.until_text("#name", "demo")
    assert await page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    await page.click("#forget")
    await page.until("document.querySelector('#token-dialog').open")
    assert await page.evaluate("sessionStorage.length") == 0
    assert all("401" in complaint for complaint in page.complaints)
    page.complaints.clear()


async def test_two_hundred_balloons_are_listed_searched_and_walked_by_keyboard(page, scripted, tmp_path: Path) -> None:
    for number in range(200):
        state = ("running", "paused", "waiting", "broken")[number % 7 % 4]
        sizes = {"actual_bytes": number * 4 * MIB, "target_bytes": (number + number % 3 * 9) * 4 * MIB}
        scripted.add(f"vm{number}", state=state, reason="a loop" if state == "broken" else None, **sizes)
    await shown(page, scripted, "vm0")
    assert await page.evaluate("document.querySelectorAll('.row').length") == 200
    await page.focus("#balloons")
    await page.key("ArrowDown", "ArrowDown", "PageDown")
    await page.until_text("#name", "vm12")
    await page.key("End")
    await page.until_text("#name", "vm199")
    await page.screenshot(screenshots(tmp_path) / "200-balloons.png")
    for number in range(200):
        scripted.sizes(f"vm{number}", actual_bytes=number * 5 * MIB, target_bytes=number * 5 * MIB)
    await page.until("document.querySelector('#row-vm199 .row-sizes').textContent === '995 MiB'")
    await page.focus("#search")
    await page.key(*"vm19")
    await page.until("document.querySelectorAll('.row').length === 11")


@pytest.mark.parametrize("width", [360, 768, 1024, 1440, 1920])
async def test_nothing_is_wider_than_the_screen(page, scripted, width: int) -> None:
    scripted.add("a-balloon-with-a-name-as-long-as-names-may-be-and-that-is-64-lett", state="broken", reason="x" * 300)
    await page.look(width=width, height=900, phone=width < 700)
    await shown(page, scripted)
    await page.until_text("#name", "a-balloon")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_the_page_is_usable_at_twice_its_size(page, scripted) -> None:
    scripted.add("demo")
    await page.look(width=1280, height=900, zoom=2)
    await shown(page, scripted, "demo")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.click("#zoom-in")
    await page.until_text("#map-scale", "shown")


async def test_everything_that_can_be_used_has_a_name_and_can_be_reached_by_tab(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted, "demo")
    names = await page.evaluate(
        "[...document.querySelectorAll('button, input, select, canvas, [tabindex=\"0\"]')]"
        ".filter((e) => e.checkVisibility() && !e.hasAttribute('aria-hidden'))"
        ".filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert names == []
    reached = set()
    for _ in range(30):
        await page.key("Tab")
        reached.add(await page.evaluate("document.activeElement.id"))
    assert {"search", "sort", "balloons", "slider", "target", "set", "curves", "map", "zoom-in", "events"} <= reached


async def test_the_curves_are_read_by_keyboard(page, scripted) -> None:
    scripted.add("demo")
    await shown(page, scripted, "demo")
    now = datetime.now(UTC)
    values = {"target_bytes": 99 * MIB, "actual_bytes": 33 * MIB, "held_frames": 0, "reclaimed_bytes": 0}
    scripted.tell("sizes", "demo", at=now - timedelta(seconds=200), resident_bytes=44 * MIB, **values)
    scripted.tell("sizes", "demo", at=now, resident_bytes=55 * MIB, **values)
    await page.until_text("#curves-reading", "now: resident 55 MiB")
    await page.focus("#curves")
    await page.key(*["ArrowLeft"] * 30)
    await page.until_text("#curves-reading", "resident 44 MiB · actual 33 MiB · target 99 MiB")


@pytest.mark.parametrize("look", ["desktop", "dark", "phone"])
async def test_the_page_as_people_see_it(chromium, scripted, tmp_path: Path, look: str) -> None:
    now = datetime.now(UTC)
    chance = np.random.default_rng(1)
    going = resize(
        3, 0, 512, rate_bytes_per_s=120 * MIB, started_at=rfc3339(now), expected_at=rfc3339(now + timedelta(seconds=30))
    )
    frames = scripted.add("demo", transport="in-process", target_bytes=512 * MIB, actual_bytes=277 * MIB, resize=going)
    frames.states = np.repeat(chance.choice([0, 1, 1, 1, 2, 3, 4], size=512), 512).astype(np.uint8)
    for start in range(0, 262144, 1024):
        frames.held[start : start + chance.integers(0, 1024)] = 1
    scripted.add("db-main", state="broken", reason="inflateq: descriptor 12 points to itself", actual_bytes=64 * MIB)
    scripted.add("batch", state="waiting", memory_bytes=None, resident_bytes=None, target_bytes=64 * MIB)
    size = {"width": 360, "height": 780, "phone": True} if look == "phone" else {"width": 1440, "height": 1000}
    async with page_in(chromium, dark=look == "dark", **size) as page:
        await shown(page, scripted, "demo")
        for step in range(60):
            at = now - timedelta(seconds=240 - 4 * step)
            known = {"actual_bytes": (100 + 3 * step) * MIB, "resident_bytes": (800 - 3 * step) * MIB}
            scripted.balloons["demo"].update(known)
            scripted.tell(
                "sizes", "demo", at=at, target_bytes=512 * MIB, held_frames=70912, reclaimed_bytes=step * MIB, **known
            )
            claims = {"free_memory": (300 + step) * MIB, "available_memory": (500 - step) * MIB}
            scripted.tell("statistics", "demo", at=at, statistics={"statistics": claims})
        scripted.tell("broken", "db-main", at=now, reason="inflateq: descriptor 12 points to itself")
        scripted.tell("resize-begun", "demo", at=now, resize=going)
        await page.until("document.querySelectorAll('.event').length === 2")
        await page.until("document.querySelector('#map-legend').classList.contains('with-states')")
        await page.until_text("#curves-reading", "guest free 359 MiB")
        await followed(page, frames)
        frames.tell("migrations", {"migrations": [[1000, 90000], [30000, 30500]], "total": 2})
        await page.until_text("#map-moved", "2 before your eyes")
        await page.screenshot(screenshots(tmp_path) / f"{look}.png", whole=look == "phone")
