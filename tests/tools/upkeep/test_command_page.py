"""The commands of docs/command.md print what the page shows."""

from __future__ import annotations

import re

from tests.plugin import Printed
from tools.upkeep import command_page


def test_commands_of_the_page_print_what_it_shows(network, monkeypatch):
    monkeypatch.setattr("facerec._light.open_light", lambda path: network)
    for name in ("FACES_DATABASE", "FACES_NETWORK"):
        monkeypatch.delenv(name, raising=False)
    text = command_page.PAGE.read_text(encoding="utf-8")
    assert len(re.findall(command_page.BLOCK, text)) == text.count("```\n$ ") >= 5
    now = command_page.filled(text)
    for shown, printed in zip(text.splitlines(), now.splitlines(), strict=True):
        assert Printed(printed) == Printed(shown), "run: python tools/upkeep/command_page.py"
