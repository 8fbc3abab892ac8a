import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vballoond.cli.client import Answer, ClientError
from vballoond.cli.watch.frame_cells import FrameCells, read_frame_cells, scale_for


class Daemon:
    """Stands in for a client: a guest of so many frames, in whatever scale is asked for."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.asked: list[str] = []

    def get(self, path: str) -> Answer:
        self.asked.append(path)
        scale = int(path.partition("scale=")[2])
        headers = {"x-first-frame": "256", "x-frame-count": str(self.frames), "x-frame-scale": str(scale)}
        return Answer(200, bytes(-(-self.frames // scale)), {**headers, "x-frame-version": "7"})


def cells(scale: int = 4, count: int = 8) -> FrameCells:
    return FrameCells(256, scale * count, scale, "7", bytearray(count))


def coded(*densities: int) -> str:
    return base64.b64encode(bytes(densities)).decode()


@pytest.mark.parametrize(
    ("frames", "capacity", "scale"), [(0, 10, 1), (10, 10, 1), (11, 10, 2), (262144, 1120, 256), (5, 0, 8)]
)
def test_the_scale_is_the_smallest_that_fits(frames: int, capacity: int, scale: int) -> None:
    assert scale_for(frames, capacity) == scale


def test_a_map_is_read_in_as_many_cells_as_fit() -> None:
    daemon = Daemon(262144)
    read = read_frame_cells(daemon, "vm1", 262144, 1120)
    assert (read.first, read.frames, read.scale, read.version, len(read.cells)) == (256, 262144, 256, "7", 1024)
    assert daemon.asked == ["/v1/balloons/vm1/frames?format=density&scale=256"]


@pytest.mark.parametrize("believed", [0, 1000, 1 << 30])
def test_a_guest_that_is_larger_than_believed_is_read_again(believed: int) -> None:
    daemon = Daemon(262144)
    assert read_frame_cells(daemon, "vm1", believed, 1120).scale == 256
    assert len(daemon.asked) == 2


def test_a_daemon_that_says_too_little_is_an_error() -> None:
    class Older(Daemon):
        def get(self, path: str) -> Answer:
            del path
            return Answer(200, b"")

    with pytest.raises(ClientError, match="no X-First-Frame"):
        read_frame_cells(Older(1), "vm1", 1, 1)


def test_changes_are_painted_where_they_are() -> None:
    shown = cells()
    shown.change({"version": 8, "scale": 4, "cells": [[256 + 8, coded(1, 2)], [256 + 28, coded(3)]]})
    assert list(shown.cells) == [0, 0, 1, 2, 0, 0, 0, 3]


def test_ranges_are_painted_frame_by_frame() -> None:
    shown = cells(scale=1)
    shown.change({"version": 8, "scale": 1, "ranges": [{"first": 257, "count": 3, "ballooned": True}]})
    shown.change({"version": 9, "scale": 1, "ranges": [{"first": 258, "count": 1, "ballooned": False}]})
    assert list(shown.cells) == [0, 254, 0, 254, 0, 0, 0, 0]


@given(st.integers(-(1 << 40), 1 << 40), st.integers(-5, 1 << 62), st.binary(max_size=20))
def test_nothing_is_painted_outside(first: int, count: int, densities: bytes) -> None:
    ranges, blocks = cells(scale=1), cells()
    ranges.change({"scale": 1, "ranges": [{"first": first, "count": count, "ballooned": True}]})
    blocks.change({"scale": 4, "cells": [[first, base64.b64encode(densities).decode()]]})
    assert (len(ranges.cells), len(blocks.cells)) == (8, 8)


def test_what_begins_before_the_picture_is_painted_in_part() -> None:
    ranges, blocks = cells(scale=1), cells()
    ranges.change({"scale": 1, "ranges": [{"first": 254, "count": 4, "ballooned": True}]})
    blocks.change({"scale": 4, "cells": [[248, coded(1, 2, 3)]]})
    assert list(ranges.cells) == [254, 254, 0, 0, 0, 0, 0, 0]
    assert list(blocks.cells) == [3, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"scale": 8, "cells": []},
        {"scale": 4, "cells": [7]},
        {"scale": 4, "cells": [[256, "no base64!"]]},
        {"scale": 4, "cells": [[256, 7]]},
        {"scale": 4, "ranges": [{"first": 256}]},
    ],
)
def test_what_is_no_change_is_an_error(data: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        cells().change(data)
