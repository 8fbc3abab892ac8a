"""Payloads of the messages, each declared once. Addresses and sizes are in bytes."""

from enum import IntFlag
from typing import Final, NamedTuple

from construct import Int32ul, Int64ul

from ..layout import Layout


class U64(NamedTuple):
    """Features, queue counts, acknowledgements (0: done, else refused), and ring numbers with descriptors."""

    value: int


class VringState(NamedTuple):
    """``num`` is a queue size, a ring position, or 0 and 1 for disable and enable."""

    ring: int
    num: int


class VringAddress(NamedTuple):
    """Where a ring is, as *user* addresses: those of the front-end's own process."""

    ring: int
    flags: int
    descriptor: int
    used: int
    available: int
    log: int


class MemoryRegionDescription(NamedTuple):
    """A piece of guest memory: where the guest, the front-end and the descriptor that comes along have it."""

    guest_address: int
    memory_size: int
    user_address: int
    mmap_offset: int


class MemoryTableHeader(NamedTuple):
    """Stands before ``regions`` regions in SET_MEM_TABLE."""

    regions: int
    padding: int


class SingleRegion(NamedTuple):
    """ADD_MEM_REG and REM_MEM_REG: one region behind eight bytes of padding."""

    padding: int
    guest_address: int
    memory_size: int
    user_address: int
    mmap_offset: int

    @property
    def region(self) -> MemoryRegionDescription:
        """The region without its padding."""
        return MemoryRegionDescription(*self[1:])


class ConfigHeader(NamedTuple):
    """Stands before ``size`` bytes of configuration space in GET_CONFIG and SET_CONFIG."""

    offset: int
    size: int
    flags: int


U64_PAYLOAD: Final = Layout(U64, value=Int64ul)
VRING_STATE: Final = Layout(VringState, ring=Int32ul, num=Int32ul)
VRING_ADDRESS: Final = Layout(
    VringAddress, ring=Int32ul, flags=Int32ul, descriptor=Int64ul, used=Int64ul, available=Int64ul, log=Int64ul
)
MEMORY_TABLE_HEADER: Final = Layout(MemoryTableHeader, regions=Int32ul, padding=Int32ul)
MEMORY_REGION: Final = Layout(
    MemoryRegionDescription, guest_address=Int64ul, memory_size=Int64ul, user_address=Int64ul, mmap_offset=Int64ul
)
SINGLE_REGION: Final = Layout(
    SingleRegion,
    padding=Int64ul,
    guest_address=Int64ul,
    memory_size=Int64ul,
    user_address=Int64ul,
    mmap_offset=Int64ul,
)
CONFIG_HEADER: Final = Layout(ConfigHeader, offset=Int32ul, size=Int32ul, flags=Int32ul)

MAX_TABLE_REGIONS: Final = 8
"""VHOST_MEMORY_BASELINE_NREGIONS: what SET_MEM_TABLE can carry."""

MAX_CONFIG_BYTES: Final = 256
"""VHOST_USER_MAX_CONFIG_SIZE: no front-end reads or writes configuration space beyond this."""


class VringDescriptor(IntFlag):
    """How SET_VRING_KICK, CALL and ERR pack a ring number and "no descriptor comes along" into their u64."""

    INDEX_MASK = 0xFF
    NO_FD = 1 << 8
