"""The virtio_balloon driver of Linux (drivers/virtio/virtio_balloon.c): one file for each thing that it does.

Linux 6.1 is what the generation "2022" follows; "2012" is the driver as the balloon compaction series left it (3.8),
and "2026" the newest. Rings and transport are today's for all of them.
"""

from .driver import VirtioBalloon
from .state import ARRAY_PFNS_MAX, DriverOptions, ProbeError

__all__ = ["ARRAY_PFNS_MAX", "DriverOptions", "ProbeError", "VirtioBalloon"]
