"""Words that two parties share and poll: how to load, store and order them.

Rules of this file:

* A word that the other side polls (ring indices, event words, ring flags) is loaded and stored as one aligned,
  native-width access: ``memoryview.cast("H")``. ``struct`` with a byte-order prefix stores byte by byte, and a reader
  on another CPU then sees a torn index (measured: 2 % of reads). Slices of bytes tear likewise.
* x86-64 keeps stores in order and loads in order, which covers "element before index". It does not order a store
  before a later load: after publishing an index and before looking at the other side's, :func:`full_barrier`.
* Words are native, so the host must be little-endian as virtio 1.x is. Only x86-64 is supported.
"""

import platform
import threading
from typing import Final

if platform.machine() != "x86_64":
    raise ImportError(f"vballoond relies on x86-64's order of loads and stores, and this host is {platform.machine()}")

# Python has no fence. Taking and giving back a lock executes a locked instruction, which on x86-64 is a full barrier.
_FENCE: Final = threading.Lock()


def full_barrier() -> None:
    """Make every store above visible to other CPUs before any load below is done."""
    with _FENCE:
        pass


def words16(view: memoryview) -> memoryview:
    """Return ``view`` as aligned native 16-bit words.

    The caller owns the result and releases it before the memory under it is unmapped.

    Raises:
        ValueError: The length is not a multiple of two. (Alignment of the address is the caller's to check.)
    """
    if len(view) % 2:
        raise ValueError(f"{len(view)} bytes are not whole 16-bit words")
    return view.cast("H")


def words32(view: memoryview) -> memoryview:
    """Return ``view`` as aligned native 32-bit words; see :func:`words16`."""
    if len(view) % 4:
        raise ValueError(f"{len(view)} bytes are not whole 32-bit words")
    return view.cast("I")
