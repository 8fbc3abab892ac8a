"""Which file a Unix socket is bound to, as the kernel tells it: sock_diag(7), which needs no privilege.

A path says too little: the file there may have been removed and made anew, by somebody else. While a socket lives it
holds on to its file, so the number of that is nobody else's.
"""

import os
import socket
import struct
from contextlib import suppress
from typing import Final

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_UDIAG_SHOW_VFS: Final = 2
_UNIX_DIAG_VFS: Final = 1
_ANY: Final = 0xFFFFFFFF

_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST: Final = struct.Struct("=BBHIIIII")  # unix_diag_req: family, protocol, -, states, inode, show, cookie twice
_MESSAGE_BYTES: Final = 16  # unix_diag_msg
_ATTRIBUTE: Final = struct.Struct("=HH")  # nlattr: length, type
_VFS: Final = struct.Struct("=II")  # unix_diag_vfs: inode, device

INODE_MASK: Final = 0xFFFFFFFF
"""What is told of an inode's number: its lower half."""


def bound_inode(fd: int) -> int | None:
    """Return the number (its lower 32 bits) of the file that the socket ``fd`` is bound to; None: it cannot be told."""
    # A kernel or a sandbox may do without it.
    with suppress(OSError, struct.error), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as diag:
        diag.settimeout(1)
        diag.sendto(_question(os.fstat(fd).st_ino), (0, 0))
        return _answered(diag.recv(8192))
    return None


def _question(socket_inode: int) -> bytes:
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, _ANY, socket_inode & INODE_MASK, _UDIAG_SHOW_VFS, _ANY, _ANY)
    return _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + request


def _answered(data: bytes) -> int | None:
    length, kind, *_ = _HEADER.unpack_from(data)
    place = _HEADER.size + _MESSAGE_BYTES
    while kind == _SOCK_DIAG_BY_FAMILY and place + _ATTRIBUTE.size <= min(length, len(data)):
        attribute_bytes, attribute = _ATTRIBUTE.unpack_from(data, place)
        if attribute == _UNIX_DIAG_VFS:
            inode, _ = _VFS.unpack_from(data, place + _ATTRIBUTE.size)
            return int(inode)
        place += max(_ATTRIBUTE.size, attribute_bytes + 3 & ~3)
    return None
