"""Accounts: only the right password is accepted, and not after too many wrong ones."""

from __future__ import annotations

import threading
import tomllib
from pathlib import Path

import pytest
from argon2 import PasswordHasher, extract_parameters

from apps.streamlit import accounts
from apps.streamlit.accounts import (
    FAILURES,
    FAILURES_OF_ALL,
    FIRST_WAIT,
    LONGEST_WAIT,
    Accounts,
    LockedOut,
    LoginFailed,
    hashed,
)
from facerec.errors import BadArgument

REAL = accounts._HASHER
CHEAP = PasswordHasher(time_cost=1, memory_cost=1024)  # the real thing takes a twentieth of a second each time
HASH = CHEAP.hash("correct horse battery")


@pytest.fixture(autouse=True)
def cheap(monkeypatch) -> None:
    """Hashes that are quickly computed."""
    accounts._no_ones_hash.cache_clear()
    monkeypatch.setattr(accounts, "_HASHER", CHEAP)


@pytest.fixture
def door(clock) -> Accounts:
    return Accounts({"lena": HASH, "otto": HASH}, clock)


@pytest.fixture
def quick(monkeypatch) -> None:
    """No password is right, without hashing: for tests that only count."""
    monkeypatch.setattr(accounts, "_is_right", lambda digest, password: False)


