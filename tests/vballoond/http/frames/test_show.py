import io
import os
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.api import Api
from support.backend_rig import running_service, settled, vhost_user_settings
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE, MEMORY_BYTES
from support.properties import examples

from protocol.balloon.frame_states import FrameState
from protocol.balloon.page_frames import FRAME_BYTES
from vballoond.balloon.frame_map import FrameMap
from vballoond.http.app import build_app
from vballoond.http.frames import ranges
from vballoond.http.frames.show import MAX_CELLS, MapView
from vballoond.memory.frames import FrameRange, FrameSpace
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace
from vballoond.offload import Offload
from vballoond.registry import Registry

MAX_PICTURE_FRAMES = MAX_CELLS["png"]
DEMO, VM1 = "/v1/balloons/demo/frames", "/v1/balloons/vm1/frames"
FRAMES = MEMORY_BYTES // FRAME_BYTES
BALLOONED_ONLY = frozenset({FrameState.BALLOONED})
GUEST, BALLOONED, ABSENT = (204, 204, 204), (31, 102, 178), (255, 255, 255)


@pytest.fixture
async def holding(api: Api, balloons) -> tuple[Api, set[int]]:
    """Frames 2000 to 2009, 2011 and 4095 are in the balloon."""
    held = {*range(2000, 2010), 2011, 4095}
    balloons.driver.load(INFLATE, DEFLATE)
    balloons.driver.request(INFLATE, pfns(held))
    await settled(balloons.demo)
    return api, held


