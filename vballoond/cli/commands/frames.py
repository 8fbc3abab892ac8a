"""``vballoond frames``: which frames a balloon holds, as ranges or as a picture."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import typer

from ..client import DEFAULT_API, balloon_path
from ..completion import complete_states
from ..options import Api, Json, Name, TokenFile, client_of
from ..output import console, print_json
from ..tables import print_frames


def frames(
    name: Name,
    png: Annotated[Path | None, typer.Option("--png", help="write a picture of the map to this file")] = None,
    scale: Annotated[
        str | None,
        typer.Option("--scale", help="of --png: frames per pixel, a power of two, or 'auto'", show_default="1"),
    ] = None,
    state: Annotated[
        str,
        typer.Option(
            help="comma-separated; an in-process guest knows more than ballooned", autocompletion=complete_states
        ),
    ] = "ballooned",
    first: Annotated[int | None, typer.Option("--first", min=0, help="begin at this frame number")] = None,
    count: Annotated[int | None, typer.Option("--count", min=0, help="so many frames")] = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Show which frames a balloon holds, or what else they are."""
    if png is not None and as_json:
        raise typer.BadParameter("a picture is no JSON: give --png or --json, not both", param_hint="--png")
    if scale is not None and png is None:
        raise typer.BadParameter("it is of pictures: give --png FILE too", param_hint="--scale")
    asked = {"format": None if png is None else "png", "first": first, "count": count, "scale": _scale(scale)}
    query = urlencode({"state": state} | {key: value for key, value in asked.items() if value is not None}, safe=",")
    answer = client_of(api, token_file).get(balloon_path(name, f"/frames?{query}"))
    if png is not None:
        png.write_bytes(answer.body)
    elif as_json:
        print_json(answer.json("ranges"))
    else:
        print_frames(console(), answer.json("ranges"))


def _scale(text: str | None) -> str | None:
    if text is None or text == "auto" or (text.isascii() and text.isdigit() and int(text).bit_count() == 1):
        return text
    raise typer.BadParameter(f"{text!r} is none: it is 1, 2, 4, 8 and so on, or 'auto'", param_hint="--scale")
