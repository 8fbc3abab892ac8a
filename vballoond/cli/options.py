"""Options and arguments that several commands have, and the client that they mean."""

from pathlib import Path
from typing import Annotated

import typer

from ..sizes import parse_size
from .client import Client, read_token_file
from .completion import complete_names

Api = Annotated[str, typer.Option("--api", envvar="VBALLOOND_API", help="http://HOST:PORT or unix:PATH")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", envvar="VBALLOOND_TOKEN_FILE", help="file with the API's token")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON, as the API gives it")]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="a balloon's name, as 'vballoond list' shows it", autocompletion=complete_names
    ),
]
OptionalName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="one balloon; all without it", autocompletion=complete_names)
]


def client_of(api: str, token_file: Path | None) -> Client:
    """Return the client of the daemon that the options name.

    Raises:
        ClientError: There is no token in the file.
    """
    return Client(api, read_token_file(token_file))


def size_of(text: str) -> int:
    """Return the bytes that the argument SIZE means.

    Raises:
        typer.BadParameter: It is no size.
    """
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="SIZE") from error
