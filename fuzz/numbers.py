"""Random numbers and bytes, mostly such that are likely to hurt."""

from random import Random
from typing import Final

EDGES: Final = (
    *(0, 1, 2, 3, 4, 5, 7, 8, 16, 127, 128, 129, 255, 256, 1023, 1024, 1025, 4095, 4096, 4097),
    *(0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x10001, 0x8000_8000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF),
    *(1 << 32, 1 << 43, 1 << 44, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1),
)
_OFTEN: Final = 0.8


def number(random: Random, bits: int, usual: tuple[int, ...] = EDGES) -> int:
    """Return a number of ``bits`` bits: one of the ``usual`` as a rule, a neighbour of one, or any."""
    if random.random() < _OFTEN:
        near = random.choice(usual) + random.choice((0, 0, 0, -1, 1))
        return near & ((1 << bits) - 1)
    return random.getrandbits(bits)


def scribbled(random: Random, data: bytes) -> bytes:
    """Return ``data`` with a number or a byte of it changed, longer or shorter; the empty one may get longer."""
    image = bytearray(data)
    width = random.choice((1, 2, 4, 8))
    match random.randrange(4):
        case 0 | 1 if len(image) >= width:
            at = random.randrange(len(image) // width) * width
            image[at : at + width] = number(random, width * 8).to_bytes(width, "little")
        case 2:
            image += random.randbytes(random.choice((1, 4, 8, 200, 5000)))
        case _:
            del image[random.randrange(len(image) + 1) :]
    return bytes(image)
