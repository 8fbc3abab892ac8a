import pytest

from protocol.virtio import RingFeature
from vballoond.memory.guest_memory import GuestMemory
from vballoond.transport.rings import RingPlace, open_ring
from vballoond.virtqueue.state import RingState


def test_a_packed_rings_position_is_none_for_a_split_ring() -> None:
    memory = GuestMemory()
    with pytest.raises(ValueError, match="0x10000, which is a packed ring's"):
        open_ring(
            RingPlace(64, 0, 4096, 8192), memory.user_view, memory, int(RingFeature.VERSION_1), RingState(0x10000)
        )
