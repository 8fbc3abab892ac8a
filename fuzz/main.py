"""The command: garbage for some minutes, a line every ten seconds, a summary; exit status 1 if anything was found."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from .finding import Finding
from .run import Run

ROUND_S: Final = 10.0


def main() -> int:
    """Fuzz as the command line says; return the exit status."""
    arguments = _arguments()
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="vballoond-") as name, _started(arguments, Path(name)) as run:
        try:
            _go(run, arguments)
        except Finding as finding:
            print(_explain(run, arguments.seed, finding), flush=True)
            return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--step", metavar="WORKER:NUMBER", help="one step of one worker, by itself")
    return parser.parse_args()


def _started(arguments: argparse.Namespace, directory: Path) -> Run:
    if arguments.step is None:
        return Run(arguments.seed, directory)
    name, _, number = arguments.step.partition(":")
    run = Run(arguments.seed, directory, [name])
    run.crew.diaries[name].steps = int(number)
    return run


def _go(run: Run, arguments: argparse.Namespace) -> None:
    if arguments.step is not None:
        run.round(lambda done: done < 1)
    else:
        started_s = time.monotonic()
        ends_s = started_s + arguments.minutes * 60
        while time.monotonic() < ends_s:
            round_ends_s = min(ends_s, time.monotonic() + ROUND_S)
            run.round(lambda _, until_s=round_ends_s: time.monotonic() < until_s)  # type: ignore[misc]
            print(f"{time.monotonic() - started_s:5.0f} s  {_line(run)}", flush=True)
    run.finish()
    growth_kib = run.account.growth_bytes() >> 10
    print(f"nothing found; memory after the first third {growth_kib:+} KiB, the daemon ended with status 0")


def _line(run: Run) -> str:
    usage = run.account.usages[-1]
    steps = ", ".join(f"{name} {diary.steps}" for name, diary in run.crew.diaries.items())
    return (
        f"{usage.own_bytes / 2**20:.1f} MiB of its own, {usage.resident_bytes / 2**20:.1f} resident, "
        f"{usage.descriptors} descriptors; steps: {steps}"
    )


def _explain(run: Run, seed: int, finding: Finding) -> str:
    lines = ["FOUND", str(finding), f"\nseed {seed}; what each was at, the newest last:"]
    for name, diary in run.crew.diaries.items():
        lines += [f"  {name}, step {diary.steps}", *(f"    {action}" for action in diary.actions)]
    lines += ["\nthe daemon's last lines:", *(f"  {line.rstrip()}" for line in run.daemon.log.newest)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
