"""One declaration per wire structure, and the fast codecs that are derived from it.

Rules of this file:

* A structure is declared with construct, once. construct's own parser is the reference: it serves the documentation,
  debug dumps and the property tests, which show that it and the derived codecs read every byte string alike.
* What runs per request is derived from that declaration: a ``struct.Struct`` for one record, a numpy dtype for many.
  construct takes 60 to 100 times as long, and its ``compile()`` drops checks, so it must not see a guest's bytes.
* Every integer is unsigned and little-endian (virtio 1.4 section 1.4; vhost-user says "host order", and the supported
  hosts are little-endian). A declaration that is not is refused when it is imported.
* A codec reads exactly ``size`` bytes or raises :class:`LayoutError`; it never reads past them and never ignores some.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar

import construct
import numpy as np

from .buffers import ReadableBuffer, WritableBuffer

Record = TypeVar("Record", bound=tuple[Any, ...])

# construct's format string for each field that may stand in a declaration, and numpy's name for the same bytes.
_DTYPES: Final = {"<B": "<u1", "<H": "<u2", "<L": "<u4", "<Q": "<u8"}


class LayoutError(ValueError):
    """Bytes do not have the length of the structure that they are read as."""


class Layout(Generic[Record]):
    """A fixed-size structure of unsigned little-endian integers.

    Args:
        record:
            A ``NamedTuple`` class whose fields have the names of the declaration, in its order.

        fields:
            construct's integer fields (``Int8ul``, ``Int16ul``, ``Int32ul``, ``Int64ul``), without padding between.

    Raises:
        TypeError: At import, when a field is not of these kinds or the names differ from the record's.
    """

    def __init__(self, record: Callable[..., Record], **fields: Any) -> None:
        names = getattr(record, "_fields", None)
        if names != tuple(fields):
            raise TypeError(f"{record} has the fields {names}, its layout declares {tuple(fields)}")
        formats = {name: str(getattr(field, "fmtstr", None)) for name, field in fields.items()}
        for name, fmt in formats.items():
            if fmt not in _DTYPES:
                raise TypeError(f"field {name!r} is not an unsigned little-endian integer: {fmt}")
        self.record: Final = record
        self.construct: Final[Any] = construct.Struct(*(name / field for name, field in fields.items()))
        self.struct: Final = struct.Struct("<" + "".join(fmt[1] for fmt in formats.values()))
        self.dtype: Final = np.dtype([(name, _DTYPES[fmt]) for name, fmt in formats.items()])
        self.size: Final = self.struct.size

    def unpack(self, data: ReadableBuffer) -> Record:
        """Read one record from ``data``, which must be exactly ``size`` bytes long.

        Raises:
            LayoutError: The length differs.
        """
        if len(data) != self.size:
            raise LayoutError(f"{len(data)} bytes where {self._name} has {self.size}")
        return self.record(*self.struct.unpack(data))

    def unpack_from(self, buffer: ReadableBuffer, offset: int) -> Record:
        """Read the record that starts at ``offset``.

        Raises:
            LayoutError: The record does not lie inside the buffer whole.
        """
        if not 0 <= offset <= len(buffer) - self.size:
            raise LayoutError(f"{self._name} at offset {offset} leaves a buffer of {len(buffer)} bytes")
        return self.record(*self.struct.unpack_from(buffer, offset))

    def pack(self, record: Record) -> bytes:
        """Return the ``size`` bytes of ``record``; a value that does not fit raises ``struct.error``."""
        return self.struct.pack(*record)

    def pack_into(self, buffer: WritableBuffer, offset: int, record: Record) -> None:
        """Store ``record`` at ``offset``. Never for a word that the other side polls: see ``shared_words``."""
        self.struct.pack_into(buffer, offset, *record)

    def iter_unpack(self, data: bytes) -> Iterator[Record]:
        """Read the whole records at the head of ``data``; a shorter tail is left out."""
        whole = len(data) - len(data) % self.size
        return (self.record(*values) for values in self.struct.iter_unpack(data[:whole]))

    def array(self, data: bytes) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
        """View the whole records at the head of ``data`` as a numpy array; a shorter tail is left out."""
        return np.frombuffer(data, dtype=self.dtype, count=len(data) // self.size)

    def offset_of(self, field: str) -> int:
        """Return the offset of ``field`` in bytes."""
        fields = self.dtype.fields
        assert fields is not None
        return int(fields[field][1])

    @property
    def _name(self) -> str:
        return str(getattr(self.record, "__name__", self.record))
