"""TODO facerec.live.window."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from facerec.errors import NoScreen
from facerec.live.collect import Session
from facerec.live.film import Viewing
from facerec.live.frames import Frames


def collect_in_window(frames: Frames, session: Session) -> None:
    """Show a film in a window, with the face's box, the counts and the last picture, until q is pressed or it ends.

    Raises:
        NoScreen: If no window can be opened here.
        NoCamera: If the camera goes away.
    """
    where_else = "collect with facerec.live.widget.CameraWidget in a notebook, or from a film with --source"
    try:
        show_in_window(frames, session, where_else)
    finally:
        session.close()


def show_in_window(frames: Frames, session: Session | Viewing, where_else: str) -> None:
    """Show what a session makes of each frame, and give it the keys, until it has ended or the film has."""
    window = _Window(_open_window(where_else), iter(frames), session)
    window.root.mainloop()
    if window.problem is not None:
        raise window.problem


def _open_window(where_else: str):
    """An empty window of Tk's, or an error that says what else can be done."""
    try:
        import tkinter
    except ImportError as error:
        raise NoScreen(f"this Python has no tkinter, which draws the window: install it, or {where_else}") from error
    try:
        return tkinter.Tk()
    except tkinter.TclError as error:
        raise NoScreen(f"no window can be opened here ({error}): {where_else}") from error


class _Window:
    """The widgets of a session's window, and the clock that moves them."""

    def __init__(self, root, frames: Iterator[np.ndarray], session: Session | Viewing):
        import tkinter

        self.root, self.frames, self.session = root, frames, session
        self.problem: Exception | None = None
        root.title(session.title)
        root.bind("<Key>", lambda event: session.press(event.char))
        root.protocol("WM_DELETE_WINDOW", lambda: session.press("q"))
        self.film = tkinter.Label(root)
        self.film.pack(side="left")
        side = tkinter.Frame(root, padx=14, pady=10)
        side.pack(side="left", fill="y")
        self.status = tkinter.Label(side, justify="left", anchor="w", font=("TkDefaultFont", 12, "bold"), width=30)
        self.message = tkinter.Label(side, justify="left", anchor="nw", wraplength=300, height=3)
        self.last = tkinter.Label(side)
        for widget in (self.status, self.message, self.last):
            widget.pack(fill="x", pady=4)
        for key, meaning in session.keys.items():  # for the mouse, and for who forgot the keys
            button = tkinter.Button(
                side, text=f"{key}   {meaning}", anchor="w", takefocus=False, command=lambda key=key: session.press(key)
            )
            button.pack(fill="x")
        root.after(0, self.tick)

    def tick(self) -> None:
        """Show the next frame, and come back."""
        try:
            frame = None if self.session.ended else next(self.frames, None)
            if frame is None:
                self.root.destroy()
                return
            self._draw(self.session.show(frame, time.monotonic()))
            self.root.after(self.session.pause(), self.tick)
        except Exception as error:  # Tk would print it and go on
            self.problem = error
            self.root.destroy()

    def _draw(self, picture: np.ndarray) -> None:
        from PIL import Image, ImageTk

        self.film.picture = ImageTk.PhotoImage(Image.fromarray(picture))  # Tk itself does not keep pictures alive
        self.film["image"] = self.film.picture
        self.status["text"], self.message["text"] = self.session.status(), self.session.message
        if self.session.last is not None:
            self.last.picture = ImageTk.PhotoImage(Image.fromarray(self.session.last).resize((150, 150)))
            self.last["image"] = self.last.picture
