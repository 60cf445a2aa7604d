"""Keys: kept as digests, refused when revoked or expired, noticed by a server that runs."""

import stat
import subprocess
import sys

import pytest

from apps.api import keys as module
from apps.api.keys import Keys, main
from facerec.errors import BadArgument


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "api_keys.json")


def test_a_key_is_found_by_its_secret_and_kept_as_a_digest(keys):
    secret = keys.make("phone", write=True)
    found = keys.find(secret)
    assert (found.name, found.write, found.has_expired) == ("phone", True, False)
    assert secret not in keys.file.read_text() and keys.find(secret + "x") is None
    assert stat.S_IMODE(keys.file.stat().st_mode) == 0o600


def test_a_running_server_notices_new_and_revoked_keys(keys):
    other = Keys(keys.file)  # as another process
    secret = other.make("phone")
    assert keys.find(secret).name == "phone"
    other.revoke("phone")
    assert keys.find(secret) is None


def test_a_key_expires(keys, monkeypatch):
    secret = keys.make("phone", days=1)
    now = keys.find(secret).made
    monkeypatch.setattr(module.time, "time", lambda: now + module.DAY - 1)
    assert not keys.find(secret).has_expired
    monkeypatch.setattr(module.time, "time", lambda: now + module.DAY)
    assert keys.find(secret).has_expired


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ({"name": "phone"}, "name='phone': there is a key of that name"),
        ({"name": " "}, "name=' ': up to 80 visible letters"),
        ({"name": "a\nb"}, "name='a\\\\nb': up to 80"),
        ({"name": "b", "days": 0}, "days=0: must be more than 0"),
    ],
)
def test_make_rejects_bad_names_and_days(keys, make, said):
    keys.make("phone")
    with pytest.raises(BadArgument, match=said):
        keys.make(**make)
    assert [key.name for key in keys.all()] == ["phone"]


def test_damaged_file_is_an_error_that_names_it(keys):
    keys.file.write_text("[{}")
    with pytest.raises(BadArgument, match=r"api_keys.json is damaged"):
        keys.all()


def test_command_makes_lists_and_revokes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FACES_KEYS", str(tmp_path / "keys.json"))
    main(["list"])
    assert "there are no keys" in capsys.readouterr().out
    main(["new", "phone", "--days", "90"])
    secret = capsys.readouterr().out.strip()
    assert Keys(tmp_path / "keys.json").find(secret).write is False
    main(["list"])
    assert capsys.readouterr().out.startswith("phone: read, until 2")
    main(["revoke", "phone"])
    with pytest.raises(BadArgument, match=r"name='phone': there is no such key \(there are: none\)"):
        main(["revoke", "phone"])


def test_command_starts_without_the_server_or_a_network():
    code = "import sys, apps.api.keys; print(*{'fastapi', 'keras', 'tensorflow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
