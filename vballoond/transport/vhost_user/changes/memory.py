"""Memory regions, all at once or one by one."""

from dataclasses import replace
from typing import Final

from protocol.vhost_user.payloads import (
    MAX_TABLE_REGIONS,
    MEMORY_REGION,
    MEMORY_TABLE_HEADER,
    SINGLE_REGION,
    MemoryRegionDescription,
)

from ....errors import FrontEndError
from ....memory.region import RegionPlace
from ..channel import Message
from ..session import Session, memory_name
from .change import Change, Offer, at_least, exactly, only_fd

MAX_MEMORY_SLOTS: Final = 128
"""What GET_MAX_MEM_SLOTS answers. QEMU would take up to 512, but each slot costs two descriptors here, and one monitor
must not use up what the process may have."""


def set_mem_table(session: Session, message: Message, offer: Offer) -> Change:
    """SET_MEM_TABLE: replaces all regions. Linux 6.1 sends a payload for two regions however many there are."""
    del offer
    count = MEMORY_TABLE_HEADER.unpack_from(at_least(message, MEMORY_TABLE_HEADER.size), 0).regions
    if count > MAX_TABLE_REGIONS:
        raise FrontEndError(f"a memory table of {count} regions: the message has room for {MAX_TABLE_REGIONS}")
    if len(message.fds) != count:
        raise FrontEndError(f"a memory table of {count} regions came with {len(message.fds)} descriptors")
    payload = at_least(message, MEMORY_TABLE_HEADER.size + count * MEMORY_REGION.size)
    places = tuple(
        _place(MEMORY_REGION.unpack_from(payload, MEMORY_TABLE_HEADER.size + number * MEMORY_REGION.size))
        for number in range(count)
    )
    store = {memory_name(place): fd for place, fd in zip(places, message.fds, strict=True)}
    if len(store) < count:
        raise FrontEndError("a memory table has the same region twice")
    gone = {memory_name(place) for place in session.regions} - store.keys()
    return Change(replace(session, regions=places), store, tuple(gone))


def add_mem_reg(session: Session, message: Message, offer: Offer) -> Change:
    """ADD_MEM_REG."""
    del offer
    place = _place(SINGLE_REGION.unpack(exactly(message, SINGLE_REGION.size)).region)
    fd = only_fd(message)
    if len(session.regions) >= MAX_MEMORY_SLOTS:
        raise FrontEndError(f"all {MAX_MEMORY_SLOTS} memory slots are taken")
    if any(memory_name(place) == memory_name(known) for known in session.regions):
        raise FrontEndError(f"the memory region at guest address {place.guest_address:#x} is there already")
    return Change(replace(session, regions=(*session.regions, place)), {memory_name(place): fd})


def rem_mem_reg(session: Session, message: Message, offer: Offer) -> Change:
    """REM_MEM_REG: found by addresses and size, since QEMU sends 0 for the offset. A descriptor may come along."""
    del offer
    gone = SINGLE_REGION.unpack(exactly(message, SINGLE_REGION.size)).region
    for place in session.regions:
        if (place.guest_address, place.size_bytes, place.user_address) == gone[:3]:
            regions = tuple(other for other in session.regions if other is not place)
            return Change(replace(session, regions=regions), drop=(memory_name(place),))
    raise FrontEndError(
        f"there is no memory region of {gone.memory_size} bytes at guest address {gone.guest_address:#x}"
    )


def _place(region: MemoryRegionDescription) -> RegionPlace:
    return RegionPlace(region.guest_address, region.memory_size, region.user_address, region.mmap_offset)
