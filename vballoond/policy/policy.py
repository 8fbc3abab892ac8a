"""What a policy is: a class with a name, settings, and ``plan``.

Rules of this file:

* ``plan`` is synchronous, short, and a function of its arguments only: same view, same settings, same plan. It gets a
  fresh instance each time, so what it must remember travels in the plan.
* Settings are a pydantic model, so that the API can list, check and explain them.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import OperatorError, PolicyError
from .nesting import MAX_DEPTH, too_deep
from .plan import Plan
from .view import View, first_problem

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class PolicySettings(BaseModel):
    """The base of a policy's settings. An unknown one is an error, so that a misspelt one does not silently mean its
    default; so is a number that is none or without end, which JSON cannot keep. Defaults are checked, too."""  # noqa: D205, D209 (one sentence)

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


class Policy(Protocol):
    """Derive from this, or have the same members. The docstring's first line tells people what the policy does."""

    name: ClassVar[str]
    Settings: ClassVar[type[PolicySettings]] = PolicySettings

    def plan(self, view: View, settings: Any) -> Plan:
        """Return what is wished now. ``settings`` is an instance of ``Settings``."""
        ...


def check_policy(policy: type[Policy]) -> None:
    """Return if ``policy`` is one, and its settings' defaults are such as could be given.

    Raises:
        PolicyError: It is none; the message says what it lacks.
    """
    _check_members(policy)
    _check_defaults(policy)


def _check_members(policy: type[Policy]) -> None:
    name = getattr(policy, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PolicyError(
            f"class {policy.__name__} needs a name of a-z, 0-9, '.', '_' and '-', 64 at most, not {str(name)[:80]!r}"
        )
    plan = getattr(policy, "plan", None)
    if not callable(plan) or plan is Policy.plan or inspect.isabstract(policy):
        raise PolicyError(f"class {policy.__name__} needs plan(self, view, settings) of its own")
    settings = getattr(policy, "Settings", PolicySettings)
    if not (isinstance(settings, type) and issubclass(settings, PolicySettings)):
        raise PolicyError(f"policy {name!r}: its Settings must be a class derived from PolicySettings")
    if settings.model_config.get("extra") != "forbid":
        raise PolicyError(f"policy {name!r}: its Settings must forbid unknown ones (extra='forbid')")


def _check_defaults(policy: type[Policy]) -> None:
    try:
        settings_of(policy)()
    except ValidationError as error:
        # That one is missing, or that some do not go together, is said to who chooses the policy without them.
        for problem in error.errors(include_url=False, include_context=False):
            if problem["loc"] and problem["type"] != "missing":
                where = ".".join(map(str, problem["loc"]))
                raise PolicyError(f"policy {policy.name!r}: the default of {where}: {problem['msg']}") from error


def summary_of(policy: type[Policy]) -> str:
    """Return the first line of the docstring, for people; empty where there is none."""
    text = policy.__doc__
    lines = text.strip().splitlines() if isinstance(text, str) else []
    return lines[0].strip()[:200] if lines else ""


def settings_of(policy: type[Policy]) -> type[PolicySettings]:
    """Return the model of the settings, which is an empty one where the policy has none of its own."""
    return getattr(policy, "Settings", PolicySettings)


def check_settings(policy: type[Policy], given: Mapping[str, Any]) -> PolicySettings:
    """Return the settings that ``given`` means, defaults filled in.

    Raises:
        OperatorError: Status 422: the message names the first that is wrong, and what would be right.
    """
    if too_deep(given):
        detail = f"settings of policy {policy.name!r} nest more than {MAX_DEPTH} levels deep"
        raise OperatorError(detail, status=422, code="invalid-settings")
    try:
        return settings_of(policy).model_validate(dict(given))
    except ValidationError as error:
        detail = f"settings of policy {policy.name!r}: {first_problem(error)}"
        raise OperatorError(detail, status=422, code="invalid-settings") from error
