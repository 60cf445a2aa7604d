"""Logins: they last through a reload, in every tab, and until they are ended. (Nothing here loads TensorFlow.)"""

from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.testclient import TestClient

from apps.streamlit import first, gate, sessions, settings
from apps.streamlit.sessions import COOKIE, HEADER, IDLE, LONGEST, TICKET, Logins

HASH = PasswordHasher(time_cost=1, memory_cost=1024).hash("a long password for tests")  # quickly made


@pytest.fixture
def logins(clock, monkeypatch) -> Logins:
    kept = Logins(clock)
    monkeypatch.setattr(sessions, "logins", lambda: kept)
    return kept


@pytest.fixture
def browser(logins) -> TestClient:
    return TestClient(Starlette(routes=[sessions.ROUTE]))


def fetch(browser: TestClient, ticket: str):
    return browser.post("/keep-login", headers={HEADER: ticket})


def test_login_lasts_half_an_hour_after_the_last_use_and_twelve_hours_at_most(logins, clock):
    key = logins.begin("lena", "a hash")
    assert (logins.of(key).name, logins.of(key).digest) == ("lena", "a hash")
    clock.now = IDLE - 1
    assert logins.of(key)
    logins.extend(key)
    clock.now += IDLE - 1
    assert logins.of(key)  # asking alone does not extend it
    clock.now += 2
    assert logins.of(key) is None
    logins.extend(key)  # nor does it come back
    assert logins.of(key) is None
    key, began = logins.begin("lena", "a hash"), clock.now
    while clock.now < began + LONGEST - IDLE:
        clock.now += IDLE - 1
        logins.extend(key)
    assert logins.of(key)
    clock.now = began + LONGEST
    assert logins.of(key) is None


def test_ended_logins_do_not_pile_up(logins, clock):
    for _ in range(5):
        logins.ticket(logins.begin("lena", None))
        clock.now += IDLE
    assert len(logins._logins) == len(logins._tickets) == 1


def test_ticket_brings_a_cookie_that_scripts_cannot_read_once(logins, browser):
    key = logins.begin("lena", "a hash")
    ticket = logins.ticket(key)
    answer = fetch(browser, ticket)
    said = answer.headers["set-cookie"]
    assert answer.status_code == 204 and said.startswith(f"{COOKIE}={key};") and key != ticket
    for part in ("HttpOnly", "SameSite=strict", f"Max-Age={LONGEST}"):
        assert part in said
    assert "Secure" not in said  # on this computer, without https
    again = fetch(browser, ticket)
    assert again.status_code == 410 and "set-cookie" not in again.headers


def test_late_invented_and_ended_tickets_bring_no_cookie(logins, browser, clock):
    late, ended = (logins.ticket(logins.begin(name, None)) for name in ("lena", "otto"))
    logins.end(next(key for key, login in logins._logins.items() if login.name == "otto"))
    assert fetch(browser, ended).status_code == 410
    clock.now += TICKET
    for ticket in (late, "invented", "é".encode().decode("latin-1")):
        answer = fetch(browser, ticket.encode("latin-1"))
        assert answer.status_code == 410 and "set-cookie" not in answer.headers


def test_another_sites_page_cannot_set_the_cookie(logins, browser):
    ticket = logins.ticket(logins.begin("lena", None))
    assert browser.post("/keep-login", data={HEADER: ticket}).status_code == 400  # what a form can send
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Headers": HEADER}
    answer = browser.options("/keep-login", headers=asked | {"Access-Control-Request-Method": "POST"})
    assert answer.status_code == 405 and "access-control-allow-origin" not in answer.headers


def test_cookie_is_for_https_alone_where_the_browser_speaks_it(logins, browser):
    ticket = logins.ticket(logins.begin("lena", None))
    answer = browser.post("/keep-login", headers={HEADER: ticket, "X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["set-cookie"]


def test_logout_takes_the_cookie_back(browser):
    answer = fetch(browser, "")
    assert answer.status_code == 204 and f'{COOKIE}="";' in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]


# ------------------------------------------------------------------------------------------------ the first start
@pytest.fixture
def known(monkeypatch) -> dict:
    """The accounts that the secrets file has."""
    found: dict = {}
    monkeypatch.setattr(settings, "secret", lambda name: found if name == "accounts" else None)
    monkeypatch.setattr(first, "warm_up", lambda: None)
    monkeypatch.setattr(first.webbrowser, "open", lambda address: None)
    first.key.cache_clear()
    return found


async def start() -> None:
    async with first.starting(None):
        pass


def test_first_start_prints_a_link_and_later_ones_none(known, capsys):
    asyncio.run(start())
    printed = capsys.readouterr().out
    assert f"http://localhost:8501/?first={first.key()}" in printed and len(first.key()) >= 32
    known["keeper"] = HASH
    asyncio.run(start())
    assert capsys.readouterr().out == ""


def test_only_the_links_key_invites_and_only_while_there_is_no_account(known):
    key = first.key()
    assert first.is_invited(key)
    for other in (None, "", key[:-1], f"{key}x", "ключ"):
        assert not first.is_invited(other)
    known["keeper"] = HASH
    assert not first.is_invited(key)


def test_server_has_the_route_the_start_and_the_gate():
    from apps.streamlit.app import app

    assert sessions.ROUTE in app._user_routes and app._user_lifespan is first.starting
    assert [layer.cls for layer in app._user_middleware] == [layer.cls for layer in gate.layers()]
    assert app.script_path.name == "main.py"
