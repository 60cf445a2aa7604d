"""A window of this computer that shows a film and takes keys.

frames ──Shown.show──► pictures in the window; keys and buttons ──► Shown.press
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np

from facerec.errors import NoScreen


class Shown(Protocol):
    """What a window shows, and what its keys do.

    Attributes:
        title: The window's title.
        keys: What each key does; there is a button for each.
        message: What happened last; empty if nothing did.
        last: A picture to show small, (H, W, 3) uint8 RGB, or None.
        ended: Whether the window is to close.
    """

    title: str
    keys: Mapping[str, str]
    message: str
    last: np.ndarray | None
    ended: bool

    def show(self, frame: np.ndarray, now: float) -> np.ndarray:
        """The picture (H, W, 3) to show for the next frame, at a time in seconds."""

    def press(self, key: str) -> None:
        """Do what a key says."""

    def pause(self) -> int:
        """Milliseconds until the next frame is due."""

    def status(self) -> str:
        """Lines of text beside the film."""


def show_in_window(frames: Iterable[np.ndarray], shown: Shown, alternative: str) -> None:
    """Show a film in a window until its keys or the film end it.

    Args:
        frames: The film, a frame (H, W, 3) uint8 RGB at a time.
        shown: What becomes of each frame, and of each key.
        alternative: What the error message suggests where no window can be opened.

    Raises:
        NoScreen: If no window can be opened.
        NoCamera: If the camera goes away.
    """
    window = _Window(_open_window(alternative), iter(frames), shown)
    window.root.mainloop()
    if window.problem is not None:
        raise window.problem


def _open_window(alternative: str):
    """An empty Tk window."""
    try:
        import tkinter
    except ImportError as error:
        raise NoScreen(f"this Python has no tkinter, which draws the window: install it, or {alternative}") from error
    try:
        return tkinter.Tk()
    except tkinter.TclError as error:
        raise NoScreen(f"no window can be opened here ({error}): {alternative}") from error


class _Window:
    """The widgets of the window, and the timer that shows frame after frame."""

    def __init__(self, root, frames: Iterator[np.ndarray], shown: Shown):
        import tkinter

        self.root, self.frames, self.shown = root, frames, shown
        self.problem: Exception | None = None
        root.title(shown.title)
        root.bind("<Key>", lambda event: shown.press(event.char))
        root.protocol("WM_DELETE_WINDOW", lambda: shown.press("q"))
        self.film = tkinter.Label(root)
        self.film.pack(side="left")
        side = tkinter.Frame(root, padx=14, pady=10)
        side.pack(side="left", fill="y")
        self.status = tkinter.Label(side, justify="left", anchor="w", font=("TkDefaultFont", 12, "bold"), width=30)
        self.message = tkinter.Label(side, justify="left", anchor="nw", wraplength=300, height=3)
        self.last = tkinter.Label(side)
        for widget in (self.status, self.message, self.last):
            widget.pack(fill="x", pady=4)
        for key, meaning in shown.keys.items():
            button = tkinter.Button(
                side, text=f"{key}   {meaning}", anchor="w", takefocus=False, command=lambda key=key: shown.press(key)
            )
            button.pack(fill="x")
        root.after(0, self.tick)

    def tick(self) -> None:
        """Show the next frame, and come back for the one after it."""
        try:
            frame = None if self.shown.ended else next(self.frames, None)
            if frame is None:
                self.root.destroy()
                return
            self._draw(self.shown.show(frame, time.monotonic()))
            self.root.after(self.shown.pause(), self.tick)
        except Exception as error:  # Tk would print it and go on
            self.problem = error
            self.root.destroy()

    def _draw(self, picture: np.ndarray) -> None:
        from PIL import Image, ImageTk

        self.film.picture = ImageTk.PhotoImage(Image.fromarray(picture))  # Tk itself keeps no reference to it
        self.film["image"] = self.film.picture
        self.status["text"], self.message["text"] = self.shown.status(), self.shown.message
        if self.shown.last is not None:
            self.last.picture = ImageTk.PhotoImage(Image.fromarray(self.shown.last).resize((150, 150)))
            self.last["image"] = self.last.picture
