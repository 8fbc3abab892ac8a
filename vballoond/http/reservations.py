"""/v1/reservations: memory of the host that is to be free by a given time."""

from aiohttp import web

from ..errors import OperatorError
from ..policy.reservations import Reservation
from .bodies import json_response, read_body
from .keys import POLICY
from .models.reservation import ReservationClaim, ReservationList, ReservationRequest, reservation_view
from .preferences import wait_of

_MOST_DIGITS = 18  # of a number that can be looked for


async def list_reservations(request: web.Request) -> web.Response:
    """All that are open, and those that ended a while ago, the newest first."""
    reservations = reversed(request.app[POLICY].desk.book.reservations)
    return json_response(ReservationList(reservations=[reservation_view(each) for each in reservations]))


async def reserve(request: web.Request) -> web.Response:
    """Ask for memory. With ``Prefer: wait=S`` it is answered once it is there, or cannot be, or after S seconds."""
    wait_s = wait_of(request)
    wanted = await read_body(request, ReservationRequest)
    policies = request.app[POLICY]
    reservation = await policies.reserve(
        wanted.bytes, within_s=wanted.within_s, keep_s=wanted.keep_s, purpose=wanted.purpose
    )
    if wait_s is not None:
        reservation = await policies.desk.wait(reservation.id, wait_s)
    answer = json_response(reservation_view(reservation), status=201)
    answer.headers["Location"] = f"/v1/reservations/{reservation.id}"
    if wait_s is not None:
        answer.headers["Preference-Applied"] = f"wait={wait_s:g}"
    return answer


async def show_reservation(request: web.Request) -> web.Response:
    """One reservation. With ``Prefer: wait=S`` it is answered once it is there, or cannot be, or after S seconds."""
    wait_s = wait_of(request)
    reservation = _of(request)
    if wait_s is not None:
        reservation = await request.app[POLICY].desk.wait(reservation.id, wait_s)
    return json_response(reservation_view(reservation))


async def claim_reservation(request: web.Request) -> web.Response:
    """Take what is ready: it is held back no longer, or for a while for the guest that takes it."""
    number = _of(request).id
    balloon = (await read_body(request, ReservationClaim)).balloon if await request.read() else None
    return json_response(reservation_view(await request.app[POLICY].claim(number, balloon)))


async def cancel_reservation(request: web.Request) -> web.Response:
    """Let go of what is not needed; one that is over stays as it is."""
    await request.app[POLICY].cancel(_of(request).id)
    return web.Response(status=204)


def _of(request: web.Request) -> Reservation:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise OperatorError(f"there is no reservation {text!r}", status=404, code="no-such-reservation")
    return request.app[POLICY].desk.book.get(int(text))
