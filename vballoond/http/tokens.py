"""The API's bearer tokens: one that may do everything, one that may read.

Rules of this file:

* A token is kept as its digest only, so that nothing that prints or logs an object can show it.
* What a client says is compared with both tokens, always and in constant time: neither the time nor the order tells
  which of them it resembles.
"""

import hashlib
import hmac
import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Self

import structlog

from ..errors import StartError

_DIGEST_BYTES: Final = 32
MAX_TOKEN_BYTES: Final = 4096
"""With ``Authorization: Bearer`` before it, a token has to be a header field that is read."""


class Right(Enum):
    """What a request may do."""

    NONE = "none"
    READ = "read"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The digests of the tokens; empty where one is not set. Without ``full``, everybody may do everything."""

    full: bytes = b""
    read: bytes = b""

    @classmethod
    def of(cls, full: str | None, read: str | None = None) -> Self:
        """Keep these tokens; ``read`` only counts beside ``full``."""
        return cls(_digest(full) if full is not None else b"", _digest(read) if full and read is not None else b"")

    def right_of(self, authorization: str) -> Right:
        """Return what a request with this ``Authorization`` may do; empty: it had none."""
        if not self.full:
            return Right.ALL
        scheme, _, given = authorization.partition(" ")
        said = _digest(given.strip()) if scheme.lower() == "bearer" else bytes(_DIGEST_BYTES)
        is_full, is_read = hmac.compare_digest(said, self.full), hmac.compare_digest(said, self.read)
        return Right.ALL if is_full else Right.READ if is_read else Right.NONE


def _digest(token: str) -> bytes:
    # A header may hold anything.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_tokens(full: Path | None, read: Path | None) -> Tokens:
    """Return the tokens in these files; None: there is no such token.

    Raises:
        StartError: A file cannot be read, holds no token or may be written by everybody, or both hold the same token,
            by which a reader could do everything; exit status 2.
    """
    tokens = Tokens.of(_read("token_file", full), _read("read_token_file", read))
    if tokens.read and tokens.read == tokens.full:
        raise StartError(
            f"http.read_token_file {read} and http.token_file {full} hold the same token: whoever may read could write",
            exit_status=2,
        )
    return tokens


def _read(key: str, path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            token = file.read(MAX_TOKEN_BYTES + 1).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot read http.{key} {path}: {error}", exit_status=2) from error
    if not token:
        raise StartError(f"http.{key} {path} is empty: it must hold the token", exit_status=2)
    if len(token.encode()) > MAX_TOKEN_BYTES or not token.isprintable():
        what = f"is more than one line of {MAX_TOKEN_BYTES} bytes"
        raise StartError(f"http.{key} {path} {what}, which no header can carry", exit_status=2)
    _check_mode(key, path, mode)
    return token


def _check_mode(key: str, path: Path, mode: int) -> None:
    """Refuse a file that everybody may write; warn of one that everybody may read, as secrets of containers are."""
    if mode & stat.S_IWOTH:
        raise StartError(
            f"http.{key} {path} may be written by everybody (mode {mode:04o}), who could set the token: chmod o-w it",
            exit_status=2,
        )
    if mode & stat.S_IROTH:
        structlog.get_logger().warning(
            "everybody on this host may read the token", key=f"http.{key}", file=str(path), mode=f"{mode:04o}"
        )
