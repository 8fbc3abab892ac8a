"""The commands. Exit status: 0 done; 1 refused, unreachable or not reached; 2 wrong usage or unparsable size."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import quote

import typer
from rich.console import Console

from ..sizes import format_size, parse_size
from . import experiment
from .client import DEFAULT_API, Client, ClientError, balloon_path, read_token_file
from .restart import successor
from .serve import run_daemon
from .tables import print_balloon, print_balloons, print_frames

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Memory balloons for the guests of this host: a daemon, and the commands that ask it.",
)

app.add_typer(experiment.app, name="experiment")

Api = Annotated[str, typer.Option("--api", envvar="VBALLOOND_API", help="http://HOST:PORT or unix:PATH")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", envvar="VBALLOOND_TOKEN_FILE", help="file with the API's token")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON, as the API gives it")]
Name = Annotated[str, typer.Argument(help="a balloon's name, as 'vballoond list' shows it")]


@app.callback()
def _commands() -> None:
    """Hold the commands together."""


@app.command()
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


@app.command("list")
def list_balloons(api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List the balloons."""
    listing = _client(api, token_file).get("/v1/balloons").json("balloons")
    if as_json:
        _print_json(listing)
    else:
        print_balloons(_console(), listing["balloons"])


@app.command()
def show(name: Name, api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Show one balloon."""
    balloon = _client(api, token_file).get(balloon_path(name)).json("resize")
    if as_json:
        _print_json(balloon)
    else:
        print_balloon(_console(), balloon)


@app.command("set")
def set_target(
    name: Name,
    size: Annotated[str, typer.Argument(help="what the guest is to give up, such as 512MiB")],
    wait: Annotated[float | None, typer.Option("--wait", min=0, max=600, help="seconds to wait for it")] = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Set a balloon's size."""
    try:
        target_bytes = parse_size(size)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="SIZE") from error
    answer = _client(api, token_file).patch(balloon_path(name), {"target_bytes": target_bytes}, wait)
    balloon = answer.json("resize")
    if as_json:
        _print_json(balloon)
    else:
        print(_progress(balloon))
    if wait is not None and answer.status != 200:
        _fail(f"{name} has not reached {format_size(balloon['target_bytes'])} within {wait:g} s")


_BALLOONED: Final = "ballooned"


@app.command()
def frames(
    name: Name,
    png: Annotated[Path | None, typer.Option("--png", help="write a picture of the map to this file")] = None,
    state: Annotated[
        str, typer.Option(help="comma-separated; an in-process guest knows more than ballooned")
    ] = "ballooned",
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Show which frames a balloon holds, or what else they are."""
    client = _client(api, token_file)
    query = f"state={quote(state, safe=',')}"
    if png is not None:
        png.write_bytes(client.get(balloon_path(name, f"/frames?format=png&{query}")).body)
        return
    listing = client.get(balloon_path(name, f"/frames?{query}")).json("ranges")
    if as_json:
        _print_json(listing)
    else:
        print_frames(_console(), listing)


@app.command()
def reload(api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Have the daemon read its configuration anew: balloons added, removed, changed."""
    answer = _client(api, token_file).post("/v1/reload").json("done")
    if as_json:
        _print_json(answer)
    else:
        print("\n".join(answer["done"]) or "nothing has changed")


@app.command()
def restart(api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Have the daemon's process replaced, by new code if there is any; no guest notices."""
    client = _client(api, token_file)
    before = client.post("/v1/restart").json("pid")["pid"]
    after = successor(client, before)
    if as_json:
        _print_json({"before": before, "pid": after})
    else:
        print(f"process {after} serves in the place of {before}")


def main() -> None:
    """Run the command line; an error is one line on standard error."""
    try:
        app()
    except ClientError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _fail(message: str) -> NoReturn:
    print(f"vballoond: {message}", file=sys.stderr)
    sys.exit(1)


def _client(api: str, token_file: Path | None) -> Client:
    return Client(api, read_token_file(token_file))


def _console() -> Console:
    # A pipe has no width: rows must not be cut for what reads them.
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=1000)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _progress(balloon: dict[str, Any]) -> str:
    resize = balloon["resize"]
    text = f"{balloon['name']}: {format_size(balloon['actual_bytes'])} of {format_size(balloon['target_bytes'])}"
    if resize["done"]:
        return f"{text}, done; the guest takes {format_size(balloon['resident_bytes'] or 0)} of the host"
    return f"{text}, {resize['stalled'] or 'under way'}"
