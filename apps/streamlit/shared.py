"""What every page needs, once per process: the network, the people, the decisions; and pictures from whoever looks.

Which file holds the people says FACES_DATABASE, and which network looks at them FACES_NETWORK.
"""

from __future__ import annotations

import gc
import io
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from apps.comparison import Comparer
from apps.streamlit.decisions import Decisions
from facerec._files import ROOT, in_project
from facerec._quiet import quietly
from facerec.database import FaceDatabase
from facerec.enrol import PoorPortrait, build_database
from facerec.networks import DEFAULT_NETWORK, load_facenet
from facerec.photos import PICTURE_ENDINGS, load_image

with quietly():
    import keras


IMAGES = ROOT / "images"


#: What may be dropped; a HEIC file is told how to become one of the others.
ENDINGS = [ending.removeprefix(".") for ending in (*PICTURE_ENDINGS, ".heic")]


#: So many pictures are opened and searched at once, whoever sent them: a large one takes a lot of memory.
TURNS = threading.BoundedSemaphore(2)


#: Photos are looked at in copies of this longest side, in pixels.
LONGEST_SIDE = 1600


def network_path() -> str:
    """The network's folder, as FACES_NETWORK says."""
    return os.environ.get("FACES_NETWORK") or DEFAULT_NETWORK


def database_path() -> str:
    """Where the people are, as FACES_DATABASE says."""
    return os.environ.get("FACES_DATABASE") or str(ROOT / "data" / "people.db")


def model() -> keras.Model:
    """The network."""
    return _model(network_path())


def database() -> FaceDatabase:
    """The people. To change them, take ``login.changing()``."""
    return _database(database_path(), network_path())


@st.cache_resource(show_spinner="Loading the network …")
def _model(path: str) -> keras.Model:
    network = load_facenet(path)
    _spare_the_collector()
    return network


def _spare_the_collector() -> None:
    """Streamlit collects garbage after every run: what stays for good need not be looked through for it each time."""
    gc.collect()
    gc.freeze()


@st.cache_resource(show_spinner="Getting to know the people of images/ …")
def _database(path: str, network: str) -> FaceDatabase:
    """Opened; a new file is filled with the portraits in ``images/``, once: whoever is removed later stays away."""
    unfinished = Path(f"{path}.filling")
    is_file = "://" not in path and not path.startswith(("milvus:", ":memory:"))
    if is_file and not Path(path).exists():
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
    people = FaceDatabase(path, _model(network))
    if (is_file and unfinished.exists()) or path == ":memory:":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PoorPortrait)
            build_database(IMAGES, _model(network), progress=False, into=people)
        unfinished.unlink(missing_ok=True)
    return people


@st.cache_resource(show_spinner=False)
def decisions() -> Decisions:
    """What was decided lately, in this process, by whoever asked."""
    return Decisions()


def decided(kind: str, identity: str | None, distance: float, words: str, seconds: float) -> None:
    """Take note of a decision at the threshold of the slider, and that it was asked for here."""
    number = decisions().add(kind, identity, distance, threshold(), words, seconds)
    st.session_state.setdefault("asked", deque(maxlen=1000)).append(number)


def asked_here(number: int) -> bool:
    """Whether a decision was asked for in this browser's session."""
    return number in st.session_state.get("asked", ())


@st.cache_resource(show_spinner="Loading the twins …")
def _comparer(path: str) -> Comparer:
    comparer = Comparer(_model(path))
    _spare_the_collector()
    return comparer


def comparer() -> Comparer:
    """The two networks that compare pictures."""
    return _comparer(network_path())


@st.cache_data(show_spinner=False)
def rates(network: str) -> pd.DataFrame | None:
    """What each threshold of a network costs, as it was measured on LFW; None if nobody has."""
    path = ROOT / "docs" / "results" / f"lfw_{in_project(network).name}_rates.csv"
    return pd.read_csv(path).query("people == 'train'") if path.exists() else None


class Changes:
    """Counts what was changed here: what was found before a change is looked up anew after it."""

    count = 0


@st.cache_resource(show_spinner=False)
def changes() -> Changes:
    """The one counter of this process."""
    return Changes()


def state() -> tuple[int, int]:
    """Something else after people have changed."""
    return changes().count, len(database())


def opened(data: bytes, name: str) -> np.ndarray:
    """The photo in what somebody sent, (H, W, 3) uint8, upright, in a size that is quickly looked at.

    Args:
        data: The bytes of a file; what it is called and what it says of itself do not count.
        name: What to call it in an error.

    Raises:
        UnreadableImage: If it is no picture, or one that is refused.
    """
    stream = io.BytesIO(data)
    stream.name = one_line(name)
    with TURNS:
        return smaller(load_image(stream), LONGEST_SIDE)


def one_line(name: str) -> str:
    """A name that comes from anybody, in one line that can be seen, of at most 80 letters."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(name))
    return (shown if len(shown) <= 80 else f"{shown[:79]}…") or "a file without a name"


@contextmanager
def watch() -> Iterator[Callable[[], float]]:
    """Lend a stopwatch: it says how many seconds have passed, and stops where the block ends."""
    began, ended = time.perf_counter(), None
    yield lambda: (ended or time.perf_counter()) - began
    ended = time.perf_counter()


def smaller(photo: np.ndarray, side: int) -> np.ndarray:
    """A photo of at most this longest side, in pixels."""
    import cv2

    scale = side / max(photo.shape[:2])
    if scale >= 1:
        return photo
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


@contextmanager
def turn() -> Iterator[None]:
    """Wait until no more than one other picture is being looked at."""
    with TURNS:
        yield


def threshold() -> float:
    """What the slider says; the network's own at first."""
    return float(st.session_state.get("threshold", model().facenet.threshold))


def end_live() -> None:
    """Let go of whatever the page of the camera holds."""
    recogniser = st.session_state.pop("live_recogniser", None)
    st.session_state.pop("live_answer", None)
    if recogniser is not None:
        recogniser.close()
