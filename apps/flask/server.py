"""The server: waitress with the limits that it lacks; it keeps bodies in memory and logs no visitor.

By itself, waitress limits the connections, and the silence between two bytes. So a client that sends a byte now and
then stays for as long as it likes, and bodies are limited one by one, not together. The classes here add what ``crowd``
counts: deadlines, connections from each address, bytes of all bodies. (Another server would not help: gunicorn, for
one, asks for a proxy that buffers slow clients, https://gunicorn.org/deploy.)
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
import time
from functools import partial

from flask import Flask, json
from waitress import create_server
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer, MultiSocketServer
from waitress.task import ErrorTask
from waitress.utilities import Error

from apps.crowd import MANY_BYTES, MANY_CONNECTIONS, TOO_SLOW, Deadlines, Door, Load
from apps.flask.problems import TEXTS
from apps.flask.safety import HEADERS
from facerec.errors import BadArgument

#: How many connections are open at once; the next ones wait outside.
CONNECTIONS = 500

#: Requests wait in these threads for one of the few that work on pictures. The setting IN_LINE keeps some of them free
#: for pages.
THREADS = 72

#: A head may have so many bytes.
MAX_HEAD = 32_768

#: A body that is too large is thrown away as it comes, so that the browser is still there to read the answer; one that
#: is so many times too large is refused at once.
FAR_TOO_LARGE = 5

#: The headers that a trusted proxy adds to a request.
FORWARDED = {"x-forwarded-for", "x-forwarded-proto"}


class _TooSlow(Error):
    code, reason = 408, "Request Timeout"


class _TooMuch(Error):
    code, reason = 503, "Service Unavailable"


def _problem(status: int, sentence: str = "") -> tuple[dict[str, str], bytes]:
    """The headers and the body of an answer by the server itself."""
    title, usual = TEXTS.get(status, TEXTS[500 if status >= 500 else 400])
    problem = {"type": "about:blank", "title": title, "status": status, "detail": sentence or usual}
    body = json.dumps(problem | {"reason": "refused"}).encode()
    headers = HEADERS | {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    return headers | {"Content-Length": str(len(body))}, body


class _FriendlyTask(ErrorTask):
    """Errors of the server itself (too large, too slow, not HTTP), in our words and with our headers."""

    def execute(self) -> None:
        """Answer, and close the connection."""
        error = self.request.error
        headers, body = _problem(error.code, error.body if isinstance(error, _TooSlow | _TooMuch) else "")
        self.status = f"{error.code} {error.reason}"
        self.response_headers.extend(headers.items())
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Body:
    """A body in memory, within its limits; once it exceeds one, it is thrown away as it comes.

    Args:
        load: Counts its bytes at the door.
        most: How many bytes it may have.
    """

    def __init__(self, load: Load, most: int) -> None:
        self._load, self._most, self._seen, self._kept = load, most, 0, io.BytesIO()
        self.is_refused = False  # because there was no room for it

    def append(self, data: bytes) -> None:
        """Keep some bytes, or throw all away."""
        self._seen += len(data)
        fits = self._seen <= self._most
        if fits and not self.is_refused and self._load.add(len(data)):
            self._kept.write(data)
        else:
            self.is_refused |= fits
            self.close()

    def __len__(self) -> int:
        return self._seen

    def getfile(self) -> io.BytesIO:
        """What was kept. If too much was sent, that is nothing: the app refuses the request by its length."""
        self._kept.seek(0)
        return self._kept

    def close(self) -> None:
        """Free the memory, and keep nothing from now on."""
        self._most, self._kept = -1, io.BytesIO()
        self._load.drop()


class _Parser(HTTPRequestParser):
    """Reads a request, with its body in a ``_Body``; refuses an invalid address such as ``http://[x/``."""

    body: _Body | None = None

    def __init__(self, load: Load, most: int, adj: Adjustments) -> None:
        super().__init__(adj)
        self._load, self._most = load, most

    def parse_header(self, header_plus: bytes) -> None:
        """Read the head of a request."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("not an address") from error
        is_too_large = self.content_length > self._most
        if is_too_large and self.expect_continue:  # the client asks before it sends: the app refuses at once
            self.expect_continue, self.body_rcv, self.headers["CONNECTION"] = False, None, "close"
        if self.body_rcv is not None:
            self.body = self.body_rcv.buf = _Body(self._load, -1 if is_too_large else self._most)

    def received(self, data: bytes) -> int:
        """Read some bytes of the request; returns how many."""
        count = super().received(data)
        if self.completed and not self.error and self.body is not None and self.body.is_refused:
            self.error = _TooMuch(MANY_BYTES)
        return count


class _Channel(HTTPChannel):
    """A connection, with a deadline for each part of a request.

    Args:
        door: Where the connection has entered.
        deadlines: The seconds for each part.
        rest: What waitress gives to a channel: server, socket, address, settings, map.
    """

    error_task_class = _FriendlyTask
    _part, _until, _has_left = "", 0.0, False

    def __init__(self, door: Door, deadlines: Deadlines, most: int, *rest, **more) -> None:
        self._door, self._deadlines, self._address = door, deadlines, rest[2][0]
        self.parser_class = lambda adj: _Parser(Load(door, self._address), most, adj)
        super().__init__(*rest, **more)

    def readable(self) -> bool:
        """Whether to read; the server asks at least once a second, so the deadlines are kept here."""
        part, now = self._current_part(), time.monotonic()
        if part != self._part:
            self._part, self._until = part, now + getattr(self._deadlines, part)
        elif now > self._until:
            self._end(part)
        return super().readable()

    def _current_part(self) -> str:
        if self.requests or self.total_outbufs_len:
            return "answer"
        return "body" if self.request is not None and self.request.headers_finished else "head"

    def _end(self, part: str) -> None:
        """The time for a part is over: say so, if a request has begun and the client may still listen; or hang up."""
        with self.requests_lock:
            request = None if part == "answer" else self.request
            if request is not None:
                self.request = None
                if part == "head":
                    request.parse_header(b"GET / HTTP/1.0\r\n")  # as waitress does with a head that is too large
                request.error, request.completed = _TooSlow(TOO_SLOW), True
                self.requests.append(request)
                self.server.add_task(self)
                return
        self.will_close = True
        with contextlib.suppress(OSError):  # a client that takes nothing would keep the socket from being closed
            self.socket.shutdown(socket.SHUT_RDWR)

    def handle_close(self) -> None:
        """Close the connection, and free what it held."""
        super().handle_close()
        if self.request is not None:
            self.request.close()
        if not self._has_left:
            self._has_left = True
            self._door.leave(self._address)


def _let_in(door: Door, deadlines: Deadlines, most: int, server, sock: socket.socket, addr, adj, map=None) -> None:
    """Make a channel for a new connection, or turn it away."""
    if door.enter(addr[0]):
        _Channel(door, deadlines, most, server, sock, addr, adj, map=map)
        return
    headers, body = _problem(503, MANY_CONNECTIONS)
    lines = [f"{name}: {value}" for name, value in (headers | {"Connection": "close"}).items()]
    with sock, contextlib.suppress(OSError):
        sock.send("\r\n".join(["HTTP/1.1 503 Service Unavailable", *lines, "", ""]).encode() + body)


def _without_details(record: logging.LogRecord) -> bool:
    """Reduce a log entry to the error's kind and place: the rest may say who asked, and for what."""
    kind = getattr(sys.exc_info()[0], "__name__", "an error")
    record.msg, record.args = "%s in the server, at %s.%s", (kind, record.module, record.funcName)
    record.exc_info = record.exc_text = None
    return True


