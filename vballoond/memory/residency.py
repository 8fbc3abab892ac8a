"""What the kernel says that memory files take of the host."""

import os
from collections.abc import Iterable
from typing import Final

_BLOCK_BYTES: Final = 512  # st_blocks counts these whatever the file system's own block is


def resident_bytes(fds: Iterable[int]) -> int:
    """Return what the files behind ``fds`` occupy now, each file once however many descriptors it has."""
    stats = (os.fstat(fd) for fd in fds)
    return sum({(stat.st_dev, stat.st_ino): stat.st_blocks for stat in stats}.values()) * _BLOCK_BYTES
