"""``vballoond record``: what policies see, written down as it comes, to be played again later."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from ..client import DEFAULT_API, ClientError
from ..entry import INTERRUPTED
from ..options import Api, TokenFile, client_of
from ..output import fail
from ..snapshot_file import SnapshotFile


def record(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="where a line of JSON is added for each snapshot")],
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, help="leave after so many; at Ctrl-C without")
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option("--interval", metavar="S", min=0.1, max=86_400, help="how often; as policies are asked without"),
    ] = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
) -> None:
    """Write down what policies see: the host and its guests."""
    if file.suffix != ".jsonl" and (file.is_file() or not file.exists()):
        raise typer.BadParameter(f"{file} must end in .jsonl: 'vballoond simulate --scenario' knows it by that")
    client = client_of(api, token_file)
    interval_s = interval if interval is not None else client.get("/v1/policy").json("interval_s")["interval_s"]
    written = 0
    try:
        with SnapshotFile(file) as lines:
            due_s = time.monotonic()
            while rounds is None or written < rounds:
                view = client.get("/v1/policy/view").json("now_s", "host", "guests")
                lines.add(json.dumps(view, separators=(",", ":")))
                written += 1
                # What was missed, as while the machine slept, is not made up for.
                missed = (time.monotonic() - due_s) // interval_s
                due_s += (1 + missed) * interval_s
                if written != rounds:
                    time.sleep(max(0.0, due_s - time.monotonic()))
    except KeyboardInterrupt:
        print(f"{written} snapshots in {file}")
        raise typer.Exit(0 if rounds is None else INTERRUPTED) from None
    except OSError as error:
        fail(f"{file}: {error.strerror or error}; it has {written} snapshots of this recording")
    except ClientError as error:
        fail(f"{error}; {file} has {written} snapshots of this recording", error.next_step)
    print(f"{written} snapshots in {file}")
