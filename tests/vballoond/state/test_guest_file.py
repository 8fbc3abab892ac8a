import fcntl
import json
import os
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.backend_rig import open_descriptors
from support.properties import examples

from protocol.balloon.config_space import BalloonConfig
from vballoond.errors import StateError
from vballoond.state.guest_file import GuestFile, make_guest_file
from vballoond.state.sealed_file import make_sealed, map_sealed
from vballoond.state.slots import Slots
from vballoond.state.versioned import FORMAT_VERSION, parse_versioned

SLOTS_AT = 4096
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def fd() -> Iterator[int]:
    made = make_guest_file()
    yield made
    os.close(made)


def write_text(fd: int, text: bytes) -> None:
    """Have a text in the file that is whole, whatever it says."""
    Slots(memoryview(map_sealed(fd))[SLOTS_AT:]).write(text)


def test_what_was_written_is_read_by_whoever_has_the_descriptor(fd: int) -> None:
    file = GuestFile(fd)
    file.write({"one": 1})
    file.write({"two": [None, 2.5, "zwei"]})
    file.live.config = BalloonConfig(1, 2, 3, 4)
    assert file.read() == {"two": [None, 2.5, "zwei"]}
    file.close()
    assert GuestFile(fd).read() == {"two": [None, 2.5, "zwei"]}
    assert GuestFile(fd).live.config == BalloonConfig(1, 2, 3, 4)


def test_two_processes_see_one_file(fd: int) -> None:
    one, two = GuestFile(fd), GuestFile(fd)
    one.write({"said": "by one"})
    one.live.reclaimed_bytes = 5
    assert two.read() == {"said": "by one"}
    assert two.live.reclaimed_bytes == 5


def test_words_and_text_do_not_touch_each_other(fd: int) -> None:
    file = GuestFile(fd)
    file.write({"long": "x" * 60000})
    file.write({"long": "y" * 60000})
    assert file.live.config == BalloonConfig()
    file.live.config = BalloonConfig(*[0xFFFFFFFF] * 4)
    assert file.read() == {"long": "y" * 60000}


def test_a_text_that_is_too_long_is_refused_and_nothing_is_lost(fd: int) -> None:
    file = GuestFile(fd)
    file.write({"before": 1})
    with pytest.raises(StateError, match="bytes of state, where there is room for"):
        file.write({"long": "x" * (1 << 16)})
    assert file.read() == {"before": 1}
    file.write({"after": 2})
    assert GuestFile(fd).read() == {"after": 2}


def test_a_new_file_has_no_state_and_says_so(fd: int) -> None:
    with pytest.raises(StateError, match="no state was kept, or it is damaged"):
        GuestFile(fd).read()


def test_a_damaged_text_is_found_out(fd: int) -> None:
    file = GuestFile(fd)
    file.write({"only": "text"})
    memory = map_sealed(fd)
    at = memory.find(b"only")
    memory[at] ^= 1
    with pytest.raises(StateError, match="its checksum is wrong"):
        file.read()


def test_a_damaged_newest_text_leaves_the_one_before(fd: int) -> None:
    file = GuestFile(fd)
    file.write({"said": "older"})
    file.write({"said": "newer"})
    memory = map_sealed(fd)
    memory[memory.find(b"newer")] ^= 1
    assert GuestFile(fd).read() == {"said": "older"}


def test_a_file_takes_memory_only_where_it_was_written(fd: int) -> None:
    GuestFile(fd).write({"short": 1})
    assert os.fstat(fd).st_blocks * 512 <= 2 * 4096


def foreign(size: int, *, sealed: bool) -> int:
    if sealed:
        return make_sealed("foreign", size)
    fd = os.memfd_create("foreign", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return fd


@pytest.mark.parametrize(
    ("size", "sealed", "why"),
    [
        (4096 + 2 * 65536, False, "not sealed"),
        (4096 + 2 * 65536 - 4096, True, "has 131072 bytes, not 135168"),
        (4096 + 2 * 65536 + 1, True, "has 135169 bytes, not 135168"),
        (1, True, "has 1 bytes"),
        (0, True, "cannot be mapped"),
    ],
)
def test_what_is_no_such_file_is_refused_and_stays_the_callers(size: int, sealed: bool, why: str) -> None:
    before = open_descriptors()
    fd = foreign(size, sealed=sealed)
    with pytest.raises(StateError, match=why):
        GuestFile(fd)
    os.close(fd)
    assert open_descriptors() == before


def test_state_of_a_newer_format_says_that_a_newer_one_wrote_it(fd: int) -> None:
    write_text(fd, json.dumps({"version": FORMAT_VERSION + 1, "what": "ever"}).encode())
    with pytest.raises(StateError, match=r"format 2, .* reads format 1: it was written by a newer one, so start that"):
        GuestFile(fd).read()


@pytest.mark.parametrize("version", [0, -1, None, "1", 1.0, True, float("nan"), [], {}, "x" * 60000])
def test_a_format_that_there_never_was_is_refused_in_a_sentence(fd: int, version: object) -> None:
    write_text(fd, json.dumps({"version": version}).encode())
    with pytest.raises(StateError, match="it is none that there ever was") as caught:
        GuestFile(fd).read()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'["version"]',
        b"1",
        b'"version"',
        b"{",
        b'{"version"}',
        b"{}",
        b"\xff\xfe\x00",
        b"\x80" * 60000,
        b"[" * 60000,
        b'{"version":' * 5000,
        b'{"version":' + b"9" * 50000 + b"}",
        b'{"version":1,"x":' + b"9" * 50000 + b"}",
    ],
    ids=range(15),
)
def test_a_whole_text_that_is_no_state_is_refused_in_a_sentence(fd: int, text: bytes) -> None:
    write_text(fd, text)
    with pytest.raises(StateError) as caught:
        GuestFile(fd).read()
    assert len(str(caught.value)) < 300


@examples(300)
@given(st.binary(max_size=200) | JSON.map(lambda content: json.dumps(content).encode()))
@example(b'{"version":1,"a":{"a":1e999}}')
def test_whatever_a_text_says_it_is_content_or_a_state_error(text: bytes) -> None:
    try:
        content = parse_versioned(text)
    except StateError:
        return
    assert json.loads(text) == {"version": FORMAT_VERSION, **content} or b"NaN" in text


@examples()
@given(content=st.dictionaries(st.text(max_size=5).filter(lambda key: key != "version"), JSON, max_size=4))
def test_content_comes_back_as_it_was_written(content: dict[str, object]) -> None:
    fd = make_guest_file()
    try:
        GuestFile(fd).write(content)
        assert json.dumps(GuestFile(fd).read()) == json.dumps(content)
    finally:
        os.close(fd)


@examples()
@given(st.binary(min_size=1, max_size=4096), st.integers(0, 4096 + 2 * 65536 - 4096))
def test_garbage_in_the_file_is_no_state(garbage: bytes, at: int) -> None:
    fd = make_guest_file()
    try:
        map_sealed(fd)[at : at + len(garbage)] = garbage
        file = GuestFile(fd)
        with pytest.raises(StateError):
            file.read()
        file.write({"new": 1})
        assert GuestFile(fd).read() == {"new": 1}
    finally:
        os.close(fd)
