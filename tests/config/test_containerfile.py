import re
from pathlib import Path

from vballoond.config.load import load_settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "config" / "Containerfile").read_text()
INSTRUCTIONS = [
    line.split(maxsplit=1) for line in re.sub(r"\\\n\s*", " ", TEXT).splitlines() if line and not line.startswith("#")
]


def arguments_of(name: str) -> list[str]:
    return [rest for instruction, rest in INSTRUCTIONS if instruction == name]


def test_what_is_copied_is_there() -> None:
    copies = [copy.split() for copy in arguments_of("COPY") if not copy.startswith("--from")]
    assert len(copies) >= 4
    sources = [source for *sources, _ in copies for source in sources]
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_what_the_package_is_built_of_is_copied() -> None:
    copied = " ".join(arguments_of("COPY"))
    for needed in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "constraints.txt",
        "protocol",
        "guest_driver",
        "vballoond",
    ):
        assert needed in copied


def test_it_runs_as_an_ordinary_user_and_what_it_keeps_outlives_it() -> None:
    assert arguments_of("USER") == ["vballoond"]
    names = [name for name, _ in INSTRUCTIONS]
    assert names.index("USER") < names.index("ENTRYPOINT")
    settings = load_settings(ROOT / "config" / "container.toml")
    assert arguments_of("VOLUME") == [str(settings.state.directory)]
    (check,) = arguments_of("HEALTHCHECK")
    assert "/healthz" in check
    assert f"VBALLOOND_API={settings.http.listen}" in arguments_of("ENV")[0]
    assert settings.http.listen.startswith("unix:/run/vballoond/")
