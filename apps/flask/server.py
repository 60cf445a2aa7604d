"""The server: waitress, set up to keep requests and answers in memory and to log no visitor."""

from __future__ import annotations

import logging
import sys

from flask import Flask, json
from waitress import create_server
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer, MultiSocketServer
from waitress.task import ErrorTask

from apps.flask.problems import TEXTS
from apps.flask.safety import HEADERS
from facerec.errors import BadArgument

#: Larger requests are refused before they are read. The app itself takes less, and answers a little more with a page.
MAX_BODY = 32_000_000

#: How many connections are open at once. Their bodies are all in memory: 3.2 GB at worst.
CONNECTIONS = 100

#: Requests wait in these threads for one of the few that work on pictures. The setting IN_LINE keeps some of them free
#: for pages.
THREADS = 72

#: The headers that a trusted proxy adds to a request.
FORWARDED = {"x-forwarded-for", "x-forwarded-proto"}


class _FriendlyTask(ErrorTask):
    """Errors of waitress itself (too large, not HTTP), in our words and with our headers."""

    def execute(self) -> None:
        """Answer, and close the connection."""
        status = self.request.error.code
        title, sentence = TEXTS.get(status, TEXTS[500 if status >= 500 else 400])
        problem = {"type": "about:blank", "title": title, "status": status, "detail": sentence, "reason": "refused"}
        body = json.dumps(problem).encode()
        self.status = f"{status} {self.request.error.reason}"
        headers = HEADERS | {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
        self.response_headers.extend([*headers.items(), ("Content-Length", str(len(body)))])
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Parser(HTTPRequestParser):
    """Refuses an invalid address, such as ``http://[x/``, like any other request that is not HTTP."""

    def parse_header(self, header_plus: bytes) -> None:
        """Read the head of a request."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("not an address") from error


class _Channel(HTTPChannel):
    error_task_class = _FriendlyTask
    parser_class = _Parser


def _without_details(record: logging.LogRecord) -> bool:
    """Reduce a log entry to the error's kind and place: the rest may say who asked, and for what."""
    kind = getattr(sys.exc_info()[0], "__name__", "an error")
    record.msg, record.args = "%s in the server, at %s.%s", (kind, record.module, record.funcName)
    record.exc_info = record.exc_text = None
    return True


def make_server(
    app: Flask, host: str, port: int, threads: int = THREADS, trusted_proxy: str | None = None
) -> BaseWSGIServer | MultiSocketServer:
    """A server that writes nothing to the disk and no address to a log.

    Args:
        app: The app of ``create_app``.
        host: The address to listen at.
        port: The port to listen at.
        threads: How many requests are answered or wait at the same time.
        trusted_proxy: The address of a proxy in front of the server, whose headers say who asks and whether over
            https. None ignores such headers, because anyone can send them.

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
    server = create_server(
        app,
        host=host,
        port=port,
        threads=threads,
        max_request_body_size=MAX_BODY,
        inbuf_overflow=2 * MAX_BODY,  # out of reach: beyond it, bodies go to temporary files
        outbuf_overflow=2 * MAX_BODY,
        connection_limit=CONNECTIONS,
        backlog=1024,
        channel_timeout=60,
        clear_untrusted_proxy_headers=True,
        ident=None,
        **proxy,
    )
    for each in server.map.values() if isinstance(server, MultiSocketServer) else [server]:
        each.channel_class = _Channel
    return server
