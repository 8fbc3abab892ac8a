"""What the page computes without a document: its modules, run in the browser that it is for."""

import io
import json
import math

import numpy as np
import pytest
from PIL import Image
from support.page_modules import said

from protocol.balloon.frame_states import FrameState

MIB = 1 << 20
GIB = 1 << 30


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_sizes_have_three_figures_and_a_unit(modules) -> None:
    cases = [(0,), (4096,), (512 * MIB,), (GIB,), (3 * GIB // 2,), (1 << 40,), (10 * GIB + 1,), (1023,), (None,)]
    assert await said(modules, "bytes", "units.js", *cases) == [
        *("0 B", "4.00 KiB", "512 MiB", "1.00 GiB", "1.50 GiB", "1.00 TiB", "10.0 GiB", "1023 B", "unknown")
    ]


async def test_durations_are_in_the_units_that_people_use(modules) -> None:
    cases = [(0.25,), (9.94,), (59,), (61,), (3600,), (90000,), (3 * 86400,), (-1,)]
    assert await said(modules, "duration", "units.js", *cases) == [
        *("0.3 s", "9.9 s", "59 s", "1 min 01 s", "1 h 00 min", "25 h 00 min", "3 d", "0.0 s")
    ]


async def test_addresses_of_frames_of_the_largest_guests_are_exact(modules) -> None:
    assert await said(modules, "address", "units.js", (1,), (2**28,), (2**32 - 1,)) == [
        *("0x000001000", "0x10000000000", "0xffffffff000")
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_events_are_read_however_their_text_is_cut(modules, size: int, end: str) -> None:
    lines = [
        "retry: 250",
        ": heartbeat",
        "",
        "id: r-1",
        "event: sizes",
        'data: {"a":1}',
        "",
        "data: one",
        "data:two",
        "",
    ]
    lines += ["event: nothing", "", "id: r-2", "data: ä", "", "data: not complete"]
    text = end.join(lines) + end
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    events, retry = await modules.module(
        f"const p = new m.EventParser(); const e = {json.dumps(pieces)}.flatMap((t) => p.feed(t));"
        "return [e, p.retryMs];",
        "m: server_sent.js",
    )
    assert retry == 250
    assert events == [
        {"id": "r-1", "kind": "sizes", "text": '{"a":1}'},
        {"id": "r-1", "kind": "message", "text": "one\ntwo"},
        {"id": "r-2", "kind": "message", "text": "ä"},
    ]


async def test_each_failure_doubles_the_wait_up_to_a_bound(modules) -> None:
    waits = await said(modules, "waitAfter", "follow.js", *[(failures, 1000) for failures in range(6)], (10_000, 1000))
    assert waits == [1000, 2000, 4000, 8000, 15000, 15000, 15000]


async def test_a_history_is_a_staircase_that_forgets_what_is_old(modules) -> None:
    steps, held, late, kept, first = await modules.module(
        """const h = new m.History();
        h.add(1000, {a: 1, b: 9}); h.add(3000, {a: 3}); h.add(2000, {a: 2});
        const late = [h.valueAt("a", 2500), h.valueAt("b", 2500), h.valueAt("a", 999) ?? "none"];
        const steps = h.steps("a", 1500, 2500), held = h.steps("b", 1500, 2500);
        for (let at = 0; at < 5000; at += 1) h.add(4000 + at * 1000, {a: at});
        return [steps, held, late, h.samples.length, h.valueAt("b", 4000 + 4999 * 1000)];""",
        "m: history.js",
    )
    assert steps == [[1500, 1], [2000, 2]]
    assert held == [[1500, 9]]
    assert late == [2, 9, "none"]
    assert kept == 15 * 60 + 1
    assert first == 9


async def test_a_history_is_bounded_however_often_something_is_measured(modules) -> None:
    body = "const h = new m.History(); for (let n = 0; n < 9000; n += 1) h.add(n, {a: n}); return h.samples.length;"
    assert await modules.module(body, "m: history.js") <= 2048


VIEW = """const v = new m.MapView(); v.resize(640, 400); v.setSpace({first: FIRST, end: END});
const shown = () => [v.scale, v.columns, v.rows, v.cell, v.top];"""


def view_of(first: int, end: int) -> str:
    return VIEW.replace("FIRST", str(first)).replace("END", str(end))


async def test_a_tebibyte_is_shown_whole_and_down_to_a_frame(modules) -> None:
    whole, scales, last = await modules.module(
        view_of(0, 2**28)
        + """const whole = [v.whole, ...shown()]; const scales = [];
        const frame = 123456789;
        let before = v.placeOf(frame);
        while (v.zoom(1, frame)) {
          scales.push(v.scale);
          const p = v.placeOf(frame);
          if (Math.abs(p.y - before.y) > v.cell) throw new Error(`it moved from ${before.y} to ${p.y}`);
          before = p;
          if (!p || v.frameAt(p.x, p.y) > frame || v.frameAt(p.x, p.y) + v.scale <= frame) throw new Error("lost it");
        }
        return [whole, scales, shown()];""",
        "m: map_view.js",
    )
    assert whole[0] is True
    assert whole[1] * whole[2] * whole[3] >= 2**28 > whole[1] // 2 * whole[2] * whole[3]
    assert scales == [*(2**power for power in range(int(math.log2(whole[1])) - 1, -1, -1)), 1, 1]
    assert last[3] > whole[4]


@pytest.mark.parametrize("first", [0, 1, 0x60000, 12345])
async def test_a_view_begins_at_a_round_address_and_never_leaves_the_memory(modules, first: int) -> None:
    rounds = await modules.module(
        view_of(first, first + 300_001)
        + """const seen = [];
        const see = () => seen.push([v.top % v.rowFrames, v.top + v.rowFrames > v.space.first, v.top < v.space.end,
          v.top + v.count >= v.space.end || v.count < v.space.end - v.space.first]);
        for (let round = 0; round < 12; round += 1) {
          see(); v.zoom(1, v.space.end - 1); see(); v.pan(1e9); see(); v.pan(-1e9); see();
          v.centre(v.space.first + 1000 * round);
        }
        for (let round = 0; round < 14; round += 1) { v.zoom(-1); see(); }
        return [seen, v.whole];""",
        "m: map_view.js",
    )
    assert {tuple(seen) for seen in rounds[0]} == {(0, True, True, True)}
    assert rounds[1] is True


async def test_the_cursor_is_always_to_be_seen(modules) -> None:
    assert await modules.module(
        view_of(256, 2**20)
        + """v.zoom(6); const seen = [];
        for (const cells of [1, v.columns, 1e9, -1, -v.columns * v.rows, -1e9, Infinity, -Infinity]) {
          v.moveCursor(cells); seen.push(v.placeOf(v.cursor) !== null && v.cursor >= 256 && v.cursor < 2 ** 20);
        }
        return [...seen, v.cursor];""",
        "m: map_view.js",
    ) == [True] * 8 + [256]


async def test_densities_change_where_they_are_said_to(modules) -> None:
    cells = await modules.module(
        """const c = new m.Cells(1000 * 8, 8, new Uint8Array(6));
        c.change([[1001 * 8, btoa("\\x05\\xfe")], [998 * 8, btoa("\\x01\\x02\\x03")], [1005 * 8, btoa("\\x09\\x0a")]]);
        return [...c.densities];""",
        "m: cells.js",
    )
    assert cells == [3, 5, 254, 0, 0, 9]


async def test_ranges_of_frames_change_what_is_inside(modules) -> None:
    cells = await modules.module(
        """const c = new m.Cells(100, 1, new Uint8Array(6));
        c.changeRanges([{first: 90, count: 12, ballooned: true}, {first: 101, count: 1, ballooned: false},
          {first: 105, count: 9, ballooned: true}, {first: 300, count: 1, ballooned: true}]);
        return [...c.densities];""",
        "m: cells.js",
    )
    assert cells == [254, 0, 0, 0, 0, 254]


async def test_a_cell_of_another_scale_is_told_as_well_as_it_is_known(modules) -> None:
    assert await modules.module(
        """const c = new m.Cells(0, 4, Uint8Array.of(0, 254, 255, 255, 254, 254, 1, 0));
        return [[0, 8], [8, 8], [16, 8], [24, 8], [4, 1], [32, 8]].map(([f, s]) => c.density(f, s) ?? "unknown");""",
        "m: cells.js",
    ) == [127, 255, 254, 1, 254, "unknown"]


@pytest.mark.parametrize("colours", [2, 4, 8, 16, 200])
@pytest.mark.parametrize("width", [1, 7, 64])
async def test_palette_indices_are_read_from_a_png(modules, colours: int, width: int) -> None:
    codes = np.random.default_rng(colours * width).integers(0, colours, size=(9, width), dtype=np.uint8)
    image = Image.frombytes("P", (width, 9), codes.tobytes())
    image.putpalette([channel for code in range(colours) for channel in (code, 0, 0)])
    file = io.BytesIO()
    image.save(file, "PNG")
    read = await modules.module(
        f"const r = await m.readPalettePng(Uint8Array.from({list(file.getvalue())}).buffer);"
        "return [r.width, r.height, [...r.codes]];",
        "m: palette_png.js",
    )
    assert read == [width, 9, codes.reshape(-1).tolist()]


async def test_another_png_is_refused(modules) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    for body in (file.getvalue(), b"GIF89a" + bytes(40), b""):
        body_of = (
            f"try {{ await m.readPalettePng(Uint8Array.from({list(body)}).buffer); }} catch (e) {{ return e.message; }}"
        )
        assert "PNG" in await modules.module(body_of, "m: palette_png.js")


async def test_the_states_are_those_of_the_protocol(modules) -> None:
    assert await modules.module("return m.STATES;", "m: frame_states.js") == [
        state.name.lower() for state in FrameState
    ]


async def test_a_cell_shows_the_state_of_most_of_its_frames_that_are_not_ballooned(modules) -> None:
    codes = [0, 1, 1, 6, 6, 6, 6, 6, 7, 7, 7, 7, 2, 6, 6, 6]
    assert await modules.module(f"return [...m.prevailing(Uint8Array.from({codes}), 4)];", "m: guest_states.js") == [
        *(1, 6, 7, 2)
    ]


async def test_balloons_are_found_and_put_in_order(modules) -> None:
    found = await modules.module(
        """const b = (name, state, actual, resize) => ({name, state, transport: "vhost-user", actual_bytes: actual,
          resident_bytes: null, memory_bytes: 1, resize});
        const all = [b("vm10", "running", 5, {ended_at: null}), b("vm9", "broken", 7, null),
          b("web", "running", 9, {ended_at: "x"})];
        const names = (words, order) => m.arranged(all, words, order).map(({name}) => name).join();
        return [names("", "name"), names("", "state"), names("", "actual"), names("", "moving"),
          names("VM run", "name"), names("x", "name")];""",
        "m: balloons.js",
    )
    assert found == ["vm9,vm10,web", "vm9,vm10,web", "web,vm9,vm10", "vm10,vm9,web", "vm10", ""]


async def test_a_scale_has_at_most_four_whole_steps(modules) -> None:
    tops = await said(modules, "scaleFor", "curves.js", (1,), (GIB,), (GIB + 1,), (3 * GIB,), (1 << 40,))
    assert tops == [
        {"top": MIB, "step": MIB},
        {"top": GIB, "step": 256 * MIB},
        {"top": 3 * 512 * MIB, "step": 512 * MIB},
        {"top": 3 * GIB, "step": GIB},
        {"top": 1 << 40, "step": 256 * GIB},
    ]


async def test_what_is_asked_of_the_daemon_has_only_what_was_chosen(modules) -> None:
    cases = [(512, False, ""), (1, True, ""), (2, True, "1.5"), (3, False, " ")]
    assert await said(modules, "changeOf", "slider.js", *cases) == [
        {"target_mib": 512},
        {"target_mib": 1, "settle": True},
        {"target_mib": 2, "settle": True, "deadline_s": 1.5},
        {"target_mib": 3},
    ]


async def test_every_kind_of_event_has_its_group_and_words(modules) -> None:
    kinds = ["sizes", "statistics", "policy", "resize-done", "target-clamped", "balloon-added", "broken", "events-lost"]
    assert await said(modules, "groupOf", "events.js", *[(kind,) for kind in [*kinds, "reservation"]]) == [
        *("measurement", "measurement", "policy", "resize", "resize", "balloon", "state", "other", "policy")
    ]
    words = await said(
        *(modules, "wordsOf", "events.js"),
        ({"kind": "broken", "reason": "a loop"},),
        (
            {
                "kind": "policy",
                "policy": "psi",
                "decisions": [{"balloon": "demo", "from_bytes": 0, "target_bytes": MIB}],
            },
        ),
        ({"kind": "resize-stalled", "resize": {"from_bytes": 0, "target_bytes": MIB, "stalled": "no driver"}},),
        ({"kind": "something-new", "balloon": "demo"},),
    )
    assert words == ["a loop", "psi: demo 0 B → 1.00 MiB", "0 B → 1.00 MiB: no driver", ""]
