from pathlib import Path

import pytest
from support.fake_daemon import FakeDaemon

PATH = "/v1/balloons/vm1/frames"
FRAMES = {"name": "vm1", "frame_bytes": 4096, "frames": 9, "held_frames": 0, "ranges": []}


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ([], "state=ballooned"),
        (["--state", "free,huge"], "state=free,huge"),
        (["--first", "0", "--count", "16"], "state=ballooned&first=0&count=16"),
    ],
)
async def test_what_is_asked_for_is_shown(daemon: FakeDaemon, command, options: list[str], query: str) -> None:
    daemon.says("GET", PATH, FRAMES)
    shown = await command("frames", "vm1", *options)
    assert (shown.status, shown.out, shown.err) == (0, "vm1: 0 of 9 frames ballooned\n", "")
    assert daemon.asked == [("GET", f"{PATH}?{query}", None)]


@pytest.mark.parametrize(
    ("options", "query"), [([], ""), (["--scale", "auto"], "&scale=auto"), (["--scale", "64"], "&scale=64")]
)
async def test_a_picture_is_written_as_it_comes(
    daemon: FakeDaemon, command, tmp_path: Path, options: list[str], query: str
) -> None:
    daemon.says("GET", PATH, b"a picture")
    drawn = await command("frames", "vm1", "--png", tmp_path / "a.png", *options)
    assert (drawn.status, drawn.out, drawn.err) == (0, "", "")
    assert (tmp_path / "a.png").read_bytes() == b"a picture"
    assert daemon.asked[0][1] == f"{PATH}?state=ballooned&format=png{query}"


@pytest.mark.parametrize(
    "options",
    [
        ["--scale", "2"],
        ["--png", "a", "--scale", "3"],
        ["--png", "a", "--scale", "0"],
        ["--png", "a", "--json"],
        ["--first", "-1"],
    ],
)
async def test_what_makes_no_sense_is_wrong_usage(daemon: FakeDaemon, command, options: list[str]) -> None:
    wrong = await command("frames", "vm1", *options)
    assert (wrong.status, wrong.out, daemon.asked) == (2, "", [])


async def test_a_window_that_is_too_large_is_refused_with_what_would_do(daemon: FakeDaemon, command) -> None:
    daemon.refuses("GET", PATH, 422, "a png of 7 frames is too large", code="window-too-large", limit_bytes=7)
    refused = await command("frames", "vm1", "--png", "a.png")
    assert (refused.status, refused.out) == (1, "")
    assert "--scale auto" in refused.err.splitlines()[1]
