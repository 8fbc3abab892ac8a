import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from vballoond.sizes import format_size, parse_size

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0MiB", 0),
        ("1KiB", 1024),
        ("512MiB", 512 << 20),
        ("1GiB", 1 << 30),
        ("16TiB", 16 << 40),
        ("1.5GiB", 3 << 29),
        ("0.25 MiB", 1 << 18),
        ("  2 GiB\n", 2 << 30),
        ("007MiB", 7 << 20),
        ("0.0001KiB", 0),
    ],
)
def test_a_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "512",
        "512M",
        "512MB",
        "512mib",
        "MiB",
        "-1MiB",
        "+1MiB",
        "1e3MiB",
        ".5GiB",
        "1.GiB",
        "1,5GiB",
        "1 2MiB",
        "1MiBs",
        "1MiB 2",
    ],
)
def test_what_is_no_size_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="write a number with KiB, MiB, GiB or TiB") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@examples()
@given(st.integers(0, 10**15 - 1), st.sampled_from(sorted(UNITS)))
def test_a_whole_number_of_units_is_exact(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * UNITS[unit]


@examples()
@given(st.text(max_size=20))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        assert parse_size(text) >= 0
    except ValueError as error:
        assert "is not a size" in str(error)  # noqa: PT017


@pytest.mark.parametrize("digits", [30, 400, 5000])
def test_a_number_of_any_length_is_a_size_or_refused(digits: int) -> None:
    text = "9" * digits + "TiB"
    try:
        assert parse_size(text) > 0
    except ValueError as error:
        assert "is not a size" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (4096, "4 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1024 KiB"),
        (1 << 20, "1 MiB"),
        (512 << 20, "512 MiB"),
        (1023 << 20, "1023 MiB"),
        (1 << 30, "1 GiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 40, "1 TiB"),
        (16 << 40, "16 TiB"),
    ],
)
def test_a_size_is_shown_in_the_largest_unit_that_it_fills(size: int, text: str) -> None:
    assert format_size(size) == text


@examples()
@given(st.integers(1 << 10, 1 << 50))
def test_what_is_shown_can_be_read_back_to_a_thousandth(size: int) -> None:
    assert abs(parse_size(format_size(size)) - size) <= size / 1000
