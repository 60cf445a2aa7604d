"""``python -m apps.flask``: run the app on waitress."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading

from apps.flask.app import create_app
from apps.flask.server import THREADS, make_server
from facerec.errors import BadArgument, run


def main() -> None:
    """Serve until interrupted, and load the networks meanwhile."""
    parser = argparse.ArgumentParser(
        prog="python -m apps.flask", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (0.0.0.0: all networks)")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen on")
    parser.add_argument(
        "--threads", type=int, default=THREADS, help="how many requests are answered or wait at the same time"
    )
    parser.add_argument(
        "--trusted-proxy", metavar="ADDRESS", help="the proxy whose X-Forwarded-For and -Proto headers are trusted"
    )
    options = parser.parse_args()
    if options.threads < 1:
        raise BadArgument(f"--threads {options.threads}: must be at least 1")
    app = create_app()
    try:
        server = make_server(app, options.host, options.port, options.threads, options.trusted_proxy)
    except OSError as error:
        raise BadArgument(f"can't listen on {options.host}:{options.port}: {error.strerror or error}") from error
    _serve(app, server, f"http://{options.host}:{options.port}")


def _serve(app, server, address: str) -> None:
    """Run the server; a network that can't be loaded ends it."""
    wrong: list[Exception] = []

    def load() -> None:
        try:
            app.networks.load()
        except Exception as error:  # any error: without networks there is nothing to serve
            wrong.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # like Ctrl-C: the server closes its sockets
    with contextlib.suppress(SystemExit):  # the signal may come before the server runs
        threading.Thread(target=load, daemon=True).start()
        print(f"compare two pictures at {address} (Ctrl-C stops)", flush=True)
        server.run()
    if wrong:
        raise wrong[0]


if __name__ == "__main__":
    run(main)
