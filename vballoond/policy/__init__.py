"""Host policies: small Python files that steer many guests, and cannot hurt them. Pure, all of it.

A policy is a class, and imports what it needs from here::

    from vballoond.policy import Plan, Policy, PolicySettings, View, Wish


    class Halve(Policy):
        \"\"\"Leaves each guest with a part of its memory.\"\"\"

        name = "halve"

        class Settings(PolicySettings):
            part: float = 0.5

        def plan(self, view: View, settings: Settings) -> Plan:
            return Plan(tuple(
                Wish.size(guest, guest.memory_bytes * settings.part, "half is enough") for guest in view.able
            ))

The rooms, from what a script sees to what a guest gets:

    view, plan, policy   what goes in, what comes out (and whether it makes sense), what a policy is
    remembered           reading what a policy remembered, whatever that is
    builtin/             the policies that are always there
    discover             which policies there are; asking: one question to one of them; blame: a script's own lines
    showing              what of guests and reservations policies are shown
    guard/               the rules between a wish and a guest
    reservations         memory that is to be free by then
    explain, decision_log, comparing   what was decided and why; the newest of that; two policies beside each other

Who runs policies does this, a round each interval:

1.  Make a ``View`` of the host and the guests: ``actual_bytes`` from the frame map, ``host.reserve_bytes`` from the
    configuration, and ``memory`` from the last plan of this policy (an empty object for another policy).
2.  ``shown = show(view, state, book, limits)``: who is new, silent or stalled, so that everybody sees it. Its alerts
    are for people.
3.  ``book, changed = step(book, shown.view)``, and what is held back for reservations now is shown as in 2.
4.  Ask the policy about that view: where it runs, ``ask(found, view, settings)``; from there ``plan_json``, and
    here ``read_plan(text, view)``, which checks again. A ``PolicyError``, a death, or a time that is over changes
    nothing: ``budget = budget.failed(now_s, report)``, and report it if ``is_news``. What scripts do to the view that
    they get does not matter: it is a copy.
5.  ``decisions = guard(that view, plan, shown.state, limits)``. Carry out ``decisions.orders`` in their order,
    keep ``decisions.state`` and ``plan.memory``, and put a ``Round`` into the ``DecisionLog``.

A dry run is 2 to 5 with nothing kept, on the state that there is, or on ``GuardState.knowing(view)`` for a recorded
view. A simulation is 1 to 5 in one process.
"""

from .plan import Alert, Plan, Reserve, Wish
from .policy import Policy, PolicySettings
from .view import Fragmentation, GuestStatistics, GuestView, Host, Pressure, View

__all__ = [
    "Alert",
    "Fragmentation",
    "GuestStatistics",
    "GuestView",
    "Host",
    "Plan",
    "Policy",
    "PolicySettings",
    "Pressure",
    "Reserve",
    "View",
    "Wish",
]
