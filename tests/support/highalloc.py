"""Runs of the highalloc experiment that come to what they are told, at once: for what is around a run."""

import functools
import os
import signal
import sys
import threading
import zlib
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from protocol.balloon.frame_states import FrameState
from vballoond.lab.highalloc.result import RunResult
from vballoond.lab.highalloc.setting import V11, Setting
from vballoond.lab.highalloc.summary import Summary

SMALL = replace(V11, guest_mib=64, balloon_mib=8, attempt_every_s=8.0)
BLOCK_FRAMES = 512
SIGINT_BLOCKED_AT_IMPORT = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def make_result(seed: int, balloon_compaction: bool, passes=(50.0, 51.0, 75.0), **counters: int) -> RunResult:
    return RunResult(seed, balloon_compaction, *passes, counters, ((0.0, 0, 0), (5.0, 1, 2)), zlib.compress(b""))


def make_summary(clean: list[float], patched: list[float], setting: Setting = SMALL) -> Summary:
    """Runs of seeds 1, 2, ... whose three passes have the same value each."""
    runs = []
    for seed, values in enumerate(zip(clean, patched, strict=True), start=1):
        runs += [make_result(seed, bool(kind), (value,) * 3) for kind, value in enumerate(values)]
    return Summary(setting, runs)


def fake_run(setting: Setting, seed: int, *, balloon_compaction: bool, progress: Callable[[float], None]) -> RunResult:
    """About what a guest comes to, drawn and not worked out."""
    chance = np.random.default_rng((seed, balloon_compaction))
    progress(0.5)
    shares = (0.66, 0.82, 0.92) if balloon_compaction else (0.57, 0.54, 0.89)
    passes = tuple(100 * share + chance.normal(0, 1.5) for share in shares)
    states = _frame_states(setting, shares[0], chance, packed=balloon_compaction)
    counters = {
        "compact_stall": 500 + seed,
        "pgmigrate_success": 400_000,
        "thp_fault_alloc": 9,
        "thp_fault_fallback": 1,
    }
    curve = _curve(setting, passes)
    progress(1.0)
    return RunResult(seed, balloon_compaction, *passes, counters, curve, zlib.compress(states.tobytes()))


def _curve(setting: Setting, passes: tuple[float, ...]) -> tuple[tuple[float, int, int], ...]:
    attempts = setting.guest_mib // 2 * setting.attempts_percent // 100
    pass_s = attempts * setting.attempt_every_s
    begins = [setting.settle_s, setting.settle_s + pass_s + 5]
    begins.append(begins[1] + pass_s + setting.rest_s + 5)
    points = []
    for second in range(0, int(begins[2] + pass_s) + 1, 5):
        at = [(second - begin) / pass_s for begin in begins]
        held = sum(int(attempts * done**0.8 * got / 100) for done, got in zip(at, passes, strict=True) if 0 < done <= 1)
        steps = setting.balloon_mib // setting.chunk_mib or 1
        step = int(second // setting.chunk_every_s) % (2 * steps)
        points.append((float(second), held, min(step, 2 * steps - step) * setting.chunk_mib * 256))
    return tuple(points)


def _frame_states(setting: Setting, huge: float, chance: np.random.Generator, *, packed: bool) -> np.ndarray:
    """Balloon pages all over the guest among other unmovable ones, or packed at its end."""
    count = setting.guest_mib // 2
    blocks = chance.choice([0, 1, 1, 1, 1, 1, 1, 3], size=(count, BLOCK_FRAMES)).astype(np.uint8)
    kernel, balloon = max(1, count // 50), count // 8
    pinned = chance.permutation(count) < count * (0.02 if packed else 0.3)
    for block in np.flatnonzero(pinned):
        some = chance.random(BLOCK_FRAMES)
        blocks[block][some < 0.1] = FrameState.UNMOVABLE
        if not packed:
            blocks[block][some > 0.6] = FrameState.BALLOONED
    if packed:
        blocks[-balloon:] = FrameState.BALLOONED
        pinned[-balloon:] = True
    free_of_pins = np.flatnonzero(~pinned)
    blocks[chance.permutation(free_of_pins)[: int(huge * count)]] = FrameState.HUGE
    blocks[:kernel] = FrameState.UNMOVABLE
    return blocks.reshape(-1)


def telling_run(setting: Setting, seed: int, *, balloon_compaction: bool, progress) -> RunResult:
    """What a worker has of the process that started it."""
    del setting
    for share in (0, 0.25, 1):
        progress(share)
    told = {"pid": os.getpid(), "numba": "numba" in sys.modules, "sigint_blocked_at_import": SIGINT_BLOCKED_AT_IMPORT}
    return make_result(seed, balloon_compaction, **told)


def dying_run(setting: Setting, seed: int, *, balloon_compaction: bool, progress, how: str) -> RunResult:
    """Seed 2 patched dies; those after it would never end."""
    if (seed, balloon_compaction) == (2, True):
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "ended":
            os._exit(0)
        raise RuntimeError("it cannot be done")
    if seed > 2:
        return endless_run(setting, seed, balloon_compaction=balloon_compaction, progress=progress)
    return fake_run(setting, seed, balloon_compaction=balloon_compaction, progress=progress)


def endless_run(setting: Setting, seed: int, *, balloon_compaction: bool, progress) -> RunResult:
    """Says that it is there, and goes on until the process is ended."""
    del setting, balloon_compaction
    print(f"endless {seed}", file=sys.stderr, flush=True)
    progress(0.01)
    threading.Event().wait()
    raise AssertionError("nobody sets it")


def warm_up() -> None:
    """Nothing is to be compiled."""


def interrupted_warm_up() -> None:
    """Ctrl-C while compiling."""
    signal.raise_signal(signal.SIGINT)


def stand_in(run: str = "fake_run", warm_up: str = "warm_up", **arguments: object) -> SimpleNamespace:
    """What stands in for the module of the true run."""
    chosen = globals()[run]
    return SimpleNamespace(
        run=functools.partial(chosen, **arguments) if arguments else chosen, warm_up=globals()[warm_up]
    )


def command(run: str) -> None:
    """Run the command line of this process, with ``run`` in the place of the true run."""
    sys.modules["vballoond.lab.highalloc.run"] = stand_in(run)
    from vballoond.cli.main import main  # noqa: PLC0415

    main()
