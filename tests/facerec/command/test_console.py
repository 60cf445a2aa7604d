"""What the console shows: plain letters, narrow tables, CSV."""

from __future__ import annotations

import io
import re
import sys

from facerec.command import console
from tests.facerec.command.calling import error_of


def test_errors_of_the_system_are_one_line_too(images, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", "weights.h5")

    monkeypatch.setattr("facerec._light.open_light", refuse)
    assert error_of("verify", images / "lena.jpg", images / "lena.jpg") == "weights.h5: Permission denied"


def test_consoles_without_unicode_get_plain_letters(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    console.forgive()
    console.show_table({"who": "left", "seen": "left"}, [("Jos\u00e9", "00:01–00:03"), ("[b]\x1b[2J", "a…")])
    shown.flush()
    text = shown.buffer.getvalue().decode("ascii")
    assert "Jos?" in text and "00:01-00:03" in text and "[b]?[2J" in text and "a..." in text


def test_narrow_screens_get_sentences(monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", shown := Screen())
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    console.show_table({"photo": "left", "face": "right", "who": "left"}, [("a/b.jpg", "1", "lena"), ("", "2", "jun")])
    text = re.sub(r"\x1b\[[\d;]*m", "", shown.getvalue())
    assert text == "a/b.jpg\n  face 1, who lena\n  face 2, who jun\n"


def test_csv_is_utf_8_on_any_system(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", shown)
    console.write_csv([("who", "distance"), ("Łucja", 0.5), (None, None)])
    shown.flush()
    assert shown.buffer.getvalue().decode() == "who,distance\nŁucja,0.5000\n,\n"
