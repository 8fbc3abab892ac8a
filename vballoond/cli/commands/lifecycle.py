"""``vballoond serve``, ``reload`` and ``restart``: the daemon as a whole."""

from pathlib import Path
from typing import Annotated

import typer

from ..client import DEFAULT_API, ClientError, RefusedError
from ..options import Api, Json, TokenFile, client_of
from ..output import print_json
from ..restart import successor
from ..serve import run_daemon


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", help="configuration file; without one, a modelled guest named demo")
    ] = None,
    keeper: Annotated[
        bool, typer.Option("--keeper/--no-keeper", help="run under a keeper, so that guests survive the daemon's death")
    ] = True,
) -> None:
    """Run the daemon in the foreground, until Ctrl-C or SIGTERM."""
    raise typer.Exit(run_daemon(config, keeper=keeper))


def reload(api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Have the daemon read its configuration anew: balloons added, removed, changed."""
    try:
        answer = client_of(api, token_file).post("/v1/reload").json("done")
    except RefusedError as error:
        if error.status != 422:
            raise
        step = "mend the configuration and reload again; until then the last good one is in force"
        raise ClientError(str(error), step) from error
    if as_json:
        print_json(answer)
    else:
        print("\n".join(answer["done"]) or "nothing has changed")


def restart(api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Have the daemon's process replaced, by new code if there is any; no guest notices."""
    client = client_of(api, token_file)
    before = client.post("/v1/restart").json("pid")["pid"]
    after = successor(client, before)
    if as_json:
        print_json({"before": before, "pid": after})
    else:
        print(f"process {after} serves in the place of {before}")
