"""QEMU 10.2 or newer, where VBALLOOND_QEMU names it; Debian's cloud kernel runs in it without KVM.

VBALLOOND_QEMU           the command, such as "qemu-system-x86_64" or "chroot TREE qemu-system-x86_64"
VBALLOOND_QEMU_KERNEL    the kernel's file, a vmlinuz, as the command sees it
VBALLOOND_QEMU_MODULE    its virtio_balloon module, as this process sees it
"""

import os
import shlex
from pathlib import Path

from support.console_guest import ConsoleGuest, build_initrd, missing_tools

_NAMES = ("VBALLOOND_QEMU", "VBALLOOND_QEMU_KERNEL", "VBALLOOND_QEMU_MODULE")


def missing() -> str | None:
    """Why no QEMU guest can be booted here; None when it can."""
    unset = [name for name in _NAMES if not os.environ.get(name)]
    if unset:
        return f"{', '.join(unset)} not set: see CONTRIBUTING.md for how to have a QEMU that can"
    return missing_tools()


def initrd(directory: Path) -> Path:
    """Return an initial ramdisk for it."""
    return build_initrd(directory, Path(os.environ["VBALLOOND_QEMU_MODULE"]))


class QemuGuest(ConsoleGuest):
    """A boot of QEMU, with the device as the README shows it."""

    def __init__(
        self, initrd: Path, socket: Path, *, memory_mib: int = 512, device: str = "", append: str = ""
    ) -> None:
        super().__init__(
            [
                *shlex.split(os.environ["VBALLOOND_QEMU"]),
                *("-machine", "q35,memory-backend=ram", "-m", f"{memory_mib}M", "-nodefaults", "-display", "none"),
                *("-object", f"memory-backend-memfd,id=ram,size={memory_mib}M,share=on"),
                *("-chardev", f"socket,id=balloon,path={socket}"),
                "-device",
                "vhost-user-test-device-pci,chardev=balloon,virtio-id=5,num_vqs=5,vq_size=128,config_size=16" + device,
                *("-kernel", os.environ["VBALLOOND_QEMU_KERNEL"], "-initrd", str(initrd)),
                *("-append", f"console=ttyS0 quiet {append}", "-serial", "stdio", "-no-reboot"),
            ],
            boot_timeout_s=180,
        )
