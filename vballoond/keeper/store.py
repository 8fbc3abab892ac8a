"""The descriptors that are held, and the protocol by which they come: sd_notify(3), as systemd speaks it."""

import contextlib
import ctypes
import os
from bisect import bisect_left
from collections.abc import Mapping
from functools import cmp_to_key
from typing import Final

_NAMES_BYTES_MAX: Final = (128 << 10) - 64  # a string of the environment: with a longer one no exec succeeds (E2BIG)
_KCMP: Final = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "ppc64le": 354, "s390x": 343}.get(os.uname().machine, -1)
_syscall = ctypes.CDLL(None).syscall


def same_file(fd_a: int, fd_b: int) -> bool:
    """Say whether both are one open file description; where kcmp(2) is not permitted, none are known to be."""
    return _compare(fd_a, fd_b) == 0


def valid_name(name: str) -> bool:
    """Say whether a descriptor can have this name: 1 to 255 printable characters of ASCII, no colon."""
    return 0 < len(name) <= 255 and name.isascii() and name.isprintable() and ":" not in name


def parse_message(data: bytes) -> Mapping[str, str]:
    """Return the assignments of a message, of each variable the first; none where it is not UTF-8."""
    try:
        lines = [line.partition("=") for line in data.decode().split("\n")]
    except UnicodeDecodeError:
        return {}
    return {key: value for key, equals, value in reversed(lines) if equals}


class DescriptorStore:
    """Owns descriptors, each under a name, in the order in which they came; of one open file only the first."""

    def __init__(self, capacity: int) -> None:
        self.capacity: Final = capacity
        self._names: Final[dict[int, str]] = {}
        self._by_file: Final[list[int]] = []  # sorted, so that finding a duplicate takes few system calls

    @property
    def names(self) -> list[str]:
        """The name of each descriptor."""
        return list(self._names.values())

    @property
    def fds(self) -> list[int]:
        """The descriptors."""
        return list(self._names)

    def add(self, name: str, fd: int) -> bool:
        """Take ``fd`` over; a duplicate is closed. False: the store is full, ``fd`` is closed."""
        key = cmp_to_key(_compare)
        place = bisect_left(self._by_file, key(fd), key=key)
        duplicate = any(same_file(fd, held) for held in self._by_file[place : place + 1])
        full = len(self._names) >= self.capacity or len(":".join([*self.names, name])) > _NAMES_BYTES_MAX
        if duplicate or full:
            os.close(fd)
            return duplicate
        self._by_file.insert(place, fd)
        self._names[fd] = name
        return True

    def remove(self, name: str) -> None:
        """Close all of that name."""
        for fd in [fd for fd, its_name in self._names.items() if its_name == name]:
            del self._names[fd]
            self._by_file.remove(fd)
            close_quietly(fd)


def close_quietly(fd: int) -> None:
    """Close ``fd``; an error that closing reports is its far end's."""
    with contextlib.suppress(OSError):
        os.close(fd)


def _compare(fd_a: int, fd_b: int) -> int:
    """Order two descriptors by their open files; those that cannot be compared are not equal."""
    return {0: 0, 1: -1}.get(_syscall(_KCMP, os.getpid(), os.getpid(), 0, fd_a, fd_b), 1)
