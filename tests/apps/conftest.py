"""What the tests of the apps share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from apps.api.app import create_app
from apps.api.service import Service
from facerec._quiet import quietly
from facerec.database import FaceDatabase
from facerec.detection import TEMPLATE

with quietly():
    import keras

from facerec.learning.siamese import load_siamese


@pytest.fixture(scope="session")
def twins() -> tuple:
    """The shipped twins, and their threshold."""
    return load_siamese()


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Streamlit makes each page the module ``__main__``; a process that a later test spawns would run that page."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="module")
def toy_model() -> keras.Model:
    """A network whose encoding is four pixels, (m, 2, 2, 3) → (m, 12)."""
    pixels = keras.Input((2, 2, 3))
    return keras.Model(pixels, keras.layers.UnitNormalization()(keras.layers.Flatten()(pixels)), name="pixels")


@pytest.fixture(scope="module")
def toy(toy_model, tmp_path_factory) -> Iterator[FastAPI]:
    """The API with that network, a detector that sees a face in every picture, and no one in its database."""

    def load(service: Service) -> None:
        service._model, service._people = toy_model, FaceDatabase(":memory:", toy_model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Service, "load", load)
        patch.setattr("facerec.detection.detect_faces", one_face)
        yield create_app(":memory:", "", tmp_path_factory.mktemp("toy") / "keys.json", rate="1000000 per minute")


def one_face(photo, *_, **__) -> list[dict]:
    """A detector that finds one face in every picture."""
    height, width = photo.shape[:2]
    points = {name: (x * width, y * height) for name, (x, y) in TEMPLATE.items()}
    return [{"box": (0, 0, width, height), "keypoints": points, "score": 1.0, "turn": 0}]
