"""The server: uvicorn with the limits that it lacks.

By itself, uvicorn limits connections, and the pause between two requests. A client that sends half a head,
or a byte of a body now and then, stays for as long as it likes. ``CarefulProtocol`` adds the deadlines and the
connections from each address that ``crowd`` counts; ``guard`` counts the bytes of the bodies.
"""

from __future__ import annotations

import json
from asyncio import TimerHandle, Transport
from functools import partial

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from apps.api.problems import TITLES
from apps.crowd import MANY_CONNECTIONS, TOO_SLOW, Deadlines, Door

#: How many connections are open at once; the next ones are refused (503).
CONNECTIONS = 500


class CarefulProtocol(H11Protocol):
    """A connection, with a deadline for each part of a request.

    Args:
        door: Where the connection enters.
        deadlines: The seconds for each part.
        rest: What uvicorn gives to a protocol.
    """

    _part, _has_entered = "", False
    _timer: TimerHandle | None = None

    def __init__(self, door: Door, deadlines: Deadlines, **rest) -> None:
        super().__init__(**rest)
        self._door, self._deadlines = door, deadlines

    def connection_made(self, transport: Transport) -> None:
        """Let a new connection in, or turn it away."""
        super().connection_made(transport)
        self._address = (transport.get_extra_info("peername") or ("a socket",))[0]
        self._has_entered = self._door.enter(self._address)
        if self._has_entered:
            self._watch()
        else:
            self._refuse(503, MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
        if self._has_entered:
            self._door.leave(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes have come."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """An answer is on its way."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Start the clock anew if another part has begun."""
        part = self._current_part()
        if part == self._part or self.transport.is_closing():
            return
        if self._timer is not None:
            self._timer.cancel()
        self._part = part
        self._timer = self.loop.call_later(getattr(self._deadlines, part), self._end)

    def _current_part(self) -> str:
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        return "head" if self.cycle is None or self.cycle.response_complete else "answer"

    def _end(self) -> None:
        """The time for a part is over: say so, if a request has begun and the client may still listen; or hang up."""
        if self._part == "head":
            has_begun = bool(self.conn.trailing_data[0])
        else:
            has_begun = self._part == "body" and not self.cycle.response_started
        if has_begun:
            self._refuse(408, TOO_SLOW)
        else:
            self.transport.abort()  # close() would wait for a client that takes nothing

    def _refuse(self, status: int, sentence: str) -> None:
        problem = {"type": "about:blank", "title": TITLES[status], "status": status, "detail": sentence}
        body = json.dumps(problem | {"reason": "refused", "request": ""}).encode()
        head = f"HTTP/1.1 {status} {TITLES[status]}\r\nContent-Type: application/problem+json\r\n"
        self.transport.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        self.transport.close()


def make_server(
    app,
    host: str,
    port: int,
    trusted_proxy: str | None = None,
    door: Door | None = None,
    deadlines: Deadlines = Deadlines(),  # noqa: B008 (it can't be changed)
) -> uvicorn.Server:
    """A server of the API.

    Args:
        app: The ASGI app.
        host: The address to listen on.
        port: The port to listen on.
        trusted_proxy: The address of a proxy in front of the server, whose headers say who asks and whether over
            https. None ignores such headers, because anyone can send them.
        door: Counts connections. None makes one with the usual limits, where the trusted proxy stands for many
            visitors.
        deadlines: The seconds for each part of a request.

    Returns:
        The server; ``run()`` runs it until it is interrupted.
    """
    door = door or Door(trusted=filter(None, [trusted_proxy]))
    config = uvicorn.Config(
        app,
        host,
        port,
        http=partial(CarefulProtocol, door, deadlines),
        ws="none",  # the API has none, and they would leave this protocol
        log_level="warning",
        server_header=False,
        limit_concurrency=CONNECTIONS,
        proxy_headers=trusted_proxy is not None,
        forwarded_allow_ips=trusted_proxy,
    )
    return uvicorn.Server(config)
