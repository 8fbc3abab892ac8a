"""Compiling the loops that run over page frames, once per machine and version of this package.

numba keeps compiled functions on disk by the age of the file that each stands in, so a function would go on calling the
old form of one in another file. Here the place on disk carries a digest of this folder's sources too. What is compiled
elsewhere calls only what stands in this folder.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])


def _digest() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _cache_directory() -> Path | None:
    """Return where compiled functions are kept; None where the user has no directory to keep them in."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        directory = base / "vballoond" / f"compiled-{_digest()}"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return directory if os.access(directory, os.W_OK) else None


_DIRECTORY: Final = _cache_directory()
if _DIRECTORY is not None:
    numba.config.CACHE_DIR = str(_DIRECTORY)


def compiled(function: _Function) -> _Function:
    """Compile ``function`` at its first call, or take it from disk; what is compiled behaves as the function does.

    It runs without the interpreter's lock. It cannot make arrays: without numba's counting of references to the arrays
    of a zone, which are passed along with every call, a run takes an eighth of the time.
    """
    made: _Function = numba.njit(function, cache=_DIRECTORY is not None, nogil=True, _nrt=False)
    return made
