from pathlib import Path

from vballoond.config.load import load_settings
from vballoond.config.models import BalloonSettings, HttpSettings, LogSettings, Settings, embedded_default

CONFIG = Path(__file__).parents[3] / "config" / "vballoond.toml"


def test_the_shipped_file_is_the_embedded_default() -> None:
    assert load_settings(CONFIG) == embedded_default()


def test_the_shipped_file_explains_every_key() -> None:
    text = CONFIG.read_text()
    for model in (Settings, HttpSettings, LogSettings, BalloonSettings):
        for key in model.model_fields:
            assert f"{key} = " in text or f"[{key}]" in text, key


def test_the_shipped_example_of_a_virtual_machine_is_valid(tmp_path: Path) -> None:
    lines = CONFIG.read_text().split("# A virtual machine:\n")[1].splitlines()
    example = tmp_path / "vm.toml"
    example.write_text("\n".join(line.removeprefix("#").removeprefix(" ") for line in lines))
    (balloon,) = load_settings(example).balloon
    assert (balloon.name, balloon.socket_mode, balloon.max) == ("vm1", 0o600, 2 << 30)
