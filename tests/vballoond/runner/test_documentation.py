"""docs/policies.md and the examples: what stands there runs, and says what is true."""

import re
import textwrap
from pathlib import Path

import pytest
from support.policy_views import MIB, a_guest, a_view

from vballoond.config.policy import GuardSettings
from vballoond.policy.asking import ask
from vballoond.policy.builtin import BUILT_IN
from vballoond.policy.discover import Found, discover, load
from vballoond.policy.policy import check_settings

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/policies.md").read_text()
BUSY = a_guest("busy", free=100)
IDLE = a_guest("idle", free=900)


def first(path: Path) -> Found:
    code = re.search(r"<!-- first\.py -->\n\s*```python\n(.*?)```", TEXT, re.DOTALL)
    assert code is not None
    (found,) = load(path / "first.py", textwrap.dedent(code[1]).encode())
    return found


def wished_mib(found: Found, *guests, available: float, **settings) -> dict[str, float]:
    view = a_view(*guests, total=16384, available=available, reserve_bytes=1024)
    plan = ask(found, view, check_settings(found.policy, settings))
    return {wish.guest: wish.target_bytes / MIB for wish in plan.wishes}


def test_the_first_policy_does_what_it_says(tmp_path: Path) -> None:
    found = first(tmp_path)
    silent = a_guest("silent")
    assert wished_mib(found, BUSY, IDLE, silent, available=500) == {
        "busy": 0,  # it uses 924 MiB of 1024, and a quarter more is beyond what it has
        "idle": 1024 - 124 * 1.25,
    }
    assert wished_mib(found, IDLE, available=500, margin=0.5) == {"idle": 1024 - 124 * 1.5}
    assert wished_mib(found, BUSY, IDLE, available=5000) == {"busy": 0, "idle": 0}


def test_every_built_in_policy_is_described() -> None:
    described = set(
        re.findall(r"^\| `([a-z-]+)` \|", TEXT.partition("## Built in")[2].partition("##")[0], re.MULTILINE)
    )
    assert described == {policy.name for policy in BUILT_IN}


def test_every_key_of_the_guard_is_described_with_its_default() -> None:
    rows = re.findall(
        r"^\| (`[^|]*) \| ([^|]*) \|", TEXT.partition("guard]` in the")[2].partition("Besides")[0], re.MULTILINE
    )
    described = {}
    for keys, defaults in rows:
        described |= dict(zip(re.findall(r"`(\w+)`", keys), defaults.split(", "), strict=True))
    written = {name: value for name, value in described.items() if value.endswith("MiB")}
    numbers = {name: float(value) for name, value in described.items() if name not in written}
    read = GuardSettings.model_validate({**numbers, **written})
    assert described.keys() == GuardSettings.model_fields.keys()
    assert read == GuardSettings()


def test_the_examples_load_and_do_something() -> None:
    catalogue = discover(ROOT / "config/policies")
    assert catalogue.problems == {}
    assert {"leave-half", "night-shift"} <= catalogue.policies.keys()
    assert wished_mib(catalogue.policies["leave-half"], IDLE, available=500) == {"idle": 512}
    assert wished_mib(catalogue.policies["leave-half"], IDLE, available=5000) == {"idle": 0}


def test_the_example_that_remembers_squeezes_who_is_idle_for_long() -> None:
    found = discover(ROOT / "config/policies").policies["night-shift"]
    settings = check_settings(found.policy, {"idle_after_s": 60})
    stirring = a_guest("stirring", free=900, rates={"minor_faults": 1000.0})
    plan = ask(found, a_view(IDLE, stirring, now_s=0), settings)
    assert [(wish.guest, wish.target_bytes) for wish in plan.wishes] == [("stirring", 0)]
    assert plan.memory == {"idle": 0}
    plan = ask(found, a_view(IDLE, now_s=61, memory=plan.memory), settings)
    (wish,) = plan.wishes
    assert wish.target_bytes == pytest.approx((900 - 102.4) * MIB, abs=1)
