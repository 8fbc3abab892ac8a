"""The buffer types that codecs read and write (``collections.abc.Buffer`` arrives with Python 3.12 only)."""

from typing import TypeAlias

ReadableBuffer: TypeAlias = bytes | bytearray | memoryview
WritableBuffer: TypeAlias = bytearray | memoryview
