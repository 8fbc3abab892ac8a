"""The guest, modelled: the part of Linux that a memory balloon touches, and its virtio_balloon driver.

It drives real virtqueues in real shared memory, so a device cannot tell it from a kernel; and it runs in steps, in
whatever time it is given, so a test or an experiment decides what happens when. It imports only ``protocol``.
"""
