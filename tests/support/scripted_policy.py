"""The part of the scripted daemon that is about policies and reservations: what a test says stands in the answers."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from aiohttp import web

from vballoond.policy.discover import built_in

MIB = 1 << 20
DEFAULTS: dict[str, Any] = {"problem": None, "set_aside": False}


@cache
def available() -> list[dict[str, Any]]:
    """Those that are built in, as the API lists them."""
    return sorted((found.shown() for found in built_in()), key=lambda each: each["name"])


def listed(name: str, **known: Any) -> dict[str, Any]:
    """A policy of a file, as the API lists it."""
    shown = {"name": name, "origin": f"/etc/vballoond/policies/{name}.py", "summary": "", "settings_schema": {}}
    return {**shown, **known}


def decision(balloon: str, from_mib: int, wished_mib: int, target_mib: int, reason: str, *changes: Any) -> Any:
    """A decision, with what rules made of the wish as (rule, MiB, why)."""
    rules = [{"rule": rule, "target_bytes": mib * MIB, "why": why} for rule, mib, why in changes]
    return {
        "balloon": balloon,
        "from_bytes": from_mib * MIB,
        "wished_bytes": wished_mib * MIB,
        "target_bytes": target_mib * MIB,
        "reason": "; ".join([reason, *(f"{rule}: {why}" for rule, _, why in changes)]),
        "changes": rules,
    }


@dataclass
class ScriptedPolicy:
    """What the daemon says of policies.

    Attributes:
        view: Of GET /v1/policy.
        rounds: The newest first.
        older: Rounds that only whoever asks about one balloon is told.
        reservations: The newest first.
        plan: Answers a dry run.
        held: A dry run is answered once it is set.
        refuse: Answers PUT and a dry run with this problem, if it is set.
    """

    view: dict[str, Any] = field(
        default_factory=lambda: {
            "active": {"name": "static", "settings": {}, **DEFAULTS},
            "shadow": None,
            "available": list(available()),
            "problems": {},
            "interval_s": 3600.0,  # so that the page reads only what it is told to
            "left_alone": [],
        }
    )
    rounds: list[dict[str, Any]] = field(default_factory=list)
    older: list[dict[str, Any]] = field(default_factory=list)
    reservations: list[dict[str, Any]] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=lambda: {"settings": {}, "decisions": [], "alerts": []})
    held: asyncio.Event | None = None
    refuse: dict[str, Any] | None = None

    def act(self, name: str, **known: Any) -> None:
        """Have a policy act."""
        self.view["active"] = {"name": name, "settings": {}, **DEFAULTS, **known}

    def shade(self, name: str, *differences: Any, **known: Any) -> None:
        """Have a policy in shadow, with differences as (balloon, MiB of who acts, its own, its reason)."""
        shown = [
            {
                "balloon": balloon,
                "acting_bytes": acting_mib * MIB,
                "shadow_bytes": shadow_mib * MIB,
                "acting_reason": None,
                "shadow_reason": reason,
            }
            for balloon, acting_mib, shadow_mib, reason in differences
        ]
        self.view["shadow"] = {"name": name, "settings": {}, **DEFAULTS, "differences": shown, **known}

    def round(self, at: datetime, *decisions: Any, **known: Any) -> None:
        """Have a newer round."""
        self.rounds.insert(
            0,
            {
                "number": len(self.rounds) + 1,
                "at": at.isoformat(),
                "policy": self.view["active"]["name"],
                "settings": self.view["active"]["settings"],
                "shadow": False,
                "took_s": 0.004,
                "error": None,
                "decisions": list(decisions),
                "alerts": [],
                "view": None,
                **known,
            },
        )

    def reserve(self, number: int, mib: int, gathered_mib: int, state: str, at: datetime, **known: Any) -> None:
        """Have a newer reservation."""
        reservation = {
            "id": number,
            "bytes": mib * MIB,
            "gathered_bytes": gathered_mib * MIB,
            "state": state,
            "reason": None,
            "purpose": "",
            "asked_at": at.isoformat(),
            "by": at.isoformat(),
            "changed_at": at.isoformat(),
            "keep_s": 300.0,
            "claimed_by": None,
        }
        self.reservations.insert(0, {**reservation, **known})

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Answer what the page asks for."""
        router.add_get("/v1/policy", self._show)
        router.add_put("/v1/policy", self._choose)
        router.add_post("/v1/policy/plan", self._plan)
        router.add_get("/v1/policy/decisions", self._decisions)
        router.add_get("/v1/reservations", self._reservations)

    async def _show(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self.view)

    async def _choose(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.refuse:
            return self._refused()
        if "name" in body:
            self.act(body["name"], settings=body["settings"])
        if "shadow" in body:
            self.view["shadow"] = body["shadow"] and {**DEFAULTS, **body["shadow"], "differences": []}
        return web.json_response(self.view)

    async def _plan(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.held is not None:
            await self.held.wait()
        return self._refused() if self.refuse else web.json_response({"name": body["name"], **self.plan})

    def _refused(self) -> web.Response:
        assert self.refuse is not None
        problem = {"type": "about:blank", "title": "no", "status": 422, "code": "scripted", **self.refuse}
        return web.json_response(problem, status=problem["status"], content_type="application/problem+json")

    async def _decisions(self, request: web.Request) -> web.Response:
        limit, balloon = int(request.query["limit"]), request.query.get("balloon")
        rounds = self.rounds
        if balloon is not None:
            rounds = [
                {**each, "decisions": about}
                for each in (*self.rounds, *self.older)
                if (about := [one for one in each["decisions"] if one["balloon"] == balloon])
            ]
        return web.json_response({"rounds": rounds[:limit]})

    async def _reservations(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"reservations": self.reservations})
