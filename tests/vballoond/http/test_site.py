import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from vballoond.config.models import HttpSettings
from vballoond.holder.no_holder import NoHolder
from vballoond.http.answering import BuildApp
from vballoond.http.site import Site
from vballoond.http.tokens import Tokens
from vballoond.offload import Offload
from vballoond.registry import Registry

ROOT = Path(__file__).parents[3]
FOR_ANSWERS = ("aiohttp", "PIL", "prometheus_client", "vballoond.http.app", "vballoond.http.routes", "vballoond.lab")


class Watched(Offload):
    """Says what was run, and what had been asked for by then."""

    def __init__(self, made: list[str]) -> None:
        super().__init__()
        self._made = made

    async def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._made.append("imported")
        return await super().run(call, *args, **kwargs)


def test_guests_wait_for_nothing_that_only_answers_need() -> None:
    program = f"import sys, vballoond.daemon; print(*set({FOR_ANSWERS!r}) & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    assert said.stdout.split() == []


async def test_what_answers_need_is_imported_beside_guests_and_before_the_application_is_made(tmp_path: Path) -> None:
    made: list[str] = []

    def make_app(build_app: BuildApp, hosts: frozenset[str] | None, tokens: Tokens) -> web.Application:
        made.append("made")
        return build_app(Registry(), Offload(), hosts=hosts, tokens=tokens)

    site = Site(NoHolder())
    await site.listen(HttpSettings(listen=f"unix:{tmp_path / 'api.sock'}"))
    try:
        await site.serve(make_app, Watched(made))
        connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"))
        async with aiohttp.ClientSession(connector=connector) as client, client.get("http://any/healthz") as answer:
            assert answer.status == 200
    finally:
        await site.close()
    assert made == ["imported", "made"]


async def test_names_of_the_address_and_the_configuration_are_answered_and_no_others() -> None:
    served: list[frozenset[str] | None] = []

    def make_app(build_app: BuildApp, hosts: frozenset[str] | None, tokens: Tokens) -> web.Application:
        served.append(hosts)
        return build_app(Registry(), Offload(), hosts=hosts, tokens=tokens)

    site = Site(NoHolder())
    await site.listen(HttpSettings(listen="127.0.0.1:0", hosts=("Host.example",)))
    try:
        await site.serve(make_app, Offload())
    finally:
        await site.close()
    assert served == [frozenset({"localhost", "127.0.0.1", "[::1]", "host.example"})]


async def test_without_a_socket_no_application_is_made() -> None:
    def make_app(build_app: BuildApp, hosts: frozenset[str] | None, tokens: Tokens) -> web.Application:
        raise AssertionError(build_app, hosts, tokens)

    await Site(NoHolder()).serve(make_app, Offload())
