"""Reservations as the API has them: asked for, waited for, claimed, cancelled."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from ..policy.reservations import Book, Reservation, ask, cancel, claim, step
from ..policy.view import View


class Desk:
    """Has the book.

    Args:
        book: What an earlier process left.
        tell: Is told of each reservation that has come to something.
    """

    def __init__(self, book: Book, tell: Callable[[Reservation], None]) -> None:
        self.book = book
        self.ended: Final[Counter[str]] = Counter()
        """How many have ended in this process, by the state in which they did."""
        self._tell: Final = tell
        self._changed = asyncio.Event()

    @property
    def open(self) -> bool:
        """Whether something can still become of one."""
        return any(reservation.open for reservation in self.book.reservations)

    def ask(self, view: View, wanted_bytes: int, *, within_s: float, keep_s: float, purpose: str) -> Reservation:
        """Ask for memory.

        Raises:
            OperatorError: It cannot be had; nothing has changed.
        """
        book, made = ask(self.book, view, wanted_bytes, within_s=within_s, keep_s=keep_s, purpose=purpose)
        self._take(book)
        self.step(view)
        return self.book.get(made.id)

    def step(self, view: View) -> bool:
        """Look at all of them; say whether one has come to something."""
        book, changed = step(self.book, view)
        self._take(book)
        for reservation in changed:
            self._say(reservation)
        return bool(changed)

    def claim(self, number: int, now_s: float, guest: str | None) -> Reservation:
        """Let go of a ready one for who asked for it.

        Raises:
            OperatorError: There is none, or it is not ready.
        """
        self._take(claim(self.book, number, now_s, guest))
        return self._said(number)

    def cancel(self, number: int, now_s: float) -> None:
        """Let go of one that is not needed.

        Raises:
            OperatorError: There is none.
        """
        before = self.book.get(number)
        self._take(cancel(self.book, number, now_s))
        if before.open:
            self._said(number)

    async def wait(self, number: int, wait_s: float) -> Reservation:
        """Return a reservation once it is ready, or over, or the time is.

        Raises:
            OperatorError: There is none.
        """
        try:
            async with asyncio.timeout(wait_s):
                while self.book.get(number).state in {"asked", "gathering"}:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.book.get(number)

    def _said(self, number: int) -> Reservation:
        reservation = self.book.get(number)
        self._say(reservation)
        return reservation

    def _say(self, reservation: Reservation) -> None:
        if not reservation.open:
            self.ended[reservation.state] += 1
        structlog.get_logger().info(
            f"reservation {reservation.state}",
            reservation=reservation.id,
            wanted_bytes=reservation.wanted_bytes,
            reason=reservation.reason,
        )
        self._tell(reservation)

    def _take(self, book: Book) -> None:
        self.book = book
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
