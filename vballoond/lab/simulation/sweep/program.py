"""Which program makes runs: results of two that differ do not compare.

Rules of this file:

* What counts is the code that decides what comes of a run, not its version, since whoever works on the program changes
  the one without the other.
* What is installed beside the program does not count: neither libraries, nor policies that packages bring.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

_TREE: Final = Path(__file__).parents[4]
_DECIDING: Final = (
    "guest_driver/**/*.py",
    "guest_driver/workload/scenarios/*.toml",  # scenarios name these; what they say themselves is in each job
    "protocol/**/*.py",
    "vballoond/balloon/**/*.py",
    "vballoond/config/policy.py",
    "vballoond/config/section.py",
    "vballoond/errors.py",
    "vballoond/lab/**/*.py",
    "vballoond/memory/**/*.py",
    "vballoond/policy/**/*.py",
    "vballoond/runner/child.py",
    "vballoond/runner/confinement.py",
    "vballoond/runner/findings.py",
    "vballoond/runner/messages.py",
    "vballoond/runner/script_process.py",
    "vballoond/runner/scripts.py",
    "vballoond/sizes.py",
    "vballoond/transport/rings.py",
    "vballoond/transport/virtio_set_up.py",
    "vballoond/virtqueue/**/*.py",
)


def deciding() -> list[Path]:
    """Return the files that decide what comes of a run."""
    return sorted({path for pattern in _DECIDING for path in _TREE.glob(pattern)})


@cache
def program() -> str:
    """Return what this program is known by: the same for the same code."""
    content = hashlib.sha256()
    for path in deciding():
        content.update(f"{path.relative_to(_TREE)}\n".encode() + path.read_bytes())
    return content.hexdigest()[:16]
