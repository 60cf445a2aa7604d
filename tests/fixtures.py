"""What many tests share: the pictures, who is on them, the shipped network, and the database of the portraits.

Everything here is made once per session and must not be changed by a test.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from filelock import FileLock

from facerec._files import ROOT
from facerec._quiet import quietly
from facerec.detection import Detection, detect_faces_batch
from facerec.enrol import build_database
from facerec.networks import load_facenet, save_network
from facerec.photos import load_image

with quietly():
    import keras
    import tensorflow


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[], Any]], Any]:
    """Make something in the first process of a run that needs it; the others read what it made."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def made(name: str, make: Callable[[], Any]) -> Any:
        path = folder / f"{name}.pickle"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                path.write_bytes(pickle.dumps(make()))
        return pickle.loads(path.read_bytes())

    return made


@pytest.fixture(scope="session")
def images() -> Path:
    """The folder of the people who do not exist."""
    return ROOT / "images"


@pytest.fixture(scope="session")
def answers(images) -> MappingProxyType:
    """Picture → who is on it: a name, None for a stranger, a list for the group photo."""
    return MappingProxyType(json.loads((images / "answers.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def photos(images) -> MappingProxyType:
    """Every picture of ``images/`` by its name without the ending, (H, W, 3) uint8, read-only."""
    loaded = {path.stem: load_image(path) for path in sorted(images.glob("*.jpg"))}
    for photo in loaded.values():
        photo.setflags(write=False)
    return MappingProxyType(loaded)


@pytest.fixture(scope="session")
def detections(photos, once) -> MappingProxyType:
    """What the detector finds on each of the photos: name → list of detections."""
    found: list[list[Detection]] = once("detections", lambda: detect_faces_batch(list(photos.values())))
    return MappingProxyType(dict(zip(photos, found, strict=True)))


@pytest.fixture(scope="session")
def network() -> keras.Model:
    """The shipped network."""
    return load_facenet("weights/resnet")


@pytest.fixture(scope="session")
def database(images, network, once) -> MappingProxyType:
    """Identity → encoding of the portraits in ``images/``."""
    known, unusable = once("database", lambda: build_database(images, network, progress=False))
    assert unusable.empty, unusable.to_string()
    return MappingProxyType(known)


@pytest.fixture
def kill_in_training():
    """Run a training in a process of its own, and kill it at a random moment after its first checkpoint."""

    def kill(training: Callable[[str], None], folder: Path, within: float) -> int:
        process = multiprocessing.get_context("spawn").Process(target=training, args=(str(folder),))
        process.start()
        deadline = time.monotonic() + 600  # only bounds a hang
        while time.monotonic() < deadline and not (folder / "checkpoint.npz").exists():
            time.sleep(0.05)
        time.sleep(np.random.default_rng().uniform(0, within))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        return process.exitcode

    return kill


@pytest.fixture(scope="module")
def eagerly() -> Iterator[None]:
    """TensorFlow draws up no graphs: in a toy training they take longer than all its steps."""
    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


@pytest.fixture
def in_graphs() -> Iterator[None]:
    """TensorFlow draws up graphs again, among tests with ``eagerly``: in a longer training they pay."""
    tensorflow.config.run_functions_eagerly(False)
    yield
    tensorflow.config.run_functions_eagerly(True)


@pytest.fixture
def small_network() -> keras.Model:
    """An untrained network that takes 8×8 faces: for what does not depend on good weights."""
    faces = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(faces))
    x = keras.layers.Dense(128, kernel_initializer=keras.initializers.RandomNormal(seed=1))(x)
    return keras.Model(faces, keras.layers.UnitNormalization(name="encoding")(x), name="small")


@pytest.fixture
def small_folder(small_network, tmp_path) -> Path:
    """The folder of the small network, for a test to damage."""
    save_network(small_network, tmp_path / "small", name="small")
    return tmp_path / "small"


@pytest.fixture
def picture() -> np.ndarray:
    """A small picture in which no two pixels and no two directions are alike, (6, 9, 3) uint8."""
    rng = np.random.default_rng(7)
    return rng.permutation(6 * 9 * 3).reshape(6, 9, 3).astype(np.uint8)