def make_server(
    app: Flask,
    host: str,
    port: int,
    threads: int = THREADS,
    trusted_proxy: str | None = None,
    door: Door | None = None,
    deadlines: Deadlines = Deadlines(),  # noqa: B008 (it can't be changed)
) -> BaseWSGIServer | MultiSocketServer:
    """A server that writes nothing to the disk and no address to a log.

    Args:
        app: The app of ``create_app``.
        host: The address to listen on.
        port: The port to listen on.
        threads: How many requests are answered or wait at the same time.
        trusted_proxy: The address of a proxy in front of the server, whose headers say who asks and whether over
            https. None ignores such headers, because anyone can send them.
        door: Counts connections and bytes. None makes one with the usual limits, where the trusted proxy stands for
            many visitors.
        deadlines: The seconds for each part of a request.

    Returns:
        The server; ``run()`` runs it until it is interrupted.

    Raises:
        BadArgument: If ``trusted_proxy`` is ``"*"``.
    """
    if trusted_proxy == "*":
        raise BadArgument("trusted_proxy='*' would believe everyone: give the proxy's address")
    for name in ("waitress", "waitress.queue"):
        logging.getLogger(name).setLevel(logging.ERROR)
        logging.getLogger(name).addFilter(_without_details)
    proxy = {"trusted_proxy": trusted_proxy, "trusted_proxy_headers": FORWARDED} if trusted_proxy else {}
    most = app.config["MAX_CONTENT_LENGTH"]
    server = create_server(
        app,
        host=host,
        port=port,
        threads=threads,
        max_request_header_size=MAX_HEAD,
        max_request_body_size=FAR_TOO_LARGE * most,
        outbuf_overflow=10**9,  # out of reach: beyond it, answers go to temporary files
        connection_limit=CONNECTIONS,
        asyncore_use_poll=True,  # select() knows no file numbers above 1,024
        backlog=1024,
        clear_untrusted_proxy_headers=True,
        ident=None,
        **proxy,
    )
    door = door or Door(trusted=filter(None, [trusted_proxy]))
    for each in server.map.values() if isinstance(server, MultiSocketServer) else [server]:
        each.channel_class = partial(_let_in, door, deadlines, most)
    return server
