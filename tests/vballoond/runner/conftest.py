"""Rounds in virtual time, over balloons whose guests are modelled; what starts real processes has the real time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.fake_holder import FakeHolder
from support.fleet_life import Life, life
from support.policy_host import PolicyHost
from support.scripts_here import ScriptsHere
from support.virtual_time import JumpingLoop

from vballoond.clock import Clock
from vballoond.config.models import BalloonSettings
from vballoond.config.policy import PolicySettings
from vballoond.offload import Offload
from vballoond.runner.kept import Kept
from vballoond.runner.runner import PolicyRunner

_REAL_TIME = {"test_scripts.py"}


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    real = item.path.name in _REAL_TIME
    return {"real": asyncio.SelectorEventLoop} if real else {"virtual": JumpingLoop}


class Bench:
    """Balloons, a host whose memory a test sets, and policies over both."""

    def __init__(self, life: Life, host: PolicyHost, scripts: ScriptsHere, runner: PolicyRunner, kept: list[Kept]):
        self.life = life
        self.host = host
        self.scripts = scripts
        self.runner = runner
        self.kept = kept

    def events(self, kind: str = "policy") -> list[dict[str, Any]]:
        missed, _ = self.life.events.behind("life-0")
        return [dict(event.data) for event in missed if event.kind == kind]

    def target_mib(self, name: str) -> float:
        return self.life.service(name).target_frames / 256


@pytest.fixture
def bench():
    """Gives a context manager: guests of 64 MiB by their names, or with more keys, and a policy that acts on them."""

    @asynccontextmanager
    async def make(
        *guests: str | dict[str, Any],
        policies: tuple[Any, ...] = (),
        left: Kept | None = None,
        old: bool = True,
        start: bool = False,
        **settings: Any,
    ) -> AsyncIterator[Bench]:
        holder, host, scripts = FakeHolder(), PolicyHost(), ScriptsHere(*policies)
        kept: list[Kept] = []

        async def keep(each: Kept) -> None:
            kept.append(each)

        async with life(holder) as alive:
            await alive.open(*map(_guest, guests), settle=False)
            for service in alive.registry:
                await alive.fleet.guest(service.settings.name).booted()
                if old:
                    service.driven_since_s = float("-inf")
            runner = PolicyRunner(
                *(PolicySettings.model_validate(settings), alive.registry, Offload(), alive.events),
                Clock(asyncio.get_running_loop().time),
                left=left,
                read_host=host.read,
                make_scripts=lambda _: scripts,
                keep=keep,
            )
            try:
                if start:
                    runner.start()
                yield Bench(alive, host, scripts, runner, kept)
            finally:
                await runner.close()
        holder.close()

    return make


def _guest(keys: str | dict[str, Any]) -> BalloonSettings:
    named = {"name": keys} if isinstance(keys, str) else keys
    return BalloonSettings.model_validate(
        {"transport": "in-process", "memory": "64MiB", "stats_interval_s": 1, **named}
    )
