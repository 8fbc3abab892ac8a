"""One question to one policy, where the policy runs: in its own process, or in a simulation."""

from typing import NoReturn

from ..errors import PolicyError
from .blame import own_lines
from .discover import Found
from .plan import Plan, check_plan
from .policy import PolicySettings
from .view import View, read_view, view_json


def ask(found: Found, view: View, settings: PolicySettings, text: bytes | None = None) -> Plan:
    """Return the checked plan of a policy for ``view``; ``text`` is the same as JSON, where it is there already.

    Raises:
        PolicyError: It raised, or returned what means nothing; the message has its own lines only. Whatever a script
            does, nothing else is raised, except that it loops for ever or takes all memory: that is up to the process.
    """
    # A copy: frozen or not, a script can do anything to what it is given.
    shown = read_view(view_json(view) if text is None else text)
    try:
        returned = found.policy().plan(shown, settings)
        return check_plan(returned, view)
    except PolicyError as error:
        raise PolicyError(f"policy {found.policy.name!r}: {error}") from error
    except (Exception, SystemExit, GeneratorExit) as error:  # noqa: BLE001 (whatever a script does)
        _blame(found, error)


def _blame(found: Found, error: BaseException) -> NoReturn:
    lines = own_lines(error, found.file)
    raise PolicyError(f"policy {found.policy.name!r} raised an error\n{lines}") from error
