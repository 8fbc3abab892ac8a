"""``vballoond policy``: who decides on the sizes of balloons, what was decided, and what another would decide."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from ..client import DEFAULT_API, ClientError, RefusedError
from ..completion import complete_policies
from ..options import Api, Json, OptionalName, TokenFile, client_of
from ..output import console, print_json, say
from ..policy_tables import print_available, print_plan, print_policy, print_rounds
from ..snapshot_file import TooLongError, last_line

app = typer.Typer(no_args_is_help=False, help="Who decides on the sizes of balloons, what was decided, and why.")

Settings = Annotated[
    list[str] | None,
    typer.Option("-s", "--setting", metavar="KEY=VALUE", help="a setting of the policy; may be given again"),
]
PolicyName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="a policy, as 'vballoond policy list' shows it", autocompletion=complete_policies
    ),
]

_PATH = "/v1/policy"


@app.callback(invoke_without_command=True)
def policy(context: typer.Context, api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Show who decides on the sizes of balloons."""
    if context.invoked_subcommand is None:
        show(api, token_file, as_json)


def show(api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Show who decides, how that goes, and which balloons were set by hand."""
    view = client_of(api, token_file).get(_PATH).json("active", "available")
    if as_json:
        print_json(view)
    else:
        print_policy(console(), view)


def list_policies(api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List who could decide, with their settings."""
    view = client_of(api, token_file).get(_PATH).json("active", "available")
    if as_json:
        print_json(view["available"])
        return
    print_available(console(), view)
    for origin, problem in view.get("problems", {}).items():
        say(f"not loaded: {origin}\n{problem}")


def set_policy(
    name: PolicyName,
    settings: Settings = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Have another policy decide from now on. Balloons that were set by hand are let go; 'static' moves nothing."""
    _change({"name": name, "settings": parse_settings(settings)}, api, token_file, as_json=as_json)


def shadow(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="a policy; nobody is in shadow without one", autocompletion=complete_policies
        ),
    ] = None,
    settings: Settings = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Have a policy asked beside the acting one, without being heard: 'vballoond policy' shows where they differ."""
    if name is None and settings:
        right = "'vballoond policy shadow NAME -s KEY=VALUE'; without any -s nobody is in shadow"
        raise typer.BadParameter(f"name the policy that is to have the settings: {right}", param_hint="NAME")
    chosen = None if name is None else {"name": name, "settings": parse_settings(settings)}
    _change({"shadow": chosen}, api, token_file, as_json=as_json)


def plan(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="a policy; the acting one without it", autocompletion=complete_policies),
    ] = None,
    settings: Settings = None,
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", help="a file of 'vballoond record'; its last line counts")
    ] = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Show what a policy would do now, or about a recorded snapshot. Nothing changes."""
    body: dict[str, Any] = {}
    if name is not None:
        body["name"] = name
    if settings:
        body["settings"] = parse_settings(settings)
    if snapshot is not None:
        body["snapshot"] = _last_snapshot(snapshot)
    answer = _asking(lambda: client_of(api, token_file).post(f"{_PATH}/plan", body).json("name", "decisions"))
    if as_json:
        print_json(answer)
    else:
        print_plan(console(), answer)


def log(
    balloon: OptionalName = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="so many rounds")] = 20,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Show what was decided and why, the newest round last."""
    only = "" if balloon is None else f"&balloon={quote(balloon, safe='')}"
    rounds = client_of(api, token_file).get(f"{_PATH}/decisions?limit={limit}{only}").json("rounds")["rounds"]
    if as_json:
        print_json(rounds)
    else:
        print_rounds(console(), rounds)


_COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "show": show,
    "list": list_policies,
    "set": set_policy,
    "shadow": shadow,
    "plan": plan,
    "log": log,
}

for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)


def parse_settings(given: list[str] | None) -> dict[str, Any]:
    """Return settings that were given as KEY=VALUE. A value is JSON if it can be, and a text otherwise."""
    settings = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE, such as pressure_threshold=0.25", param_hint="-s")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def _change(body: dict[str, Any], api: str, token_file: Path | None, *, as_json: bool) -> None:
    view = _asking(lambda: client_of(api, token_file).put(_PATH, body).json("active", "available"))
    if as_json:
        print_json(view)
    else:
        print_policy(console(), view)


def _asking(ask: Any) -> Any:
    try:
        return ask()
    except RefusedError as error:
        steps = {
            "no-such-policy": "'vballoond policy list' shows those that there are, and why others are not",
            "invalid-settings": "'vballoond policy list --json' has the schema of its settings",
            "policy-failed": "mend the policy: it is loaded again when its file changes",
        }
        if error.code not in steps:
            raise
        raise ClientError(str(error), steps[error.code]) from error


def _last_snapshot(path: Path) -> Any:
    try:
        return json.loads(last_line(path))
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror or error}", _RECORD) from error
    except TooLongError as error:
        raise ClientError(str(error), _RECORD) from error
    except (ValueError, RecursionError) as error:
        raise ClientError(f"{path} has no snapshot in its last line", _RECORD) from error


_RECORD: Final = "'vballoond record FILE' writes one"
