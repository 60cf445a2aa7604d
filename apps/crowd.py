"""How much of the machine a crowd may take: pictures at once, connections, bytes on their way, and time.

    Turns      a few pictures at once; the others wait in line, but not for ever
    Door       connections and the bytes of bodies, in all and from each address
    Deadlines  the seconds that a client has for each part of a request

The Flask app and the API use them with their own servers: ``flask.server`` (waitress) and ``api.server`` (uvicorn).
Neither server has such limits of its own.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from facerec.errors import FaceError

#: The sentences for clients that are turned away.
MANY_PICTURES = "Many pictures are being processed. Please try again in a few seconds."
MANY_BYTES = "Many pictures are being sent. Please try again in a few seconds."
MANY_CONNECTIONS = "Too many connections are open from this address. Please close some of them."
TOO_SLOW = "The request did not arrive in time. Please try again."


class Busy(FaceError):
    """Too many others are being served: another try in a few seconds may work."""


class Turns:
    """The few threads that work on pictures, and the line in front of them.

    Only these threads hold decoded pictures. That bounds the memory, however many requests wait.

    Args:
        at_once: How many pieces of work are done at the same time.
        patience: Seconds that each waits for its turn and its result.
        in_line: How many may be worked on or wait. Further ones are turned away at once, so that a crowd can't take
            all of a server's threads.

    Example:
        >>> Turns().run(max, 3, 5)
        5
    """

    def __init__(self, at_once: int = 2, patience: float = 60.0, in_line: int = 64) -> None:
        self.patience = patience
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="pictures")
        self._places = threading.BoundedSemaphore(in_line)

    def run(self, work: Callable, *args):
        """Do ``work(*args)`` as soon as a thread is free; return or raise what it does.

        Raises:
            Busy: If it takes too long, or too many are waiting already.
        """
        if not self._places.acquire(blocking=False):
            raise Busy(MANY_PICTURES)
        future = self._pool.submit(work, *args)
        try:
            return future.result(self.patience)
        except TimeoutError:
            if future.done():  # it is the work's own error, or the work ended just now
                return future.result()
            future.cancel()
            raise Busy(MANY_PICTURES) from None
        finally:
            self._places.release()
            del future  # it may hold an error, whose frames hold the pictures: they would stay in memory for a while


@dataclass(frozen=True)
class Deadlines:
    """The seconds that a client has, however often it sends a byte.

    Attributes:
        head: For the head of a request, and between two requests.
        body: For the body: two pictures of 10 MB need 1.4 megabits a second.
        answer: From the end of the request until the answer is taken away; the work is part of it.
    """

    head: float = 20.0
    body: float = 120.0
    answer: float = 240.0


class Door:
    """Counts the open connections and the bytes of the bodies that are in memory, and says when it is enough.

    Safe to share between threads. An IPv6 network (/64) counts as one address.

    Args:
        connections: How many may be open from one address.
        held: Bytes of bodies in all.
        held_each: Bytes of bodies from one address.
        trusted: Addresses that stand for many visitors, as a proxy's does: only the limit for all holds for them.

    Example:
        >>> door = Door(connections=1)
        >>> door.enter("192.0.2.1"), door.enter("192.0.2.1"), door.enter("192.0.2.2")
        (True, False, True)
    """

    def __init__(
        self,
        connections: int = 100,
        held: int = 200_000_000,
        held_each: int = 100_000_000,
        trusted: Collection[str] = (),
    ) -> None:
        self.connections, self.held, self.held_each, self.trusted = connections, held, held_each, frozenset(trusted)
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a connection; False if there are too many from its address: it is to be closed then."""
        network = network_of(address)
        with self._lock:
            if address not in self.trusted and self._open[network] >= self.connections:
                return False
            self._open[network] += 1
            return True

    def leave(self, address: str) -> None:
        """A connection that had entered was closed."""
        with self._lock:
            _less(self._open, network_of(address), 1)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self._open.total()

    @property
    def bytes(self) -> int:
        """How many bytes of bodies are in memory."""
        return self._bytes.total()

    def _take(self, address: str, count: int) -> bool:
        network = network_of(address)
        with self._lock:
            most = self.held if address in self.trusted else self.held_each
            if self._bytes.total() + count > self.held or self._bytes[network] + count > most:
                return False
            self._bytes[network] += count
            return True

    def _give_back(self, address: str, count: int) -> None:
        with self._lock:
            _less(self._bytes, network_of(address), count)


class Load:
    """The bytes of one request's body, counted at a door.

    Args:
        door: The door.
        address: Who sends it.
    """

    def __init__(self, door: Door, address: str) -> None:
        self._door, self._address, self._held = door, address, 0

    def add(self, count: int) -> bool:
        """Count some more bytes; False if there is no room for them."""
        if not self._door._take(self._address, count):
            return False
        self._held += count
        return True

    def drop(self) -> None:
        """The bytes are no longer in memory."""
        self._door._give_back(self._address, self._held)
        self._held = 0


def _less(counts: Counter[str], key: str, count: int) -> None:
    """Take from a count, and forget a key whose count is zero."""
    counts[key] -= count
    if counts[key] <= 0:
        del counts[key]


def network_of(address: str) -> str:
    """The network that counts as one visitor: an IPv4 address, or an IPv6 network (/64); any other text as it is.

    Example:
        >>> network_of("192.0.2.1"), network_of("2001:db8::7"), network_of("a socket")
        ('192.0.2.1/32', '2001:db8::/64', 'a socket')
    """
    try:
        return str(ipaddress.ip_network((address, 64 if ":" in address else 32), strict=False))
    except ValueError:
        return address
