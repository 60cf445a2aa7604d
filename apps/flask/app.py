"""Put the app together: its settings, its pages and its API."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from flask import Flask

from apps.crowd import Turns
from apps.flask import api, faces, pages, problems, safety
from apps.places import hosts
from facerec.errors import BadArgument

#: The settings and their defaults.
SETTINGS: dict[str, Any] = {
    "COMPARE_LIMIT": "60 per minute",  # for each network address; "" for no limit
    "DETECT_LIMIT": "240 per minute",
    "IDLE_MINUTES": 30,  # an unused session ends after so long
    "AT_ONCE": 2,  # how many requests are worked on at the same time; the others wait
    "PATIENCE": 60.0,  # seconds that a request waits before it is told to come back later
    "IN_LINE": 64,  # how many may wait; fewer than the server's threads, so that pages still load
    "MAX_CONTENT_LENGTH": 2 * faces.MAX_BYTES + 10_000,  # two pictures and the form around them
    "MAX_FORM_PARTS": 4,
    "MAX_FORM_MEMORY_SIZE": 200_000,  # the fields, and the parser's buffer (64 kB)
    "PROPAGATE_EXCEPTIONS": False,  # also with FLASK_DEBUG: otherwise the server would log the request
    "SESSION_COOKIE_NAME": "comparison",
    "SESSION_COOKIE_SAMESITE": "Strict",
    "WTF_CSRF_TIME_LIMIT": None,  # as long as the session
    "WTF_CSRF_SSL_STRICT": False,  # it needs the referrer, which our pages never send
    "RATELIMIT_HEADERS_ENABLED": True,
    "RATELIMIT_STORAGE_URI": "memory://",
    "RATELIMIT_HEADER_RETRY_AFTER_VALUE": "delta-seconds",
}


def create_app(settings: Mapping[str, Any] | None = None) -> Flask:
    """Make the app; ``app.networks.load()`` loads its networks, unless the setting ``COMPARER`` brings them.

    Args:
        settings: Changes to ``SETTINGS``, and Flask's own settings. ``SECRET_KEY`` is random, so that sessions end
            with the process, unless it is given here or in the environment as ``COMPARE_SECRET``. (With a fixed
            secret, a copied cookie can revive a session that was ended early, after a restart.) ``COMPARE_LIMIT``,
            ``DETECT_LIMIT`` and the names that the server answers to (``places.hosts``) may come from the
            environment, too.

    Returns:
        The app, for a WSGI server that keeps request bodies in memory, as ``server`` does.

    Raises:
        BadArgument: If a setting makes no sense.

    Example:
        >>> app = create_app({"COMPARE_LIMIT": "5 per minute"})
        >>> app.test_client().get("/healthz").status_code      # the networks are not loaded yet
        503
    """
    app = safety.PrivateFlask(__name__)
    app.config.update(SETTINGS)
    app.config.update({name: os.environ.get(name, SETTINGS[name]) for name in safety.LIMITED})
    app.config["SECRET_KEY"] = os.environ.get("COMPARE_SECRET") or secrets.token_hex(32)
    app.config["TRUSTED_HOSTS"] = hosts()
    app.config.update(settings or {})
    app.url_map.merge_slashes = False  # or else "//" is answered with a redirect to any Host that the client names
    _check(app.config)
    turns = Turns(*(app.config[name] for name in ("AT_ONCE", "PATIENCE", "IN_LINE")))
    app.networks = faces.Networks(app.config.get("COMPARER"), turns)
    problems.register(app)
    limiter = safety.register(app)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(api.blueprint)
    safety.limit(app, limiter)
    return app


def _check(config: Mapping[str, Any]) -> None:
    if not config["SECRET_KEY"] or len(config["SECRET_KEY"]) < 16:
        raise BadArgument("SECRET_KEY (COMPARE_SECRET in the environment) must have at least 16 characters")
    for name in ("IDLE_MINUTES", "AT_ONCE", "PATIENCE", "IN_LINE"):
        if isinstance(config[name], bool) or not isinstance(config[name], int | float) or not config[name] > 0:
            raise BadArgument(f"{name}={config[name]!r}: must be a number above 0")
    for name in safety.LIMITED:
        safety.check_limit(name, config[name])
