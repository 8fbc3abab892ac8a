"""Running a guest without waiting: its clock jumps from one event to the next."""

from .kernel import Kernel


def run_until(kernel: Kernel, end_s: float) -> None:
    """Run all that is due up to ``end_s``, each at its own time, and leave the clock there."""
    next_s = kernel.run(kernel.now_s)
    while next_s is not None and next_s <= end_s:
        next_s = kernel.run(max(next_s, kernel.now_s))
    kernel.run(end_s)
