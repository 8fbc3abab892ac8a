"""The command: kills for one or both ring formats, a line for every ten, a summary; exit status 1 if anything broke."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from .guests import missing
from .plan import Plan
from .run import Run
from .violation import Violation

_QEMU_KILLS: Final = 50
_KILLS: Final = 200
_LOG_LINES: Final = 40
_CANNOT: Final = 2


def main() -> int:
    """Torture as the command line says; return the exit status."""
    arguments = _arguments()
    if reason := missing(with_qemu=arguments.qemu):
        print(f"no guest can be booted here: {reason}")
        return _CANNOT
    kills = arguments.kills or (_QEMU_KILLS if arguments.qemu else _KILLS)
    for ring in ("split", "packed") if arguments.ring == "both" else (arguments.ring,):
        plan = Plan(kills, ring, arguments.seed, arguments.holder, qemu=arguments.qemu, strict=arguments.strict)
        if not asyncio.run(_carry_out(plan)):
            return 1
    return 0


async def _carry_out(plan: Plan) -> bool:
    """Do one run; say whether all was as it must be."""
    print(f"{plan.name}: {plan.kills} kills, seed {plan.seed}", flush=True)
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vballoond-") as name:
        async with Run(plan, Path(name), lambda line: _say(started_s, line)) as run:
            try:
                await run.go()
            except Violation as violation:
                print(_explain(plan, run, violation), flush=True)
                return False
            print(f"nothing found: {run.line().strip()}", flush=True)
    return True


def _say(started_s: float, line: str) -> None:
    print(f"{time.monotonic() - started_s:5.0f} s {line}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--kills", type=int, help=f"{_KILLS} unless given, with QEMU {_QEMU_KILLS}")
    parser.add_argument("--ring", choices=("split", "packed", "both"), default="both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--holder", choices=("keeper", "systemd"), default="keeper")
    parser.add_argument("--qemu", action="store_true", help="a guest of QEMU's, where VBALLOOND_QEMU names one")
    parser.add_argument("--strict", action="store_true", help="fail where a restart takes over two seconds")
    return parser.parse_args()


def _explain(plan: Plan, run: Run, violation: Violation) -> str:
    log = run.log.read_text("utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    lines = ["VIOLATION", str(violation), f"\n{plan.name}, seed {plan.seed}, at: {run.line().strip()}"]
    return "\n".join((*lines, "\nthe log's end:", *(f"  {line}" for line in log)))


if __name__ == "__main__":
    sys.exit(main())
