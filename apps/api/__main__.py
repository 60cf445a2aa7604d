"""Serve the API: ``python -m apps.api``, or ``make api``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from apps.api.app import create_app
from apps.api.server import make_server
from apps.crowd import Door
from apps.places import database_path, keys_path, network_path
from facerec.errors import run


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (0.0.0.0: all networks)")
    parser.add_argument("--port", type=int, default=8600)
    parser.add_argument("--rate", default="600 per minute", help="how many requests each key may make")
    parser.add_argument("--database", default=database_path())
    parser.add_argument("--network", default=network_path())
    parser.add_argument(
        "--trusted-proxy", metavar="ADDRESS", help="the proxy whose X-Forwarded-For and -Proto headers are trusted"
    )
    options = parser.parse_args(argv)
    door = Door(trusted=filter(None, [options.trusted_proxy]))
    app = create_app(options.database, options.network, keys_path(), options.rate, door)
    if not app.state.keys.all():
        print("there is no key yet: python -m apps.api.keys new NAME --write", file=sys.stderr)
    print(f"the people at http://{options.host}:{options.port}, to try at /docs (Ctrl-C stops)", flush=True)
    make_server(app, options.host, options.port, options.trusted_proxy, door).run()


if __name__ == "__main__":
    run(main)
