"""Frames from a webcam, a browser, a video or a folder of pictures, and a collector of faces.

    python camera.py collect --person me                        # a window: a anchor, p positive, c automatic, q quit
    python camera.py collect --person me --source video.mp4     # or a folder of pictures; automatic, without a window

Collected faces lie in ``datasets/collected/<person>/``, ``anchor_0001.jpg`` and ``positive_0001.jpg`` …, 250×250
pixels each with the face in the middle, as in LFW. ``face_datasets.find_people`` reads that folder.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import anywidget
import cv2
import numpy as np
from tqdm.auto import tqdm

from errors import BadArgument, FaceError, NoCamera, NoFaceFound, NoScreen, UnreadableImage, run
from face_detection import detect_faces, pick_face, warp
from fr_utils import PICTURE_ENDINGS, ROOT, load_image, save_picture

#: The side of a collected picture, in pixels, and how much larger than the face it is.
SIDE, MARGIN = 250, 2.2
KINDS = ("anchor", "positive")
COLLECTED = ROOT / "datasets" / "collected"

Box = tuple[int, int, int, int]


# ------------------------------------------------------------------------------------------------- frames
class Frames:
    """The frames of a camera, a video file or a folder of pictures, one after the other.

    Args:
        source: The number of a webcam (0 is the first), the path of a video, or a folder of pictures.
        per_second: At most so many frames of a second of video; the others are passed over. None gives all.

    Attributes:
        is_live: Whether it is a webcam, which never ends.
        seconds: How much of the video has been seen, in its own time; 0 for pictures.
        problems: (name, reason) of every picture of a folder that could not be opened.

    Raises:
        NoCamera: If there is no webcam of that number, or it gives no picture.
        UnreadableImage: If the video can't be read.
        BadArgument: If there is no such file, or the folder holds no pictures.

    Example:
        >>> with Frames("images") as frames:
        ...     next(iter(frames)).shape
        (320, 320, 3)
    """

    def __init__(self, source: int | str | os.PathLike, per_second: float | None = None):
        if per_second is not None and not per_second > 0:
            raise BadArgument(f"per_second={per_second}: frames per second, more than 0")
        self.is_live = isinstance(source, int) or str(source).isdecimal()
        self.per_second, self.seconds, self.problems = per_second, 0.0, []
        self._capture, self._pictures = None, []
        path = Path(source) if not self.is_live else None
        if self.is_live:
            self._capture = cv2.VideoCapture(int(source))
            if not self._capture.isOpened():
                raise NoCamera(f"there is no camera {source}, or another program is using it, or it is not allowed")
        elif path.is_dir():
            self._pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_ENDINGS)
            if not self._pictures:
                raise BadArgument(f"{path} holds no pictures")
        elif path.is_file():
            self._capture = cv2.VideoCapture(str(path))
            if not self._capture.isOpened() or not self._capture.grab():
                raise UnreadableImage(f"{path} is no video that can be read")
            self._capture = cv2.VideoCapture(str(path))  # from its first frame
        else:
            raise BadArgument(f"{path} is neither a video nor a folder of pictures")

    def __len__(self) -> int:
        """How many frames there are to come; 0 if nobody knows."""
        if self._capture is None:
            return len(self._pictures)
        return 0 if self.is_live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the camera back."""
        if self._capture is not None:
            self._capture.release()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Each frame as (H, W, 3) uint8 RGB."""
        return self._from_capture() if self._capture is not None else self._from_folder()

    def _from_folder(self) -> Iterator[np.ndarray]:
        for path in self._pictures:
            try:
                yield load_image(path)
            except FaceError as error:
                self.problems.append((path.name, str(error)))

    def _from_capture(self) -> Iterator[np.ndarray]:
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate < 1000 else 30.0
        step = 1.0 if self.per_second is None else max(1.0, rate / self.per_second)
        number, wanted = 0, 0.0
        while self._capture.grab():
            self.seconds = time.monotonic() if self.is_live else number / rate
            if self.is_live or number >= wanted:
                ok, frame = self._capture.retrieve()
                if ok:
                    yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                wanted += step
            number += 1
        if self.is_live:
            said = "no more pictures: was it unplugged?" if number else "no picture: may this program use it?"
            raise NoCamera(f"the camera gives {said}")


# ------------------------------------------------------------------------------------------- in a notebook
def describe_photo(photo: np.ndarray) -> str:
    """What a person at the camera wants to know of a photo (H, W, 3): its size, and whether a face was found."""
    faces = len(detect_faces(photo))
    found = {0: "no face found: come closer, or use more light", 1: "one face"}.get(faces, f"{faces} faces")
    return f"{photo.shape[1]}×{photo.shape[0]} pixels, {found}"


class CameraWidget(anywidget.AnyWidget):
    """The camera of whoever looks at the notebook, live in a cell; it works wherever Python runs.

    A button or the space bar takes a picture; where there is no camera, or it is not allowed, the page says so and a
    file can be chosen instead. Pictures stay in Python's memory: nothing is written to the notebook or the disk.

    Args:
        on_photo: Called with each photo; what it returns is shown under the camera, and what is wrong with the
            photo (a ``FaceError``) too. By default ``describe_photo``.

    Attributes:
        photo: The last photo, (H, W, 3) uint8 RGB, not mirrored; None before the first one.
        photos: All of them.
        problem: Why the camera does not start, in words; empty if it does, or was not started yet.

    Example:
        In one cell ``me = CameraWidget(); me``, and after a press of the space bar, in the next, ``me.photo.shape``.
    """

    _esm = ROOT / "camera.js"
    _css = ROOT / "camera.css"

    def __init__(self, on_photo: Callable[[np.ndarray], str | None] = describe_photo):
        super().__init__()
        self.on_photo = on_photo
        self.photos: list[np.ndarray] = []
        self.problem = ""
        self.on_msg(CameraWidget._hear)

    @property
    def photo(self) -> np.ndarray | None:
        """The last photo, or None."""
        return self.photos[-1] if self.photos else None

    def _hear(self, message: dict, buffers: list) -> None:
        """What the browser sends: whether the camera started, or a picture."""
        if message["kind"] == "camera":
            self.problem = message["problem"]
            return
        text = "Python could not use it"
        try:
            photo = load_image(bytes(buffers[0]))
            self.photos.append(photo)
            text = self.on_photo(photo) or "Python has it"
        except FaceError as error:
            text = str(error)
        except Exception as error:  # the reader's own function went wrong: say so where they look, and in the log
            text = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.send({"kind": "seen", "number": message["number"], "text": text})


# ---------------------------------------------------------------------------------------------- detectors
def find_with_mtcnn(frame: np.ndarray) -> Box | None:
    """The largest face of a frame, found by MTCNN: (x, y, width, height), or None."""
    faces = detect_faces(frame)
    return pick_face(faces, frame)["box"] if faces else None


def find_with_haar(frame: np.ndarray) -> Box | None:
    """The largest face of a frame, found by OpenCV's Haar cascade: quicker, and wrong more often."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    smallest = max(40, min(grey.shape) // 8)
    boxes = _cascade().detectMultiScale(grey, 1.1, 6, minSize=(smallest, smallest))
    return tuple(int(n) for n in max(boxes, key=lambda box: box[2] * box[3])) if len(boxes) else None


