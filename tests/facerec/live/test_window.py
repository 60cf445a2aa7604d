"""The window shows the film and takes keys; without a screen, an error says what to do instead."""

import os
import sys

import numpy as np
import pytest

from facerec._files import ROOT
from facerec.errors import NoCamera, NoScreen
from facerec.live.frames import Frames
from facerec.live.window import show_in_window
from facerec.photos import load_image


def test_without_a_screen_the_error_suggests_the_alternative(session, photos, no_screen):
    with pytest.raises(NoScreen, match="no window can be opened here .*: use a notebook"):
        show_in_window([photos["lena"]], session, "use a notebook")


def test_missing_tkinter_is_named_in_the_error(session, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(NoScreen, match="this Python has no tkinter.* or use a notebook"):
        show_in_window([photos["lena"]], session, "use a notebook")


@pytest.mark.browser
def test_window_shows_the_film_and_takes_keys(screen, session, lena_film):
    import tkinter

    from PIL import ImageGrab

    def with_keys_pressed(frames):
        for number, frame in enumerate([*frames, *frames]):
            window = tkinter._default_root
            session.seen is None and session._looking and session._looking.result()
            if number in (20, 30, 40):
                window.focus_force()
                window.event_generate("<Key>", keysym={20: "a", 30: "p", 40: "c"}[number])
            if number == 60:
                window.update()
                ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).save(build / "window_collect.png")
                window.event_generate("<Key>", keysym="q")
            yield frame
        raise AssertionError("q did not end it")

    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    show_in_window(with_keys_pressed(list(Frames(lena_film))), session, "")
    counts = session.collector.counts()
    assert counts["anchor"] >= 1 and counts["positive"] >= 1 and session.automatic and session.ended
    picture = load_image(build / "window_collect.png")
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000  # the film is in it


@pytest.mark.browser
def test_unplugged_camera_closes_the_window_and_raises(screen, session, photos):
    def unplugged():
        yield photos["lena"]
        raise NoCamera("the camera gives no more pictures: was it unplugged?")

    with pytest.raises(NoCamera, match="unplugged"):
        show_in_window(unplugged(), session, "")
