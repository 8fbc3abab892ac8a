"""The balloon compaction interface: what makes a balloon's pages movable by compaction, in three generations of Linux.

``v2012`` is the interface as it was proposed in 2012 (v11 of the series), in both states of its Kconfig option. The two
others stand on a device info that is embedded in the driver (``embedded``): that of Linux 6.1 (2022) and that of 2026.
A driver keeps its pages through :class:`BalloonPages`, whatever the generation.

Rules of this package:

* Lock order: balloon_lock, then a page's lock, then pages_lock. Behind pages_lock a page is only ever try-locked.
* A page's mapping is read for a decision under its page lock; what is read without it is a hint that may be stale. So
  isolation asks again under the lock, and no memory barrier is needed anywhere.
* The list and the count of isolated pages change under pages_lock.
* A page on the list has one reference, an isolated one has two: the balloon's and that of whoever isolated it.
* Pages enqueued less pages dequeued are those on the list and those isolated: none is lost or counted twice.
* A result of migration is 0 or more where it was successful, and a negative errno where it was not.
"""

from .generations import make_balloon_pages
from .kconfig import Generation, Kconfig, configure
from .known_bugs import KnownBugs
from .pages import BalloonPages

__all__ = ["BalloonPages", "Generation", "Kconfig", "KnownBugs", "configure", "make_balloon_pages"]
