"""What reaches the console, and processes that would hang."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from facerec._files import ROOT
from facerec._quiet import say


def test_say_replaces_letters_that_the_console_cannot_show(monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    say("It's 李娜, welcome in!")
    say("It's José, welcome in!")
    console.flush()
    assert console.buffer.getvalue().decode("cp1252").splitlines() == ["It's ??, welcome in!", "It's José, welcome in!"]


FORKED = """
import multiprocessing, sys
from fr_utils import img_to_encoding, load_facenet
model = load_facenet("weights/resnet")
img_to_encoding("images/lena.jpg", model)

def encode(name):
    try:
        return img_to_encoding(f"images/{name}.jpg", model).shape
    except Exception as error:
        return f"{type(error).__name__}: {error}"

with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.map_async(encode, ["otto"]).get(timeout=300))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only systems that fork have this fault")
def test_forked_process_says_how_to_start_it_instead():
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "ForkedProcess: this process was forked" in done.stdout and 'get_context("spawn")' in done.stdout, (
        done.stderr
    )
