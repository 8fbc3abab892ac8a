"""What can go wrong in the model itself."""


class GuestModelError(Exception):
    """The model was asked for something that it cannot do."""


class KernelBugError(GuestModelError):
    """BUG(): modelled code broke a rule that Linux stops the kernel for."""


class LockOrderError(KernelBugError):
    """Modelled code took a lock that may not be taken behind one that it holds, or slept with a spinlock."""
