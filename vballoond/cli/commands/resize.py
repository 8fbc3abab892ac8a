"""``vballoond set``: give a balloon another size, and wait for it."""

import sys
from functools import partial
from typing import Annotated, Any, NoReturn

import typer

from ...sizes import format_size
from ..client import DEFAULT_API, Answer, Client, ClientError, RefusedError, UnreachableError, balloon_path, events_path
from ..entry import INTERRUPTED
from ..event_stream import EventStream
from ..options import Api, Json, Name, TokenFile, client_of, size_of
from ..output import console, fail, print_json
from ..resize_display import Bar, Display, Lines, NoDisplay
from ..resize_outcome import not_reached, reached, summary
from ..resize_progress import ResizeProgress
from ..resize_wait import ResizeWait
from ..wording import size_argument


def set_target(
    name: Name,
    size: Annotated[str, typer.Argument(metavar="SIZE", help="what the guest is to give up, such as 512MiB")],
    wait: Annotated[
        float | None, typer.Option("--wait", metavar="S", min=0, max=600, help="seconds to wait for it")
    ] = None,
    settle: Annotated[
        bool,
        typer.Option("--settle", help="once the guest can give no more, or the deadline is over, keep what it gave"),
    ] = False,
    deadline: Annotated[
        float | None,
        typer.Option("--deadline", metavar="S", min=0, help="seconds after which the daemon tries no longer"),
    ] = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Set a balloon's size.

    Without --wait it is begun, and goes on by itself. With it, the exit status says whether the size was reached.
    """
    body = _body(size_of(size), settle=settle, deadline_s=deadline)
    client = client_of(api, token_file)
    try:
        if wait is None:
            answer = client.patch(balloon_path(name), body)
        else:
            answer = _wait(client, name, body, wait, _display(wait, as_json=as_json))
    except RefusedError as error:
        _refused(name, body["target_bytes"], error)
    balloon = answer.json("resize")
    if as_json:
        print_json(balloon)
    else:
        print(summary(balloon))
    if wait is not None and not reached(balloon):
        fail(*not_reached(balloon, wait))


def _body(target_bytes: int, *, settle: bool, deadline_s: float | None) -> dict[str, Any]:
    body: dict[str, Any] = {"target_bytes": target_bytes}
    if settle:
        body["settle"] = True
    if deadline_s is not None:
        body["deadline_s"] = deadline_s
    return body


def _display(wait_s: float, *, as_json: bool) -> Display:
    if as_json:
        return NoDisplay()
    return Bar(console()) if sys.stdout.isatty() else Lines(wait_s)


def _wait(client: Client, name: str, body: dict[str, Any], wait_s: float, display: Display) -> Answer:
    stream = EventStream(partial(client.stream, events_path(name)))
    waiting = ResizeWait(ResizeProgress(name, body["target_bytes"]), display)
    try:
        with display:
            answer = waiting.run(stream, partial(client.patch, balloon_path(name), body, wait_s))
            display.show(waiting.progress.told(answer.json("resize")["resize"]))
    except KeyboardInterrupt:
        _interrupted(name, waiting.progress)
    except UnreachableError as error:
        if waiting.progress.number is None:
            raise
        raise ClientError(
            f"the daemon went away while {name} was waited for: {error}",
            f"'vballoond show {name}' says how far the resize is; it goes on if the daemon does",
        ) from error
    return answer


def _interrupted(name: str, progress: ResizeProgress) -> NoReturn:
    where = progress.actual_bytes
    stop = "" if where is None else f"; 'vballoond set {name} {size_argument(where)}' stops it where it is"
    fail(
        f"interrupted; the resize of {name} to {format_size(progress.target_bytes)} goes on",
        f"'vballoond watch {name}' shows it{stop}",
        INTERRUPTED,
    )


def _refused(name: str, target_bytes: int, error: RefusedError) -> NoReturn:
    if error.code == "superseded":
        text = f"{name} is no longer to have {format_size(target_bytes)}: {error}"
        raise ClientError(text, f"'vballoond resizes {name}' shows what was asked of it, and when") from error
    limit = error.problem.get("limit_bytes")
    if isinstance(limit, int):
        extreme = "most" if target_bytes > limit else "least"
        step = f"'vballoond set {name} {size_argument(limit)}' is the {extreme} that it can have"
        raise ClientError(str(error), step) from error
    raise error
