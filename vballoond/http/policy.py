"""/v1/policy: who decides on the sizes of balloons, what was decided, and what another would decide."""

import json
from typing import Final, NoReturn

from aiohttp import web

from ..errors import OperatorError, PolicyError
from ..policy.view import View, read_view, view_json
from .bodies import json_response, read_body
from .keys import OFFLOAD, POLICY
from .models.decision import RoundList, RoundView, plan_view, round_view
from .models.policy import PlanRequest, PolicyChange, policy_view

MAX_ROUNDS: Final = 1000
DEFAULT_ROUNDS: Final = 20
MAX_ROUNDS_WITH_INPUTS: Final = 50


async def show_policy(request: web.Request) -> web.Response:
    """Who decides, and who could."""
    policies = request.app[POLICY]
    return json_response(policy_view(await policies.status(), policies.interval_s))


async def choose_policy(request: web.Request) -> web.Response:
    """Have another policy decide, or be asked beside it without being heard; balloons set by hand are let go."""
    change, policies = await read_body(request, PolicyChange), request.app[POLICY]
    change_shadow = "shadow" in change.model_fields_set
    shadow = change.shadow.acting if change.shadow is not None else None
    try:
        await policies.choose(change.acting, shadow, change_shadow=change_shadow)
    except PolicyError as error:
        _refuse(error)
    return json_response(policy_view(await policies.status(), policies.interval_s))


async def plan_policy(request: web.Request) -> web.Response:
    """What a policy would do now, or about a snapshot. Nothing changes."""
    wanted = await read_body(request, PlanRequest)
    snapshot = _snapshot(wanted) if wanted.snapshot is not None else None
    try:
        dry = await request.app[POLICY].plan(wanted.name, wanted.settings, snapshot)
    except PolicyError as error:
        _refuse(error)
    return json_response(plan_view(dry))


async def show_decisions(request: web.Request) -> web.Response:
    """What was decided and why, the newest round first; of one balloon where ``?balloon=`` names it."""
    balloon = request.query.get("balloon")
    inputs = request.query.get("inputs", "false")
    if inputs not in ("true", "false"):
        raise OperatorError(f"query inputs={inputs!r}: it takes true or false", code="bad-query")
    limit = _limit(request, MAX_ROUNDS_WITH_INPUTS if inputs == "true" else MAX_ROUNDS)
    log = request.app[POLICY].log

    def rounds() -> RoundList:
        shown: list[RoundView] = []
        for number, record in log.newest_first():
            if len(shown) >= limit:
                break
            view = round_view(number, record, balloon, inputs=inputs == "true")
            if balloon is None or view.decisions or view.alerts:
                shown.append(view)
        return RoundList(rounds=shown)

    return json_response(await request.app[OFFLOAD].run(rounds))


async def show_view(request: web.Request) -> web.Response:
    """What policies see now, as ``vballoond record`` writes it down."""
    view = await request.app[POLICY].snapshot()
    return web.Response(body=await request.app[OFFLOAD].run(view_json, view), content_type="application/json")


def _snapshot(wanted: PlanRequest) -> View:
    try:
        return read_view(json.dumps(wanted.snapshot))
    except ValueError as error:
        raise OperatorError(f"snapshot: {error}", code="bad-snapshot") from error


def _limit(request: web.Request, most: int) -> int:
    text = request.query.get("limit", str(min(DEFAULT_ROUNDS, most)))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise OperatorError(f"query limit={text[:20]!r}: it takes 1 to {most}", code="bad-query")
    return int(text)


def _refuse(error: PolicyError) -> NoReturn:
    raise OperatorError(str(error), status=422, code="policy-failed") from error
