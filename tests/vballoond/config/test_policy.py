from pathlib import Path

import pytest

from vballoond.config.load import load_settings
from vballoond.config.policy import GuardSettings, PolicySettings
from vballoond.errors import StartError
from vballoond.policy.guard.limits import Limits


def test_the_guards_defaults_are_its_own() -> None:
    assert GuardSettings().limits == Limits(inaccuracy_bytes=Limits().inaccuracy_bytes)


def test_every_number_of_the_guard_can_be_set() -> None:
    guard = GuardSettings(step="3MiB", rate="4MiB", dead_band="5MiB", new_for_s=6, starving_share=0.5)
    assert guard.limits == Limits(
        step_bytes=3 << 20, rate_bytes_per_s=4 << 20, dead_band_bytes=5 << 20, new_for_s=6, starving_share=0.5
    )


def test_a_relative_directory_is_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "vballoond.toml"
    file.write_text('[policy]\ndirectory = "policies"\n')
    assert load_settings(file).policy.directory == tmp_path / "policies"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('name = "No Name"', "policy.name"),
        ("interval_s = 0", "policy.interval_s"),
        ("time_limit_s = 61", "policy.time_limit_s"),
        ('memory_limit = "64MiB"', "policy.memory_limit"),
        ("reserve = 5", "policy.reserve"),
        ("by_hand_s = -1", "policy.by_hand_s"),
        ("dirctory = 1", "policy.dirctory"),
        ("settings = {since = 07:30:00}", "policy.settings.since"),
        ("settings = {margin = [nan]}", "policy.settings"),
        ("settings = {margin = -inf}", "policy.settings"),
        (f"settings = {{margin = {'[' * 400}{']' * 400}}}", "policy.settings"),
        ("guard = {step_share = 2}", "policy.guard.step_share"),
        ('guard = {stepp = "1MiB"}', "policy.guard.stepp"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, line: str, key: str) -> None:
    file = tmp_path / "vballoond.toml"
    file.write_text(f"[policy]\n{line}\n")
    with pytest.raises(StartError) as caught:
        load_settings(file)
    assert f"  {key}: " in caught.value.detail


def test_settings_survive_being_written_down() -> None:
    settings = PolicySettings(name="p", settings={"a": [1]}, reserve="1GiB", guard=GuardSettings(step="1MiB"))
    assert PolicySettings.model_validate_json(settings.model_dump_json(exclude_unset=True)) == settings
