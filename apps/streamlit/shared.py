"""What every page needs, once per process: the network, the people, the decisions; and the visitors' pictures.

The environment chooses both: FACES_DATABASE is the file of the people, FACES_NETWORK the folder of the network.
"""

from __future__ import annotations

import gc
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
from apps.pictures import smaller
from apps.places import counts_path, database_path, network_path
from apps.streamlit.decisions import Decisions
from facerec._files import ROOT, in_project
from facerec._quiet import quietly
from facerec.database import FaceDatabase
from facerec.enrol import PoorPortrait, build_database
from facerec.networks import load_facenet, threshold_for
from facerec.photos import load_image, named

with quietly():
    import keras


IMAGES = ROOT / "images"

#: How many pictures are opened and searched at once, in all sessions: a large one takes a lot of memory.
TURNS = threading.BoundedSemaphore(2)

#: Photos are searched in copies whose longer side has at most so many pixels.
LONGEST_SIDE = 1600


def model() -> keras.Model:
    """The network."""
    return _model(network_path())


def database() -> FaceDatabase:
    """The people, to read; ``login.changing()`` gives them to someone who may change them."""
    return _database(database_path(), network_path())


@st.cache_resource(show_spinner=False)
def _model(path: str) -> keras.Model:
    network = load_facenet(path)
    spare_the_collector()
    return network


def spare_the_collector() -> None:
    """Streamlit collects garbage after every run: exempt what stays for good from being searched each time."""
    gc.collect()
    gc.freeze()


@st.cache_resource(show_spinner=False)
def _database(path: str, network: str) -> FaceDatabase:
    """The database. A new one is filled with the portraits in ``images/``, once: removed people stay removed."""
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


def decisions() -> Decisions:
    """The recent decisions of this process, in all sessions."""
    return _decisions(counts_path())


@st.cache_resource(show_spinner=False)
def _decisions(path: Path | None) -> Decisions:
    return Decisions(path=path)


def decided(
    kind: str, identity: str | None, distance: float, words: str, seconds: float, limit: float | None = None
) -> int:
    """Note a decision at a threshold (by default the slider's), and that this session asked for it; its number."""
    number = decisions().add(kind, identity, distance, threshold() if limit is None else limit, words, seconds)
    st.session_state.setdefault("asked", deque(maxlen=1000)).append(number)
    return number


def asked_here(number: int) -> bool:
    """Whether this browser session asked for a decision."""
    return number in st.session_state.get("asked", ())


@st.cache_resource(show_spinner="Loading the twins …")
def _comparer(path: str) -> Comparer:
    comparer = Comparer(_model(path))
    spare_the_collector()
    return comparer


def comparer() -> Comparer:
    """The two networks that compare pictures."""
    return _comparer(network_path())


@st.cache_data(show_spinner=False)
def rates(network: str) -> pd.DataFrame | None:
    """The error rates of a network at each threshold, as measured on LFW; None if it was never measured."""
    path = ROOT / "docs" / "results" / f"lfw_{in_project(network).name}_rates.csv"
    return pd.read_csv(path).query("people == 'train'") if path.exists() else None


class Changes:
    """Counts the changes of the database: results from before a change are out of date."""

    count = 0


@st.cache_resource(show_spinner=False)
def changes() -> Changes:
    """The counter of this process."""
    return Changes()


def gone(name: str) -> str:
    """Says that someone else has removed or renamed a person meanwhile."""
    return f"{name} is no longer known under this name: the person was removed or renamed in another window."


def state() -> tuple[int, int]:
    """A value that differs after the people have changed."""
    return changes().count, len(database())


def opened(data: bytes, name: str) -> np.ndarray:
    """The photo in an uploaded file, (H, W, 3) uint8, upright, small enough to be searched quickly.

    Args:
        data: The bytes of the file; its name and its claimed type do not count.
        name: What an error calls it.

    Raises:
        UnreadableImage: If it is not a picture that can be opened, or is too large.
    """
    with TURNS:
        return smaller(load_image(named(data, one_line(name))), LONGEST_SIDE)


def one_line(name: str) -> str:
    """An untrusted name as one visible line of at most 80 letters."""
    shown = printable(name)
    return (shown if len(shown) <= 80 else f"{shown[:79]}…") or "a file without a name"


def printable(text: str) -> str:
    """An untrusted text with a sign in place of what can't be seen."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


@contextmanager
def watch() -> Iterator[Callable[[], float]]:
    """A stopwatch: called, it gives the seconds since the block began; it stops when the block ends."""
    began, ended = time.perf_counter(), None
    yield lambda: (ended or time.perf_counter()) - began
    ended = time.perf_counter()


def threshold() -> float:
    """The slider's threshold for one comparison; at first the network's own."""
    return float(st.session_state.get("threshold", model().facenet.threshold))


def threshold_among() -> float:
    """The threshold for a comparison with everyone: the network's own for so many people, until the slider is moved."""
    own = model().facenet.threshold
    if abs(threshold() - own) > 1e-9:
        return threshold()
    return threshold_for(model(), people=max(1, len(database())))


def end_live() -> None:
    """Release what the Live page holds."""
    recogniser = st.session_state.pop("live_recogniser", None)
    for key in ("live_answer", "live_last", "live_taken"):
        st.session_state.pop(key, None)
    if recogniser is not None:
        recogniser.close()
