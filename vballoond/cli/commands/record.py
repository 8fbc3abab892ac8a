"""``vballoond record``: what policies see, written down as it comes, to be played again later."""

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ..client import DEFAULT_API
from ..options import Api, TokenFile, client_of
from ..output import INTERRUPTED


def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="where a line of JSON is added for each snapshot")],
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, help="leave after so many; at Ctrl-C without")
    ] = None,
    interval: Annotated[
        float | None, typer.Option("--interval", metavar="S", min=0.1, help="how often; as policies are asked without")
    ] = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
) -> None:
    """Write down what policies see: the host and its guests."""
    client = client_of(api, token_file)
    interval_s = interval if interval is not None else client.get("/v1/policy").json("interval_s")["interval_s"]
    written = 0
    with ExitStack() as stack:
        lines = stack.enter_context(file.open("a", encoding="utf-8"))
        due_s = time.monotonic()
        try:
            while rounds is None or written < rounds:
                view = client.get("/v1/policy/view").json("now_s", "host", "guests")
                lines.write(json.dumps(view, separators=(",", ":")) + "\n")
                lines.flush()
                written += 1
                due_s += interval_s
                if written != rounds:
                    time.sleep(max(0.0, due_s - time.monotonic()))
        except KeyboardInterrupt:
            print(f"{written} snapshots in {file}")
            raise typer.Exit(0 if rounds is None else INTERRUPTED) from None
    print(f"{written} snapshots in {file}")
