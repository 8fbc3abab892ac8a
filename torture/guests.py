"""Where guests come from: the tests' own, which boot real kernels."""

import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import qemu, uml
from support.console_guest import ConsoleGuest
from support.fake_front_end import FakeFrontEnd, FakeGuest, uml_connect
from support.fake_systemd import FakeSystemd

__all__ = ["ConsoleGuest", "FakeFrontEnd", "FakeGuest", "FakeSystemd", "Guests", "uml_connect"]

INSMOD: Final = "insmod /virtio_balloon.ko"
RMMOD: Final = "rmmod virtio_balloon"


def missing(*, with_qemu: bool) -> str | None:
    """Why there can be no guest here; None where there can."""
    return uml.missing() or (qemu.missing() if with_qemu else None)


class Guests:
    """Boots guests.

    Args:
        directory: For what they need.
        with_qemu: Whether QEMU's are wanted too.
    """

    def __init__(self, directory: Path, *, with_qemu: bool = False) -> None:
        self._directory: Final = directory
        self._uml_initrd: Final = uml.initrd(_made(directory / "for-uml"))
        self._qemu_initrd: Final = qemu.initrd(_made(directory / "for-qemu")) if with_qemu else None
        self._boots = 0

    def boot(self, socket: Path, memory_mib: int) -> ConsoleGuest:
        """Return a user-mode Linux that boots when it is entered."""
        self._boots += 1
        return uml.UmlGuest(self._uml_initrd, self._directory / f"uml{self._boots}", socket, memory_mib=memory_mib)

    def boot_qemu(self, socket: Path, memory_mib: int) -> ConsoleGuest:
        """Return a QEMU guest that boots when it is entered."""
        assert self._qemu_initrd is not None
        return qemu.QemuGuest(self._qemu_initrd, socket, memory_mib=memory_mib)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
