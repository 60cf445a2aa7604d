"""Every function of fr_utils answers arguments of the wrong kind with an error of this project."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest

import fr_utils
from facerec.errors import FaceError

WRONG = {
    "text": "nothing of that name",
    "nothing": None,
    "a number": 3,
    "a list": [1],
    "a dict": {"one": 1},
    "an array": np.zeros((2, 2)),
    "a network that was never called": keras.Sequential([keras.layers.Dense(3)]),
    "a network of grey pictures": keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]),
    "a network with two outputs": keras.Model(face := keras.Input((8, 8, 3)), [keras.layers.Flatten()(face)] * 2),
    "a class": dict,
}

#: What may be None, or anything that is true or false.
OPTIONAL = {"threshold", "aligned", "progress", "into", "prior", "scaling", "side", "skip", "numbered", "top"}


@pytest.fixture(scope="module")
def right(images, network, database) -> dict:
    """A good value for every argument."""
    photo = images / "lena.jpg"
    good = {"photo": photo, "image_path": photo, "source": photo, "identity": "lena", "database": database}
    return good | {"model": network, "folder": images, "path": "weights/resnet"}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("name", fr_utils.__all__)
def test_wrong_kinds_of_arguments_are_answered_with_an_error_of_the_project(name, wrong, right, monkeypatch):
    monkeypatch.setattr(fr_utils, "say", lambda text: pytest.fail(f"{name} decided: {text}"))
    function = getattr(fr_utils, name)
    for argument in inspect.signature(function).parameters:
        if argument in OPTIONAL or (argument in ("photo", "source") and isinstance(wrong, np.ndarray)):
            continue  # four grey pixels are a picture
        given = {key: right[key] for key in inspect.signature(function).parameters if key in right}
        with pytest.raises(FaceError) as caught:
            function(**given | {argument: wrong})
        assert 10 < len(str(caught.value)) < 400, argument