async def bitmap(api: Api, query: str = "") -> tuple[int, list[int]]:
    """The window of a bitmap, and which frames of it are in the balloon."""
    answer = await api.ask("GET", f"{DEMO}?format=bitmap{query}")
    assert answer.status == 200
    assert answer.media == "application/octet-stream"
    first, count = int(answer.headers["X-First-Frame"]), int(answer.headers["X-Frame-Count"])
    assert len(answer.body) == -(-count // 8)
    bits = [number for number in range(8 * len(answer.body)) if answer.body[number // 8] >> number % 8 & 1]
    assert all(bit < count for bit in bits)
    return first, [first + bit for bit in bits]


async def picture(api: Api, query: str = "") -> tuple[int, int, "np.ndarray"]:
    """The window of a picture, and its pixels."""
    answer = await api.ask("GET", f"{DEMO}?format=png{query}")
    assert answer.status == 200
    assert answer.media == "image/png"
    with Image.open(io.BytesIO(answer.body), formats=["PNG"]) as image:
        pixels = np.asarray(image.convert("RGB"))
    return int(answer.headers["X-First-Frame"]), int(answer.headers["X-Frame-Count"]), pixels


async def test_ranges_are_the_default_and_cover_all_memory(holding) -> None:
    api, _ = holding
    shown = await api.get(DEMO)
    expected = {
        "name": "demo",
        "frame_bytes": 4096,
        "frames": FRAMES,
        "held_frames": 12,
        "version": shown["version"],
        "ranges": [
            {"first": 2000, "count": 10, "state": "ballooned"},
            {"first": 2011, "count": 1, "state": "ballooned"},
            {"first": 4095, "count": 1, "state": "ballooned"},
        ],
    }
    assert shown == expected
    assert isinstance(shown["version"], int)
    assert await api.get(f"{DEMO}?format=ranges&state=ballooned") == expected


@pytest.mark.parametrize(
    ("query", "ranges"),
    [
        ("first=2005", [(2005, 5), (2011, 1), (4095, 1)]),
        ("first=2005&count=3", [(2005, 3)]),
        ("first=2009&count=3", [(2009, 1), (2011, 1)]),
        ("count=2001", [(2000, 1)]),
        ("first=4095", [(4095, 1)]),
        ("first=4096", []),
        ("first=4294967295&count=4294967296", []),
        ("count=0", []),
        ("first=0&count=4294967296", [(2000, 10), (2011, 1), (4095, 1)]),
    ],
)
async def test_a_window_is_cut_out_and_cut_off(holding, query: str, ranges: list[tuple[int, int]]) -> None:
    api, _ = holding
    shown = await api.get(f"{DEMO}?{query}")
    assert [(part["first"], part["count"]) for part in shown["ranges"]] == ranges
    assert shown["held_frames"] == 12
    assert shown["frames"] == FRAMES


async def test_a_bitmap_has_a_bit_for_each_frame(holding) -> None:
    api, held = holding
    assert await bitmap(api) == (0, sorted(held))


@pytest.mark.parametrize(("first", "count"), [(2001, 13), (2008, 8), (2011, 1), (4090, 100), (4096, 5), (7, 0)])
async def test_a_bitmap_begins_with_the_first_frame_of_its_window(holding, first: int, count: int) -> None:
    api, held = holding
    window = range(first, min(first + count, FRAMES))
    assert await bitmap(api, f"&first={first}&count={count}") == (first, sorted(held & set(window)))
    answer = await api.ask("GET", f"{DEMO}?format=bitmap&first={first}&count={count}")
    assert int(answer.headers["X-Frame-Count"]) == len(window)


async def test_a_picture_has_a_pixel_for_each_frame_row_by_row(holding) -> None:
    api, held = holding
    first, count, pixels = await picture(api)
    assert (first, count) == (0, FRAMES)
    assert pixels.shape == (8, 512, 3)
    colours = [tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()]
    assert colours == [BALLOONED if pfn in held else GUEST for pfn in range(FRAMES)]


@pytest.mark.parametrize("width", [1, 7, 100, 16384])
async def test_a_picture_is_as_wide_as_it_was_asked_for(holding, width: int) -> None:
    api, held = holding
    first, count, pixels = await picture(api, f"&first=1999&count=14&width={width}")
    assert (first, count) == (1999, 14)
    assert pixels.shape == (-(-14 // width), width, 3)
    colours = [tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()]
    expected = [BALLOONED if pfn in held else GUEST for pfn in range(1999, 2013)]
    assert colours == expected + [ABSENT] * (len(colours) - 14)


async def test_all_formats_tell_the_same(holding) -> None:
    api, _ = holding
    query = "first=1990&count=50"
    ranges = (await api.get(f"{DEMO}?{query}"))["ranges"]
    from_ranges = [part["first"] + number for part in ranges for number in range(part["count"])]
    _, from_bitmap = await bitmap(api, f"&{query}")
    _, _, pixels = await picture(api, f"&{query}&width=50")
    from_picture = (1990 + np.flatnonzero((pixels[0] == BALLOONED).all(axis=1))).tolist()
    assert from_ranges == from_bitmap == from_picture


async def test_a_guest_without_memory_has_an_empty_map(api) -> None:
    shown = await api.get(VM1)
    assert (shown["frames"], shown["held_frames"], shown["ranges"]) == (0, 0, [])
    answer = await api.ask("GET", f"{VM1}?format=bitmap")
    assert (answer.body, answer.headers["X-Frame-Count"]) == (b"", "0")
    answer = await api.ask("GET", f"{VM1}?format=png")
    with Image.open(io.BytesIO(answer.body)) as image:
        image.load()


@pytest.mark.parametrize(
    "query",
    [
        "format=jpeg",
        "format=",
        "format=RANGES",
        "state=free",
        "state=",
        "state=ballooned,free",
        "first=-1",
        "first=x",
        "first=",
        "first=1.0",
        "first=%2B1",
        "first=0x10",
        "first=4294967296",
        "first=%D9%A1",
        "count=-1",
        "count=4294967297",
        "count=99999999999999999999999999",
        "format=png&width=0",
        "format=png&width=16385",
        "format=png&width=wide",
        "format=png&scale=0",
        "format=png&scale=3",
        "format=png&scale=-2",
        "format=png&scale=",
        "format=png&scale=AUTO",
        "format=png&scale=8388608",
        "format=png&scale=99999999999999999999",
        "format=bitmap&scale=2",
        "format=ranges&scale=auto",
    ],
)
async def test_a_query_that_cannot_be_is_refused(api, query: str) -> None:
    problem = await api.refused("GET", f"{DEMO}?{query}", 400, "bad-query")
    name = query.rpartition("&")[2].partition("=")[0]
    assert problem["detail"].startswith(f"query {name}=")


async def test_a_state_may_be_named_twice(holding) -> None:
    api, _ = holding
    assert (await api.get(f"{DEMO}?state=ballooned,ballooned"))["held_frames"] == 12


@pytest.fixture
async def large(aiohttp_client) -> AsyncIterator[Api]:
    """A guest whose memory nobody has touched, a little larger than a picture can be."""
    size = (MAX_PICTURE_FRAMES + 1) * FRAME_BYTES
    fd = os.memfd_create("large")
    os.ftruncate(fd, size)
    region = MappedRegion(RegionPlace(0, size, 0, 0), fd)
    async with running_service(vhost_user_settings()) as service:
        service.set_memory(GuestMemory([region]))
        registry = Registry()
        registry.add(service)
        yield Api(await aiohttp_client(build_app(registry, Offload())))
    region.close()
    os.close(fd)


async def test_a_picture_larger_than_any_screen_is_refused_with_the_limit(large) -> None:
    problem = await large.refused("GET", f"{VM1}?format=png", 422, "window-too-large")
    assert problem["limit_bytes"] == MAX_PICTURE_FRAMES * FRAME_BYTES


async def test_a_piece_of_a_large_guest_can_be_drawn_and_all_of_it_listed(large) -> None:
    answer = await large.ask("GET", f"{VM1}?format=png&first={MAX_PICTURE_FRAMES}")
    assert (answer.status, answer.headers["X-Frame-Count"]) == (200, "1")
    shown = await large.get(VM1)
    assert (shown["frames"], shown["ranges"]) == (MAX_PICTURE_FRAMES + 1, [])
    answer = await large.ask("GET", f"{VM1}?format=bitmap")
    assert len(answer.body) == MAX_PICTURE_FRAMES // 8 + 1
    assert not any(answer.body)


@examples()
@given(
    held=st.sets(st.integers(0, 19)),
    first=st.integers(0, 25),
    count=st.integers(0, 30),
    width=st.integers(1, 9),
)
def test_a_drawing_shows_held_frames_and_holes(held: set[int], first: int, count: int, width: int) -> None:
    space = FrameSpace((FrameRange(0, 8), FrameRange(12, 8)))
    frame_map = FrameMap(space)
    inside = {pfn for pfn in held if pfn < 8 or pfn >= 12}
    frame_map.insert(np.array(sorted(inside), dtype=np.uint32))
    window = FrameRange(first, max(0, min(count, space.end - first)))

    view = MapView(frame_map, None, "png", window, 1, BALLOONED_ONLY, width, frame_map.version)
    with Image.open(io.BytesIO(view.body("vm"))) as image:
        assert image.width == width
        colours = list(image.convert("RGB").get_flattened_data())

    def colour(pfn: int) -> tuple[int, int, int]:
        if pfn in inside:
            return BALLOONED
        return GUEST if pfn < 8 or pfn >= 12 else ABSENT

    expected = [colour(pfn) for pfn in range(window.first, window.end)]
    assert colours == expected + [ABSENT] * (len(colours) - len(expected))


@pytest.fixture
async def telling(holding, balloons) -> Api:
    """The guest says that frames 0 to 99 are free, 100 to 2099 unmovable, 2100 to 2199 isolated, the rest huge."""
    api, _ = holding
    said = bytes([FrameState.FREE] * 100 + [FrameState.UNMOVABLE] * 2000 + [FrameState.ISOLATED] * 100)
    said = said.ljust(FRAMES, bytes([FrameState.HUGE]))
    balloons.demo.guest_view = lambda window: said[window.first : window.end]
    return api


async def test_what_else_a_frame_is_the_guest_tells(telling) -> None:
    shown = await telling.get(f"{DEMO}?state=free,unmovable,huge,ballooned&count=2150")
    assert shown["held_frames"] == 12
    assert [(part["first"], part["count"], part["state"]) for part in shown["ranges"]] == [
        (0, 100, "free"),
        (100, 1900, "unmovable"),
        (2000, 10, "ballooned"),
        (2010, 1, "unmovable"),
        (2011, 1, "ballooned"),
        (2012, 88, "unmovable"),
    ]


async def test_a_bitmap_is_of_the_states_that_were_asked_for(telling) -> None:
    first, frames = await bitmap(telling, "&state=isolated,ballooned&first=1990&count=200")
    assert first == 1990
    assert frames == [*range(2000, 2010), 2011, *range(2100, 2190)]


async def test_a_picture_has_a_colour_for_each_state(telling) -> None:
    _, _, all_states = await picture(telling, "&state=free,unmovable,huge,isolated,ballooned&width=64")
    colours = {tuple(pixel) for pixel in all_states.reshape(-1, 3).tolist()}
    assert len(colours) == 5
    _, _, some = await picture(telling, "&state=free,ballooned&width=64")
    assert {tuple(pixel) for pixel in some.reshape(-1, 3).tolist()} == {(240, 240, 240), BALLOONED, GUEST}


async def test_without_a_state_the_guest_is_not_asked(telling, balloons) -> None:
    balloons.demo.guest_view = lambda window: pytest.fail(f"asked for {window}")
    assert len((await telling.get(DEMO))["ranges"]) == 3


async def test_a_virtual_machine_cannot_tell(holding) -> None:
    api, _ = holding
    refused = await api.ask("GET", f"{DEMO}?state=free")
    assert (refused.status, refused.json()["code"]) == (400, "bad-query")
    assert "only an in-process guest tells" in refused.json()["detail"]


# Densities, and pictures of many frames to a pixel.


async def density(api: Api, query: str = "") -> tuple[int, int, int, bytes]:
    """The first frame, how many, the scale, and the densities."""
    answer = await api.ask("GET", f"{DEMO}?format=density{query}")
    assert (answer.status, answer.media) == (200, "application/octet-stream")
    first, count, scale = (int(answer.headers[f"X-{name}"]) for name in ("First-Frame", "Frame-Count", "Frame-Scale"))
    assert len(answer.body) == -(-count // scale)
    return first, count, scale, answer.body


async def test_a_density_is_a_byte_for_each_cell(holding) -> None:
    api, held = holding
    first, count, scale, cells = await density(api, "&scale=16")
    assert (first, count, scale) == (0, FRAMES, 16)
    expected = {2000 // 16: 1 + 11 * 253 // 16, 4095 // 16: 1 + 253 // 16}
    assert len(held) == 12
    assert {at: cell for at, cell in enumerate(cells) if cell} == expected


async def test_cells_of_a_window_are_whole_ones(holding) -> None:
    api, _ = holding
    assert await density(api, "&scale=16&first=2011&count=1") == (2000, 16, 16, bytes([1 + 11 * 253 // 16]))
    assert await density(api, "&scale=4096&first=4000") == (0, 4096, 4096, bytes([1 + 12 * 253 // 4096]))
    assert await density(api, "&scale=16&first=4096") == (4096, 0, 16, b"")


async def test_a_scale_of_one_tells_each_frame(holding) -> None:
    api, _ = holding
    assert await density(api, "&first=2009&count=4") == (2009, 4, 1, bytes([254, 0, 254, 0]))


async def test_an_automatic_scale_is_the_smallest_that_makes_a_million_cells(holding) -> None:
    api, _ = holding
    assert (await density(api, "&scale=auto"))[2] == 1


async def test_a_scaled_picture_has_a_pixel_for_each_cell_bluer_where_more_is_held(holding) -> None:
    api, _ = holding
    _, count, pixels = await picture(api, "&scale=16&width=256")
    assert (count, pixels.shape) == (FRAMES, (1, 256, 3))
    some, few = pixels[0][2000 // 16].tolist(), pixels[0][4095 // 16].tolist()
    assert tuple(pixels[0][0].tolist()) == GUEST
    assert BALLOONED[0] < some[0] < few[0] < GUEST[0]
    _, _, whole = await picture(api, "&scale=2&first=2000&count=2&width=2")
    assert [tuple(pixel) for pixel in whole[0].tolist()] == [BALLOONED, ABSENT]


async def test_what_the_guest_tells_is_not_scaled(telling) -> None:
    problem = await telling.refused("GET", f"{DEMO}?format=png&state=free&scale=2", 400, "bad-query")
    assert "scale above 1" in problem["detail"]
    await telling.refused("GET", f"{DEMO}?format=density&state=free", 400, "bad-query")


async def test_a_window_too_large_at_one_scale_is_shown_at_another(large) -> None:
    problem = await large.refused("GET", f"{VM1}?format=density", 422, "window-too-large")
    assert "a larger scale" in problem["detail"]
    answer = await large.ask("GET", f"{VM1}?format=density&scale=auto")
    assert (answer.status, answer.headers["X-Frame-Scale"]) == (200, "32")
    answer = await large.ask("GET", f"{VM1}?format=png&scale=auto")
    assert answer.status == 200


# What has not changed is not read again.

_VIEWS = ["", "?format=bitmap", "?format=png", "?format=density", "?format=png&scale=auto&first=7&width=9"]


@pytest.mark.parametrize("query", _VIEWS)
async def test_what_has_not_changed_is_not_read_again(holding, balloons, query: str, monkeypatch) -> None:
    api, _ = holding
    first = await api.ask("GET", DEMO + query)
    tag = {"If-None-Match": first.headers["Etag"]}
    assert int(first.headers["X-Frame-Version"]) == balloons.demo.device.frame_map.version
    with monkeypatch.context() as patch:
        patch.setattr(MapView, "body", lambda *_: pytest.fail("the map was read"))
        again = await api.ask("GET", DEMO + query, headers=tag)
        assert (again.status, again.body, again.headers["Etag"]) == (304, b"", first.headers["Etag"])
        assert (
            await api.ask("GET", DEMO + query, headers={"If-None-Match": f'"x", W/{tag["If-None-Match"]}'})
        ).status == 304
        assert (await api.ask("GET", DEMO + query, headers={"If-None-Match": "*"})).status == 304
    balloons.driver.request(DEFLATE, pfns([2000]))
    await settled(balloons.demo)
    changed = await api.ask("GET", DEMO + query, headers=tag)
    assert changed.status == 200
    assert changed.headers["Etag"] != first.headers["Etag"]
    assert int(changed.headers["X-Frame-Version"]) > int(first.headers["X-Frame-Version"])


async def test_a_tag_is_of_its_query_alone(holding) -> None:
    api, _ = holding
    tags = [(await api.ask("GET", DEMO + query)).headers["Etag"] for query in [*_VIEWS, "?first=1", "?count=1"]]
    assert len(set(tags)) == len(tags)


async def test_a_tag_is_of_its_run_alone(holding, balloons, aiohttp_client) -> None:
    api, _ = holding
    other = Api(await aiohttp_client(build_app(balloons.registry, Offload(), run="other")))
    tag = (await api.ask("GET", DEMO)).headers["Etag"]
    answer = await other.ask("GET", DEMO, headers={"If-None-Match": tag})
    assert answer.status == 200
    assert answer.headers["Etag"].startswith('"other-')


async def test_a_driver_that_begins_anew_makes_it_another_map(holding, balloons) -> None:
    api, _ = holding
    tag = (await api.ask("GET", DEMO)).headers["Etag"]
    balloons.driver.device.reset()
    await settled(balloons.demo)
    balloons.driver.load(INFLATE, DEFLATE)
    await settled(balloons.demo)
    answer = await api.ask("GET", DEMO, headers={"If-None-Match": tag})
    assert (answer.status, answer.json()["ranges"]) == (200, [])


async def test_what_the_guest_tells_has_no_tag(telling) -> None:
    answer = await telling.ask("GET", f"{DEMO}?state=free", headers={"If-None-Match": "*"})
    assert answer.status == 200
    assert "Etag" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


async def test_more_ranges_than_anybody_reads_are_refused(holding, monkeypatch) -> None:
    api, _ = holding
    monkeypatch.setattr(ranges, "MAX_RANGES", 3)
    assert len((await api.get(DEMO))["ranges"]) == 3
    monkeypatch.setattr(ranges, "MAX_RANGES", 2)
    problem = await api.refused("GET", DEMO, 422, "too-many-ranges")
    assert "bitmap" in problem["detail"]
