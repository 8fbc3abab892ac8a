"""Reading a configuration file."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import StartError
from .models import BalloonSettings, Settings

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
    return _relative_to(path.resolve().parent, settings)


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
    if problem["type"] == "extra_forbidden":
        return "unknown key"
    if problem["type"] == "missing":
        return "this key is missing"
    return (
        f"{str(problem['msg']).removeprefix('Value error, ')}, not {problem['input']!r}"
        if problem["loc"]
        else str(problem["msg"]).removeprefix("Value error, ")
    )


def _relative_to(base: Path, settings: Settings) -> Settings:
    http = settings.http
    if http.token_file is not None:
        http = http.model_copy(update={"token_file": base / http.token_file})
    if http.listen.startswith("unix:"):
        http = http.model_copy(update={"listen": f"unix:{base / http.listen.removeprefix('unix:')}"})
    balloons = tuple(_balloon_relative_to(base, balloon) for balloon in settings.balloon)
    return settings.model_copy(update={"http": http, "balloon": balloons})


def _balloon_relative_to(base: Path, balloon: BalloonSettings) -> BalloonSettings:
    return balloon if balloon.socket is None else balloon.model_copy(update={"socket": base / balloon.socket})
