from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from vballoond.errors import StartError
from vballoond.http.tokens import MAX_TOKEN_BYTES, Right, Tokens, read_tokens

FULL, READ = "correct horse", "battery staple"


def file(directory: Path, content: bytes, mode: int = 0o600, name: str = "token") -> Path:
    path = directory / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("header", ["", "Bearer x", "nonsense"])
def test_without_tokens_everybody_may_do_everything(header: str) -> None:
    assert Tokens().right_of(header) is Right.ALL
    assert Tokens.of(None, READ).right_of(header) is Right.ALL


@pytest.mark.parametrize(
    ("header", "right"),
    [
        (f"Bearer {FULL}", Right.ALL),
        (f"bearer   {FULL} ", Right.ALL),
        (f"Bearer {READ}", Right.READ),
        (f"Basic {FULL}", Right.NONE),
        (f"Basic {READ}", Right.NONE),
        (FULL, Right.NONE),
        ("", Right.NONE),
        ("Bearer", Right.NONE),
        ("Bearer ", Right.NONE),
        (f"Bearer {FULL}{READ}", Right.NONE),
        ("Bearer \udce4", Right.NONE),
    ],
)
def test_a_token_gives_its_right(header: str, right: Right) -> None:
    assert Tokens.of(FULL, READ).right_of(header) is right


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_but_a_token_gives_a_right(said: str) -> None:
    expected = {FULL: Right.ALL, READ: Right.READ}.get(said.strip(), Right.NONE)
    assert Tokens.of(FULL, READ).right_of(f"Bearer {said}") is expected


def test_where_there_is_no_token_that_reads_nothing_is_it() -> None:
    for said in ("", "\0" * 32, "None"):
        assert Tokens.of(FULL).right_of(f"Bearer {said}") is Right.NONE


def test_both_tokens_are_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(said: bytes, token: bytes) -> bool:
        compared.append(token)
        return said == token

    monkeypatch.setattr("hmac.compare_digest", compare)
    tokens = Tokens.of(FULL, READ)
    for header in (f"Bearer {FULL}", f"Bearer {READ}", "Bearer x", "", f"Basic {FULL}"):
        compared.clear()
        tokens.right_of(header)
        assert compared == [tokens.full, tokens.read]


def test_a_token_is_not_shown_by_what_keeps_it() -> None:
    shown = repr(Tokens.of(FULL, READ))
    assert FULL not in shown
    assert READ not in shown


def test_tokens_are_read_without_white_space_around_them(tmp_path: Path) -> None:
    full, read = file(tmp_path, b"  correct horse\n\n"), file(tmp_path, b"battery staple", name="read")
    with capture_logs() as logs:
        assert read_tokens(full, read) == Tokens.of(FULL, READ)
        assert read_tokens(full, None) == Tokens.of(FULL)
        assert read_tokens(None, None) == Tokens()
    assert logs == []


@pytest.mark.parametrize(
    "content", [None, b"", b" \n", b"\xff\xfe", b"two\nlines", b"nul\0", b"x" * (MAX_TOKEN_BYTES + 1)]
)
@pytest.mark.parametrize("key", ["token_file", "read_token_file"])
def test_a_token_that_cannot_be_had_is_an_error_of_the_configuration(
    tmp_path: Path, content: bytes | None, key: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        file(tmp_path, content)
    good = file(tmp_path, b"good", name="good")
    with pytest.raises(StartError) as caught:
        read_tokens(*((path, good) if key == "token_file" else (good, path)))
    assert caught.value.exit_status == 2
    assert f"http.{key} {path}" in caught.value.detail


def test_a_token_of_the_largest_size_is_read(tmp_path: Path) -> None:
    assert read_tokens(file(tmp_path, b"x" * MAX_TOKEN_BYTES), None) == Tokens.of("x" * MAX_TOKEN_BYTES)


def test_the_same_token_for_reading_and_for_everything_is_refused(tmp_path: Path) -> None:
    full, read = file(tmp_path, b"same"), file(tmp_path, b"same\n", name="read")
    with pytest.raises(StartError, match="hold the same token") as caught:
        read_tokens(full, read)
    assert caught.value.exit_status == 2
    assert "same'" not in caught.value.detail


@pytest.mark.parametrize("mode", [0o602, 0o622, 0o666])
def test_a_token_that_everybody_may_set_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(StartError, match=f"may be written by everybody .mode {mode:04o}") as caught:
        read_tokens(file(tmp_path, b"secret", mode), None)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(("mode", "warned"), [(0o604, True), (0o644, True), (0o600, False), (0o640, False)])
def test_a_token_that_everybody_may_read_is_warned_of(tmp_path: Path, mode: int, warned: bool) -> None:
    path = file(tmp_path, b"secret", mode)
    with capture_logs() as logs:
        assert read_tokens(path, None) == Tokens.of("secret")
    said = [(line["log_level"], line["file"], line["mode"]) for line in logs]
    assert said == ([("warning", str(path), f"{mode:04o}")] if warned else [])
    assert "secret" not in str(logs)
