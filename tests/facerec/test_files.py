"""Whole files: whatever happens while one is written, there is the old one or the new one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from facerec._files import whole, write_json, write_table


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole_makes_the_file_and_its_folder(tmp_path):
    with whole(tmp_path / "deep/er/notes.txt") as unfinished:
        unfinished.write_text("all of it")
        assert not (tmp_path / "deep/er/notes.txt").exists()
    assert (tmp_path / "deep/er/notes.txt").read_text() == "all of it"
    assert names(tmp_path / "deep/er") == ["notes.txt"]


def test_whole_keeps_the_old_file_after_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("old")
    with pytest.raises(ValueError, match="half way"), whole(tmp_path / "notes.txt") as unfinished:
        unfinished.write_text("ne")
        raise ValueError("half way")
    assert names(tmp_path) == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "old"


def test_whole_lets_two_threads_write_one_file(tmp_path):
    path = tmp_path / "notes.txt"
    with whole(path) as one, whole(path) as two:
        one.write_text("one")
        two.write_text("two")
        assert one.read_text() == "one"
    assert path.read_text() == "one"  # who is ready last
    assert names(tmp_path) == ["notes.txt"]


def test_whole_replaces_a_folder(tmp_path):
    for content in ("a.txt", "b.txt"):
        with whole(tmp_path / "people") as unfinished:
            unfinished.mkdir()
            (unfinished / content).touch()
    assert names(tmp_path / "people") == ["b.txt"]
    assert names(tmp_path) == ["people"]


def test_whole_raises_if_nothing_was_written(tmp_path):
    (tmp_path / "notes.txt").write_text("old")
    with pytest.raises(FileNotFoundError), whole(tmp_path / "notes.txt"):
        pass
    assert (tmp_path / "notes.txt").read_text() == "old"
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "a.txt").touch()
    with pytest.raises(FileNotFoundError), whole(tmp_path / "people"):
        pass
    assert names(tmp_path / "people") == ["a.txt"] and names(tmp_path) == ["notes.txt", "people"]


def test_whole_keeps_a_folder_aside_that_can_not_be_replaced(tmp_path, monkeypatch):
    """As if killed between the two moves: the old folder still exists, whole."""
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "a.txt").write_text("old")

    def fails_at_the_second(*names, replace=os.replace, calls=[]):  # noqa: B006
        calls.append(names)
        if len(calls) == 2:
            raise OSError("killed")
        replace(*names)

    monkeypatch.setattr(os, "replace", fails_at_the_second)
    with pytest.raises(OSError, match="killed"), whole(tmp_path / "people") as unfinished:
        unfinished.mkdir()
    (kept,) = tmp_path.glob(".before_*_people/a.txt")
    assert kept.read_text() == "old"


KILLED = """
import os, signal, sys
from facerec._files import whole
with whole({path!r}) as unfinished:
    unfinished.write_text("ne")
    print("writing", flush=True)
    signal.pause() if hasattr(signal, "pause") else input()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_whole_survives_a_kill_and_is_cleaned_up_later(tmp_path):
    path = tmp_path / "notes [1].txt"
    path.write_text("old")
    code = KILLED.format(path=str(path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.read_text() == "old"
    (left,) = tmp_path.glob(".unfinished_*")
    with whole(path) as unfinished:  # it could still be at work: it is left alone
        unfinished.write_text("new")
    assert left.exists()
    os.utime(left, (time.time() - 4000,) * 2)
    with whole(path) as unfinished:
        unfinished.write_text("newer")
    assert names(tmp_path) == ["notes [1].txt"]
    assert path.read_text() == "newer"


def test_json_and_tables_round_trip(tmp_path):
    write_json(tmp_path / "new" / "notes.json", {"who": "Zoë", "count": 1})
    assert (tmp_path / "new" / "notes.json").read_text(encoding="utf-8") == '{\n "who": "Zoë",\n "count": 1\n}\n'
    write_table(tmp_path / "table.csv", pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=[7, 8]))
    assert (tmp_path / "table.csv").read_bytes() == b"a,b\n1,x\n2,y\n"
    with pytest.raises(TypeError):
        write_json(tmp_path / "new" / "notes.json", {"who": object()})
    assert "Zoë" in (tmp_path / "new" / "notes.json").read_text(encoding="utf-8")
