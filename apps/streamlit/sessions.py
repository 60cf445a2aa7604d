"""Who is logged in, in which browser, and until when; and the cookie that keeps a login through a reload.

    a page logs in ──begin──► a key, which stays here ──ticket──► the browser ──ROUTE──► the key, in a cookie

Only a response to a request can set a cookie that scripts can't read, and a page has none: it is drawn through a
WebSocket. So the page gives the browser a ticket, which is good for one minute and one request, and the browser fetches
the cookie with it. The key is random and means something to this process alone: there is nothing in it to forge or to
decode, and a login that has ended here has ended in every tab and for every copy of the cookie.
"""

from __future__ import annotations

import functools
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

COOKIE = "faces_login"
HEADER = "X-Login-Ticket"
IDLE = 30 * 60  # seconds without a click after which a login ends
LONGEST = 12 * 3600  # seconds after which every login ends
TICKET = 60  # seconds in which the browser must fetch the cookie


@dataclass
class Login:
    """A login.

    Attributes:
        name: The account.
        digest: The hash of its password at the time: another password ends the login.
        begun: When it began, in seconds of the clock.
        used: When it was last used.
    """

    name: str
    digest: str | None
    begun: float
    used: float


class Logins:
    """The logins of this process; safe to share between threads.

    Args:
        clock: Gives the time in seconds.

    Example:
        >>> logins = Logins()
        >>> key = logins.begin("lena", "$argon2id$…")
        >>> logins.of(logins.exchange(logins.ticket(key))).name
        'lena'
        >>> logins.end(key)
        >>> logins.of(key) is None
        True
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self._lock = clock, threading.Lock()
        self._logins: dict[str, Login] = {}
        self._tickets: dict[str, tuple[str, float]] = {}

    def begin(self, name: str, digest: str | None) -> str:
        """Begin a login.

        Returns:
            Its key.
        """
        key, now = secrets.token_urlsafe(32), self.clock()
        with self._lock:
            self._sweep(now)
            self._logins[key] = Login(name, digest, now, now)
        return key

    def of(self, key: str | None) -> Login | None:
        """The login of a key, unless it has ended; asking does not extend it."""
        with self._lock:
            login = self._logins.get(key)
            return login if login and self._lasts(login, self.clock()) else None

    def extend(self, key: str) -> None:
        """Let a login that has not ended last another half hour, within twelve hours of its beginning."""
        if login := self.of(key):
            login.used = self.clock()

    def end(self, key: str | None) -> None:
        """End a login, in every tab."""
        with self._lock:
            self._logins.pop(key, None)

    def ticket(self, key: str) -> str:
        """A ticket for the cookie of a login; it is good for one minute, once."""
        ticket = secrets.token_urlsafe(32)
        with self._lock:
            self._tickets[ticket] = (key, self.clock() + TICKET)
        return ticket

    def exchange(self, ticket: str) -> str | None:
        """The key that a ticket stands for; None if the ticket was used, is too old, or never existed."""
        with self._lock:
            key, until = self._tickets.pop(ticket, (None, 0.0))
        return key if key and self.clock() < until and self.of(key) else None

    def _lasts(self, login: Login, now: float) -> bool:
        return now < login.used + IDLE and now < login.begun + LONGEST

    def _sweep(self, now: float) -> None:
        """Drop what has ended, so that nothing piles up."""
        self._logins = {key: login for key, login in self._logins.items() if self._lasts(login, now)}
        self._tickets = {ticket: entry for ticket, entry in self._tickets.items() if now < entry[1]}


@functools.cache
def logins() -> Logins:
    """The logins of this process, for the pages and for the route."""
    return Logins()


def keep(request: Request) -> Response:
    """Set the cookie that a ticket is for; without a ticket, take the cookie back.

    The ticket comes in a header of its own: a page of another site can't send one without asking first, and is refused.
    """
    if HEADER not in request.headers:
        return Response(status_code=400)
    answer, secure = Response(status_code=204), _is_https(request)
    if not (ticket := request.headers[HEADER]):
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=secure)
    elif key := logins().exchange(ticket):
        answer.set_cookie(COOKIE, key, max_age=LONGEST, httponly=True, samesite="strict", secure=secure)
    else:
        return Response(status_code=410)
    return answer


def _is_https(request: Request) -> bool:
    """Whether the browser speaks https, to us or to the proxy before us."""
    return "https" in (request.url.scheme, request.headers.get("X-Forwarded-Proto"))


ROUTE = Route("/keep-login", keep, methods=["POST"])
