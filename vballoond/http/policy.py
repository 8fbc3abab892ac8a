"""/v1/policy: who decides on the sizes of balloons, what was decided, and what another would decide."""

from itertools import islice
from typing import Final, NoReturn

from aiohttp import web
from pydantic import ValidationError

from ..errors import OperatorError, PolicyError
from ..policy.view import MAX_GUESTS, first_problem, view_json
from ..runner.runner import Dry
from .bodies import check_content_type, json_response, read_body
from .keys import OFFLOAD, POLICY
from .models.decision import RoundList, RoundView, plan_view, round_view
from .models.policy import PlanQuestion, PolicyChange, policy_view
from .problems import explain_body

MAX_ROUNDS: Final = 1000
DEFAULT_ROUNDS: Final = 20
MAX_ROUNDS_WITH_INPUTS: Final = 50

GUEST_BYTES: Final = 2048
"""Of a snapshot, for each guest: 1.3 KiB with all of virtio's statistics and their rates, 1.9 KiB if it is indented."""
MAX_PLAN_BODY_BYTES: Final = MAX_GUESTS * GUEST_BYTES
"""A snapshot of as many guests as there can be."""


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
    """What a policy would do now, or about a snapshot. Nothing changes.

    A body may have 20 MB here, for a snapshot of ten thousand guests.
    """
    check_content_type(request)
    offload = request.app[OFFLOAD]
    wanted = await offload.run(_question, await request.read())
    try:
        dry = await request.app[POLICY].plan(wanted.name, wanted.settings, wanted.snapshot)
    except PolicyError as error:
        _refuse(error)
    return web.Response(body=await offload.run(_plan_json, dry), content_type="application/json")


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
        for number, record in islice(log.newest_first(balloon), limit):
            shown.append(round_view(number, record, balloon, inputs=inputs == "true"))
        return RoundList(rounds=shown)

    return json_response(await request.app[OFFLOAD].run(rounds))


async def show_view(request: web.Request) -> web.Response:
    """What policies see now, as ``vballoond record`` writes it down."""
    view = await request.app[POLICY].snapshot()
    return web.Response(body=await request.app[OFFLOAD].run(view_json, view), content_type="application/json")


def _question(body: bytes) -> PlanQuestion:
    """Return what is asked. It is read in one pass, which lets other threads run between two guests."""
    try:
        return PlanQuestion.model_validate_json(body)
    except ValidationError as error:
        raise _explained(error) from error


def _explained(error: ValidationError) -> OperatorError:
    problem = error.errors(include_url=False, include_context=False)[0]
    if problem["type"] == "json_invalid":
        return OperatorError(f"the request's body is not JSON: {problem['msg']}", code="not-json")
    if problem["type"] == "model_type":
        return OperatorError("the request's body is not a JSON object", code="not-an-object")
    if problem["loc"][:1] == ("snapshot",):
        where = first_problem(error).removeprefix("snapshot.")
        return OperatorError(f"snapshot: not a snapshot: {where}", code="bad-snapshot")
    return OperatorError(explain_body(error), code="invalid-body")


def _plan_json(dry: Dry) -> bytes:
    return plan_view(dry).model_dump_json().encode()


def _limit(request: web.Request, most: int) -> int:
    text = request.query.get("limit", str(min(DEFAULT_ROUNDS, most)))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise OperatorError(f"query limit={text[:20]!r}: it takes 1 to {most}", code="bad-query")
    return int(text)


def _refuse(error: PolicyError) -> NoReturn:
    raise OperatorError(str(error), status=422, code="policy-failed") from error
