"""The scenarios of hosts that come with the program, and files of people's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...errors import OperatorError
from .host_scenario import HostScenario, read_scenario

_PLACE: Final = Path(__file__).parent / "scenarios"
"""In the source a link to ``config/scenarios``, so that an installed program has them, too."""
MAX_SCENARIO_BYTES: Final = 1 << 20


def shipped_host_scenarios() -> dict[str, Path]:
    """Return the files of those that come with the program, by name."""
    return {path.stem: path for path in sorted(_PLACE.glob("*.toml"))}


@dataclass(frozen=True, slots=True)
class ScenarioText:
    """A scenario that was found, and not read yet."""

    name: str
    where: str
    """The file, as it was named; of one that is shipped, its name."""
    text: str


def scenario_text(name: str) -> ScenarioText:
    """Return the text of a scenario: of a file's if ``name`` ends in .toml, else of one that is shipped.

    Raises:
        OperatorError: There is none, or it cannot be read.
    """
    path = Path(name) if name.endswith(".toml") else shipped_host_scenarios().get(name)
    if path is None:
        known = ", ".join(sorted(shipped_host_scenarios()))
        raise OperatorError(
            f"no scenario {name!r}: there are {known}; or give a .toml file (only 'vballoond simulate' takes recorded "
            "views, in .jsonl)"
        )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SCENARIO_BYTES + 1)
        if len(data) > MAX_SCENARIO_BYTES:
            raise OperatorError(f"scenario {path}: it has more than {MAX_SCENARIO_BYTES} bytes")
        return ScenarioText(path.stem, name, data.decode())
    except OSError as error:
        raise OperatorError(f"scenario {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OperatorError(f"scenario {path}: it is not UTF-8 text") from error


def load_host_scenario(name: str) -> HostScenario:
    """Return the scenario of a file or a name.

    Raises:
        OperatorError: As for :func:`scenario_text`, or it is no scenario.
    """
    found = scenario_text(name)
    return read_scenario(found.text, found.where)