def fail(door: Accounts, name: str, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(LoginFailed, match="The name or the password is wrong"):
            door.check(name, "wrong horse battery")


def test_check_accepts_only_the_right_password(door):
    door.check("lena", "correct horse battery")
    for password in ("correct horse battery ", "Correct horse battery", "", "x" * 5000, None, HASH):
        with pytest.raises(LoginFailed) as caught:
            Accounts({"lena": HASH}).check("lena", password)
        assert type(caught.value) is LoginFailed


def test_there_is_no_account_by_default():
    empty = Accounts({})
    assert len(empty) == 0
    for name in ("", "admin", "root"):
        with pytest.raises(LoginFailed):
            empty.check(name, "a password that no one has")


def test_fifth_wrong_password_locks_the_account(door, clock):
    fail(door, "lena", FAILURES)
    with pytest.raises(LockedOut, match="Try again in 30 seconds"):
        door.check("lena", "correct horse battery")
    door.check("otto", "correct horse battery")  # only lena's account is locked
    clock.now += FIRST_WAIT + 0.1
    door.check("lena", "correct horse battery")
    fail(door, "lena", FAILURES - 1)  # the count starts again
    door.check("lena", "correct horse battery")


@pytest.mark.usefixtures("quick")
def test_each_further_failure_doubles_the_wait_up_to_an_hour(door, clock):
    fail(door, "lena", FAILURES)
    waits = []
    for _ in range(12):
        waits.append(door._by_name["lena"].wait())
        clock.now += waits[-1]
        fail(door, "lena")
    assert waits[:4] == [30, 60, 120, 240] and waits[-1] == LONGEST_WAIT


def test_after_many_failures_a_single_one_locks_an_account(door, clock):
    for number in range(FAILURES_OF_ALL):
        fail(door, f"name {number}")
    for name in ("lena", "unknown"):
        fail(door, name)
        with pytest.raises(LockedOut, match="Try again in 30 seconds"):
            door.check(name, "correct horse battery")
    door.check("otto", "correct horse battery")
    fail(door, "otto")
    door.check("otto", "correct horse battery")  # a success allows five again
    clock.now += FIRST_WAIT + 0.1
    door.check("lena", "correct horse battery")


@pytest.mark.usefixtures("quick")
def test_only_the_last_unknown_names_are_remembered(door, clock):
    fail(door, "x" * 1_000_000)
    assert max(map(len, door._by_name)) <= accounts.LONGEST
    for number in range(3000):
        clock.now += LONGEST_WAIT
        fail(door, f"other {number}")
    assert len(door._by_name) <= accounts.REMEMBERED + 2


def test_unknown_names_are_treated_like_known_ones(door, monkeypatch):
    looked_at, is_right = [], accounts._is_right

    def look(digest: str, password: str) -> bool:
        looked_at.append(extract_parameters(digest))
        return is_right(digest, password)

    monkeypatch.setattr(accounts, "_is_right", look)
    fail(door, "lena", FAILURES)
    fail(door, "unknown", FAILURES)
    assert len(looked_at) == 2 * FAILURES and len(set(map(str, looked_at))) == 1
    for name in ("lena", "unknown"):
        with pytest.raises(LockedOut, match=r"^Too many failed attempts\. Try again in 30 seconds\.$"):
            door.check(name, "wrong horse battery")
    with pytest.raises(LoginFailed):  # the password of the dummy hash opens nothing
        Accounts({}).check("unknown", "a password that no one has")


@pytest.mark.usefixtures("quick")
def test_threads_get_no_extra_attempts(door):
    said = []

    def attempt() -> None:
        try:
            door.check("lena", "wrong horse battery")
        except LoginFailed as error:
            said.append(type(error))

    threads = [threading.Thread(target=attempt) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count(LoginFailed) == FAILURES and said.count(LockedOut) == 40 - FAILURES


@pytest.mark.parametrize("digest", ["secret", "", None, 7, "$2b$12$abc"])
def test_accounts_reject_what_is_not_a_hash(digest):
    with pytest.raises(BadArgument, match="'lena' has no hash of a password"):
        Accounts({"lena": digest})


def test_hashes_are_salted_and_short_passwords_refused():
    first, second = hashed("correct horse battery"), hashed("correct horse battery")
    assert first != second and first.startswith("$argon2id$")
    for password in ("short", "x" * 1001, None):
        with pytest.raises(BadArgument, match="at least 10 characters"):
            hashed(password)


@pytest.fixture
def secrets(tmp_path) -> Path:
    return tmp_path / ".streamlit" / "secrets.toml"


@pytest.mark.parametrize("name", ["lena", 'le"na\\ 李', "a.b"])
def test_command_writes_an_account_into_the_secrets_file(name, secrets, monkeypatch, capsys):
    monkeypatch.setattr("getpass.getpass", lambda prompt: "correct horse battery")
    accounts.main([name, "--file", str(secrets)])
    Accounts(tomllib.loads(secrets.read_text(encoding="utf-8"))["accounts"]).check(name, "correct horse battery")
    assert secrets.stat().st_mode & 0o077 == 0, "only its owner may read it"
    assert f"{name} can log in now" in capsys.readouterr().out
    accounts.main([name, "--file", str(secrets)])
    assert f"{name} has a new password" in capsys.readouterr().out


def test_writing_an_account_leaves_the_rest_of_the_file_as_it_was(secrets):
    secrets.parent.mkdir()
    rest = '# ours\nreading = "login"  # closed\n\n[accounts]\notto = "a hash" # Otto\n\n[mail]\nport = 25\n'
    secrets.write_text(rest)
    assert accounts.write("lena", "correct horse battery", secrets)
    lines = secrets.read_text().splitlines()
    assert [line for line in lines if not line.startswith("lena = ")] == rest.splitlines()
    assert lines.index("[mail]") > next(place for place, line in enumerate(lines) if line.startswith("lena = "))
    assert not accounts.write("lena", "battery horse correct", secrets)
    found = tomllib.loads(secrets.read_text())["accounts"]
    Accounts({"lena": found["lena"]}).check("lena", "battery horse correct")


@pytest.mark.parametrize("content", ["[accounts\n", 'accounts = "none"\n', b"\xff\xfe"])
def test_secrets_file_that_is_not_understood_is_left_alone(content, secrets):
    secrets.parent.mkdir()
    given = content if isinstance(content, bytes) else content.encode()
    secrets.write_bytes(given)
    with pytest.raises(BadArgument, match="secrets.toml"):
        accounts.write("lena", "correct horse battery", secrets)
    assert secrets.read_bytes() == given and len(list(secrets.parent.iterdir())) == 1


def test_secrets_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadArgument, match=r"secrets\.toml can't be written \("):
        accounts.write("lena", "correct horse battery", tmp_path / "file" / "secrets.toml")


@pytest.mark.parametrize("name", ["", "  ", "a\tb", "a\nb", "x" * 201])
def test_account_needs_a_name_of_one_line(name, secrets):
    with pytest.raises(BadArgument, match="needs a name"):
        accounts.write(name, "correct horse battery", secrets)
    assert not secrets.exists()


def test_command_refuses_a_short_password_and_ends_at_ctrl_d(secrets, monkeypatch):
    prompts = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: prompts.append(prompt) or "short")
    with pytest.raises(BadArgument, match="at least 10 characters"):
        accounts.main(["lena", "--file", str(secrets)])
    assert len(prompts) == 1 and "at least 10 characters" in prompts[0]
    monkeypatch.setattr("getpass.getpass", lambda prompt: (_ for _ in ()).throw(EOFError))
    with pytest.raises(SystemExit, match="^stopped"):
        accounts.main(["lena", "--file", str(secrets)])
    assert not secrets.exists()


def test_command_refuses_two_different_passwords(secrets, monkeypatch):
    given = iter(["correct horse battery", "correct horse batter"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(given))
    with pytest.raises(BadArgument, match="differ"):
        accounts.main(["lena", "--file", str(secrets)])
    assert not secrets.exists()


def test_real_hashes_are_costly():
    assert REAL.memory_cost >= 64 * 1024 and REAL.time_cost >= 3
