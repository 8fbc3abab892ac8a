"""User-mode Linux: a real kernel as a plain process, which boots in two seconds and needs neither root nor KVM."""

import shutil
from pathlib import Path

from support.console_guest import ConsoleGuest, build_initrd, missing_tools

KERNEL = shutil.which("linux.uml")
_MODULES = Path("/usr/lib/uml/modules")


def _module() -> Path | None:
    return next(_MODULES.glob("*/kernel/drivers/virtio/virtio_balloon.ko"), None)


def missing() -> str | None:
    """Why no user-mode Linux can be booted here; None when it can."""
    if KERNEL is None or _module() is None:
        return "Debian's user-mode-linux is not installed"
    return missing_tools()


def initrd(directory: Path) -> Path:
    """Return an initial ramdisk for it."""
    module = _module()
    assert module is not None
    return build_initrd(directory, module)


class UmlGuest(ConsoleGuest):
    """A boot of user-mode Linux whose balloon is behind ``socket``; ``directory`` is for its own files."""

    def __init__(self, initrd: Path, directory: Path, socket: Path, *, memory_mib: int = 512, append: str = "") -> None:
        directory.mkdir(exist_ok=True)
        super().__init__(
            [
                # With a randomised layout, its memory begins beyond what /proc/kpageflags shows.
                *("setarch", "-R", str(KERNEL)),
                *(f"mem={memory_mib}M", f"initrd={initrd}", "con=null", "con0=fd:0,fd:1", "noreboot", "quiet"),
                *(f"uml_dir={directory}/", f"virtio_uml.device={socket}:5"),
                *append.split(),
            ]
        )
