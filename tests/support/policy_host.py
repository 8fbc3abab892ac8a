"""A host whose memory a test says, as /proc says it."""

from collections.abc import Callable

from vballoond.runner.host_memory import HostTexts

MIB = 1 << 20


class PolicyHost:
    """``available_mib`` of ``total_mib`` are available, and what ``given_mib`` says that guests have given."""

    def __init__(self, total_mib: int = 1024, available_mib: int = 512) -> None:
        self.total_mib = total_mib
        self.available_mib = available_mib
        self.given_mib: Callable[[], float] = lambda: 0

    def read(self) -> HostTexts:
        available_kib = int((self.available_mib + self.given_mib()) * 1024)
        return HostTexts(f"MemTotal:  {self.total_mib * 1024} kB\nMemAvailable: {available_kib} kB\n")
