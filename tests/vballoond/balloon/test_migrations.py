import pytest

from vballoond.balloon.migrations import REMEMBERED, Migration, Migrations


def request(*pfns: int) -> bytes:
    return b"".join(pfn.to_bytes(4, "little") for pfn in pfns)


def moved(inflated, deflated, *, new=None, gone=None) -> int:
    migrations = Migrations()
    migrations.inflated(request(*inflated), len(inflated) if new is None else new)
    return migrations.deflated(request(*deflated), len(deflated) if gone is None else gone, 7)


def test_an_inflate_and_a_deflate_of_a_page_each_are_a_migration():
    migrations = Migrations()
    migrations.inflated(request(900), 1)
    assert migrations.deflated(request(17), 1, 42) == 1
    assert migrations.since(41) == [Migration(from_pfn=17, to_pfn=900, version=42)]
    assert migrations.since(42) == []


def test_a_larger_page_is_as_many_frames():
    migrations = Migrations()
    migrations.inflated(request(*range(160, 176)), 16)
    assert migrations.deflated(request(*range(32, 48)), 16, 3) == 16
    assert [(move.from_pfn, move.to_pfn) for move in migrations.since(0)] == list(
        zip(range(32, 48), range(160, 176), strict=True)
    )


@pytest.mark.parametrize(
    ("inflated", "deflated"),
    [
        ([5], [5]),
        ([5], [7, 9]),
        ([5, 9], [7]),
        ([5, 9], [7, 8]),
        ([4, 5], [8, 9, 10]),
        ([5, 6], [8, 9]),
        ([3, 4, 5], [8, 9, 10]),
        (range(32, 64), range(96, 128)),
        ([], [3]),
        ([3], []),
        ([5, 4], [9, 8]),
    ],
)
def test_other_requests_are_none(inflated, deflated):
    assert moved(inflated, deflated) == 0


@pytest.mark.parametrize("changes", [{"new": 0}, {"gone": 0}])
def test_a_frame_that_was_held_before_or_was_not_held_has_not_moved(changes):
    assert moved([5], [7], **changes) == 0


def test_bytes_behind_the_last_frame_make_it_another_request():
    migrations = Migrations()
    migrations.inflated(request(5) + b"\0", 1)
    assert migrations.deflated(request(7), 1, 1) == 0


def test_one_inflate_belongs_to_one_deflate_and_the_newest_counts():
    migrations = Migrations()
    migrations.inflated(request(1), 1)
    migrations.inflated(request(2), 1)
    assert migrations.deflated(request(8), 1, 1) == 1
    assert migrations.deflated(request(9), 1, 2) == 0
    assert [(move.from_pfn, move.to_pfn) for move in migrations.since(0)] == [(8, 2)]


@pytest.mark.parametrize("between", ["forget_inflated", "clear"])
def test_what_comes_between_parts_them(between):
    migrations = Migrations()
    migrations.inflated(request(1), 1)
    getattr(migrations, between)()
    assert migrations.deflated(request(8), 1, 1) == 0


def test_a_deflate_of_many_between_parts_them():
    migrations = Migrations()
    migrations.inflated(request(1), 1)
    assert migrations.deflated(request(*range(300)), 300, 1) == 0
    assert migrations.deflated(request(8), 1, 2) == 0


def test_only_the_newest_are_remembered():
    migrations = Migrations()
    for number in range(REMEMBERED + 5):
        migrations.inflated(request(number + 1), 1)
        assert migrations.deflated(request(number), 1, number) == 1
    assert [move.version for move in migrations.since(-1)] == list(range(5, REMEMBERED + 5))
    migrations.clear()
    assert migrations.since(-1) == []