def _cascade() -> cv2.CascadeClassifier:
    if not hasattr(_cascade, "loaded"):
        _cascade.loaded = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_default.xml")
    return _cascade.loaded


DETECTORS = {"mtcnn": find_with_mtcnn, "haar": find_with_haar}


# ---------------------------------------------------------------------------------------------- collecting
@dataclass
class Seen:
    """What a collector thinks of a frame.

    Attributes:
        frame: (H, W, 3) uint8 RGB.
        box: The largest face, or None.
        crop: The picture to save, (250, 250, 3), or None.
        small: The face in 16×16 grey pixels with the light taken out, to compare it with others.
        sharpness: The variance of the face's Laplacian; below ``Collector.sharp_enough`` it is blurred.
    """

    frame: np.ndarray
    box: Box | None
    crop: np.ndarray | None = None
    small: np.ndarray | None = None
    sharpness: float = 0.0


@dataclass
class Collector:
    """Saves faces of one person, and never over a picture that is there.

    Attributes:
        folder: The person's folder; it is created with the first picture.
        detector: A key of :data:`DETECTORS`.
        sharp_enough: Automatic capture skips faces less sharp than this.
        different_enough: And faces nearer than this to one of the last ``memory`` saved ones: mean absolute
            difference of 16×16 grey pixels, in units of their standard deviation.
        memory: How many saved faces are remembered.
    """

    folder: Path
    detector: str = "mtcnn"
    sharp_enough: float = 50.0
    different_enough: float = 0.12
    memory: int = 50
    _saved: deque = field(init=False, repr=False)

    def __post_init__(self):
        if self.detector not in DETECTORS:
            raise BadArgument(f"detector={self.detector!r}: one of {', '.join(DETECTORS)}")
        self._saved = deque(maxlen=self.memory)

    def look(self, frame: np.ndarray) -> Seen:
        """Find the largest face of a frame (H, W, 3) and cut it out."""
        box = DETECTORS[self.detector](frame)
        if box is None:
            return Seen(frame, None)
        face = cv2.cvtColor(crop_around(frame, box, 1.0, 128), cv2.COLOR_RGB2GRAY)
        small = cv2.resize(face, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        small = (small - small.mean()) / (small.std() + 1.0)
        sharpness = float(cv2.Laplacian(face, cv2.CV_64F).var())
        return Seen(frame, box, crop_around(frame, box, MARGIN, SIDE), small, sharpness)

    def objection(self, seen: Seen) -> str:
        """Why automatic capture would not save this; nothing if it would."""
        if seen.box is None:
            return "no face"
        if seen.sharpness < self.sharp_enough:
            return "blurred"
        if any(np.abs(seen.small - other).mean() < self.different_enough for other in self._saved):
            return "like one that is saved"
        return ""

    def save(self, seen: Seen, kind: str) -> Path:
        """Write the face as the next ``anchor_…`` or ``positive_…``; returns its path.

        Raises:
            BadArgument: If the kind is another one.
            NoFaceFound: If there is no face in the frame.
        """
        if kind not in KINDS:
            raise BadArgument(f"kind={kind!r}: one of {', '.join(KINDS)}")
        if seen.crop is None:
            raise NoFaceFound("there is no face in this frame to save")
        path = write_new(self.folder, kind, seen.crop)
        self._saved.append(seen.small)
        return path

    def counts(self) -> Counter:
        """How many pictures of each kind the folder holds."""
        names = (path.name for path in self.folder.glob("*.jpg")) if self.folder.is_dir() else ()
        return Counter(name.partition("_")[0] for name in names if name.partition("_")[0] in KINDS)

    def next_kind(self) -> str:
        """What automatic capture saves next: the kind of which there are fewer."""
        counts = self.counts()
        return min(KINDS, key=lambda kind: (counts[kind], kind))


def crop_around(frame: np.ndarray, box: Box, margin: float, side: int) -> np.ndarray:
    """A square around a box, ``margin`` times as large as its longer side, as (side, side, 3); edges are repeated."""
    x, y, width, height = box
    length = margin * max(width, height)
    scale = side / length
    middle = (x + width / 2, y + height / 2)
    matrix = np.array([[scale, 0, side / 2 - scale * middle[0]], [0, scale, side / 2 - scale * middle[1]]])
    return warp(frame, matrix, side)


def write_new(folder: Path, kind: str, picture: np.ndarray) -> Path:
    """Write a picture under the next free number, in one move: nobody's file is ever replaced or half written."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(m[1]) for path in folder.glob(f"{kind}_*.jpg") if (m := re.fullmatch(rf"{kind}_(\d+)", path.stem))]
    number = max(numbers, default=0) + 1
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished_") as workshop:
        written = Path(workshop) / "picture.jpg"
        save_picture(written, picture)
        while True:
            path = folder / f"{kind}_{number:04d}.jpg"
            try:
                os.link(written, path)  # fails if another process was quicker
                return path
            except FileExistsError:
                number += 1
            except OSError:  # a memory card or network folder without links
                if not path.exists():
                    return written.replace(path)


def collect_from(frames: Frames, collector: Collector, progress: bool = True) -> Counter:
    """Automatic capture of a video or a folder, without a window: anchor and positive in turn.

    Args:
        frames: Where to look.
        collector: Who saves.
        progress: True for a progress bar.

    Returns:
        How many frames were saved, and how many were not, by reason.
    """
    results: Counter = Counter()
    with tqdm(desc=collector.folder.name, unit="frame", disable=not progress) as bar:
        for frame in frames:
            seen = collector.look(frame)
            reason = collector.objection(seen)
            if not reason:
                collector.save(seen, collector.next_kind())
            results[reason or "saved"] += 1
            bar.update()
            bar.set_postfix(results)
    return results


# ---------------------------------------------------------------------------------- collecting in a window
KEYS = {
    "a": "save as anchor",
    "p": "save as positive",
    "c": "automatic on/off",
    "+": "more per second",
    "-": "fewer per second",
    "q": "quit",
}


@dataclass
class Session:
    """What the collecting window does, without the window: keys, automatic capture, the picture to show.

    Faces are looked for in a second thread, so that the film stays fluent; what a key saves is the last frame that
    was looked at, a tenth of a second ago or so.

    Attributes:
        collector: Who saves.
        rate: At most so many automatic pictures per second.
        automatic: Whether automatic capture is on.
        message: What happened last, in words.
        last: The last saved picture, (250, 250, 3), or None.
        ended: Whether q was pressed.
        seen: The last frame that was looked at, or None.
    """

    collector: Collector
    rate: float = 4.0
    automatic: bool = False
    message: str = "looking for a face …"
    last: np.ndarray | None = None
    ended: bool = False
    seen: Seen | None = None
    _looking: Future | None = field(default=None, init=False, repr=False)
    _not_before: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self):
        self._thread = ThreadPoolExecutor(1)

    def show(self, frame: np.ndarray, now: float) -> np.ndarray:
        """Take the next frame, (H, W, 3), at a time in seconds; gives the picture to show, mirrored, with the box."""
        if self._looking is not None and self._looking.done():
            self.seen, self._looking = self._looking.result(), None
            if self.automatic and now >= self._not_before:
                self._capture(now)
        if self._looking is None:
            self._looking = self._thread.submit(self.collector.look, frame)
        return np.ascontiguousarray(self._with_box(frame)[:, ::-1])

    def _with_box(self, frame: np.ndarray) -> np.ndarray:
        """A copy of the frame with a box around the face: full where it is sharp, only its corners where it is not."""
        shown = frame.copy()
        if self.seen is None or self.seen.box is None:
            return shown
        x, y, width, height = self.seen.box
        colour, thickness = (255, 214, 0), max(2, frame.shape[0] // 160)
        if self.seen.sharpness >= self.collector.sharp_enough:
            return cv2.rectangle(shown, (x, y), (x + width, y + height), colour, thickness)
        for corner_x, to_x in ((x, width // 5), (x + width, -(width // 5))):
            for corner_y, to_y in ((y, height // 5), (y + height, -(height // 5))):
                cv2.line(shown, (corner_x, corner_y), (corner_x + to_x, corner_y), colour, thickness)
                cv2.line(shown, (corner_x, corner_y), (corner_x, corner_y + to_y), colour, thickness)
        return shown

    def _capture(self, now: float) -> None:
        if reason := self.collector.objection(self.seen):
            self.message = f"automatic: not saved, {reason}"
        else:
            self._save(self.collector.next_kind())
            self._not_before = now + 1 / self.rate

    def _save(self, kind: str) -> None:
        path = self.collector.save(self.seen, kind)
        self.last, self.message = self.seen.crop, f"saved {path.name}"

    def press(self, key: str) -> None:
        """Do what one of :data:`KEYS` stands for; other keys do nothing."""
        if key in ("a", "p"):
            if self.seen is None or self.seen.crop is None:
                self.message = "not saved: no face to be seen"
            else:
                self._save("anchor" if key == "a" else "positive")
        elif key == "c":
            self.automatic = not self.automatic
            self.message = f"automatic capture is {'on' if self.automatic else 'off'}"
        elif key in ("+", "-"):
            self.rate = float(np.clip(self.rate * (2 if key == "+" else 0.5), 0.125, 32))
            self.message = f"automatic: at most {self.rate:g} per second"
        elif key == "q":
            self.ended = True

    def status(self) -> str:
        """Counts and settings, in words."""
        counts = self.collector.counts()
        state = f"on, {self.rate:g} per second" if self.automatic else "off"
        return f"{counts['anchor']} anchor, {counts['positive']} positive\nautomatic: {state}"

    def close(self) -> None:
        """Wait until the second thread is done."""
        self._thread.shutdown()


def collect_in_window(frames: Frames, session: Session) -> None:
    """Show a film in a window, with the face's box, the counts and the last picture, until q is pressed or it ends.

    Raises:
        NoScreen: If no window can be opened here.
        NoCamera: If the camera goes away.
    """
    window = _Window(_open_window(), iter(frames), session)
    try:
        window.root.mainloop()
    finally:
        session.close()
    if window.problem is not None:
        raise window.problem


def _open_window():
    """An empty window of Tk's."""
    where_else = "collect with camera.CameraWidget in a notebook, or from a film with --source"
    try:
        import tkinter
    except ImportError as error:
        raise NoScreen(f"this Python has no tkinter, which draws the window: install it, or {where_else}") from error
    try:
        return tkinter.Tk()
    except tkinter.TclError as error:
        raise NoScreen(f"no window can be opened here ({error}): {where_else}") from error


class _Window:
    """The widgets of the collecting window, and the clock that moves them."""

    def __init__(self, root, frames: Iterator[np.ndarray], session: Session):
        import tkinter

        self.root, self.frames, self.session = root, frames, session
        self.problem: Exception | None = None
        root.title(f"collecting faces: {session.collector.folder.name}")
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
        for key, meaning in KEYS.items():  # for the mouse, and for who forgot the keys
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
            self.root.after(1, self.tick)
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


# --------------------------------------------------------------------------------------------------- main
def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    collect = commands.add_parser("collect", help="save faces of one person")
    collect.add_argument("--person", required=True, help="whose faces: the name of their folder")
    collect.add_argument("--source", default="0", help="a camera's number, a video, or a folder; by default camera 0")
    collect.add_argument("--to", type=Path, default=COLLECTED, help="where the people's folders are")
    collect.add_argument("--detector", choices=DETECTORS, default="mtcnn", help="haar is quicker, for slow machines")
    collect.add_argument(
        "--rate", type=float, default=4.0, help="automatic pictures per second, at most; by default %(default)g"
    )
    args = parser.parse_args(argv)
    if not args.person or Path(args.person).name != args.person or args.person.startswith("."):
        raise BadArgument(f"--person {args.person!r}: a name, not a path")
    if not 0 < args.rate <= 1000:
        raise BadArgument(f"--rate {args.rate}: frames per second, more than 0")
    collector = Collector(args.to / args.person, args.detector)
    if args.source.isdecimal():
        with Frames(args.source) as frames:
            collect_in_window(frames, Session(collector, args.rate))
    else:
        with Frames(args.source, per_second=args.rate) as frames:
            results = collect_from(frames, collector)
        for name, reason in frames.problems:
            print(f"not opened: {name}: {reason}")
        print(", ".join(f"{count} {reason}" for reason, count in results.most_common()) or "no frames")
    counts = collector.counts()
    print(f"{collector.folder} holds {counts['anchor']} anchor and {counts['positive']} positive pictures")


if __name__ == "__main__":
    run(main)
