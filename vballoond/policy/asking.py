"""One question to one policy, where the policy runs: in its own process, or in a simulation."""

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
        KeyboardInterrupt: Somebody wants all of this to end, or the script raised it: the two cannot be told apart.
    """
    # A copy: frozen or not, a script can do anything to what it is given.
    shown = read_view(view_json(view) if text is None else text)
    # Taken before it is asked, since a script can do anything to its class, too; it may have when it was asked before.
    name = getattr(found.policy, "name", found.policy.__name__)
    try:
        returned = found.policy().plan(shown, settings)
        return check_plan(returned, view)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a script does
        raise PolicyError(f"policy {name!r}{_what(error, found.file)}") from error


def _what(error: BaseException, file: str) -> str:
    if type(error) is PolicyError:  # the check's: a script's own class could do anything when it is shown
        return f": {error}"
    return f" raised an error\n{own_lines(error, file)}"
