"""Reading a configuration file."""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import StartError
from .models import BalloonSettings, Settings, refuse_repeated

_KNOWN_KEYS = "the keys are explained in config/vballoond.toml"


def load_settings(path: Path) -> Settings:
    """Read and check a configuration file. Relative paths in it are relative to the file.

    Raises:
        StartError: With exit status 2, naming the file and every key that is wrong.
    """
    try:
        with path.open("rb") as file:
            settings = Settings.model_validate(tomllib.load(file))
    except OSError as error:
        raise StartError(f"cannot read the configuration {path}: {error.strerror}", exit_status=2) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartError(f"{path} is not TOML: {error}", exit_status=2) from error
    except ValidationError as error:
        raise StartError(_explain(path, error), exit_status=2) from error
    try:
        return _relative_to(path.resolve().parent, settings)
    except ValueError as error:
        raise StartError(f"{path} is not a valid configuration: {error}", exit_status=2) from error


def _explain(path: Path, error: ValidationError) -> str:
    lines = [f"{path} is not a valid configuration ({_KNOWN_KEYS}):"]
    lines += [
        f"  {key_name(problem['loc'])}: {_say(problem)}"
        for problem in error.errors(include_url=False, include_context=False)
    ]
    return "\n".join(lines)


def key_name(location: tuple[Any, ...]) -> str:
    """Return where a problem is, as a person writes it: ``balloon[0].memory``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the whole file"


def _say(problem: Any) -> str:
    match problem["type"]:
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "this key is missing"
        case "tuple_type":
            return f"a list is due here, not {problem['input']!r} (a table is written [[...]])"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return message if isinstance(problem["input"], dict | list) else f"{message}, not {problem['input']!r}"


def _relative_to(base: Path, settings: Settings) -> Settings:
    http = settings.http
    if http.token_file is not None:
        http = http.model_copy(update={"token_file": base / http.token_file})
    if http.read_token_file is not None:
        http = http.model_copy(update={"read_token_file": base / http.read_token_file})
    if http.socket_directory is not None:
        http = http.model_copy(update={"socket_directory": base / http.socket_directory})
    if http.listen.removeprefix("unix:") not in ("", http.listen):
        http = http.model_copy(update={"listen": f"unix:{base / http.listen.removeprefix('unix:')}"})
    state = settings.state
    if state.directory is not None:
        state = state.model_copy(update={"directory": base / state.directory})
    policy = settings.policy
    if policy.directory is not None:
        policy = policy.model_copy(update={"directory": base / policy.directory})
    balloons = tuple(_balloon_relative_to(base, balloon) for balloon in settings.balloon)
    refuse_repeated("balloons with the socket", [str(socket) for balloon in balloons for socket in _sockets(balloon)])
    return settings.model_copy(update={"http": http, "state": state, "policy": policy, "balloon": balloons})


def _balloon_relative_to(base: Path, balloon: BalloonSettings) -> BalloonSettings:
    if balloon.workload is not None and Path(balloon.workload).suffix:
        balloon = balloon.model_copy(update={"workload": str(base / balloon.workload)})
    sockets = {"socket": balloon.socket, "firecracker_socket": balloon.firecracker_socket}
    # Two spellings of one path are one socket.
    found = {key: Path(os.path.normpath(base / socket)) for key, socket in sockets.items() if socket is not None}
    return balloon.model_copy(update=found)


def _sockets(balloon: BalloonSettings) -> list[Path]:
    return [socket for socket in (balloon.socket, balloon.firecracker_socket) if socket is not None]
