"""Encodings that a network made of the pictures in ``images/`` beforehand, so that an exercise needs no network.

    model = stored_network()
    img_to_encoding("images/lena.jpg", model)     # looked up: (128,)

``python tools/upkeep/exercises.py encode`` makes them with ``weights/resnet``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facerec._files import in_project
from facerec.errors import UnreadableImage

if TYPE_CHECKING:
    import keras

#: Where the encodings are.
FILE = Path(__file__).with_name("images.npz")


class StoredNetwork:
    """A stand-in for a network: it knows the encodings of some pictures by their names.

    Args:
        encodings: The file name of a picture → its encoding.
    """

    def __init__(self, encodings: Mapping[str, np.ndarray]):
        self.encodings = dict(encodings)

    def __repr__(self) -> str:
        return f"StoredNetwork of {len(self.encodings)} pictures"


def stored_network() -> StoredNetwork:
    """The stand-in that knows every picture of ``images/`` with one face.

    Example:
        >>> stored_network()
        StoredNetwork of 33 pictures
    """
    with np.load(FILE, allow_pickle=False) as kept:
        return StoredNetwork(dict(zip(kept["pictures"].tolist(), kept["encodings"], strict=True)))


def answers() -> dict[str, str | None]:
    """Who is on each picture of the camera, and on the lookalike's: a name, or None for a stranger.

    Example:
        >>> answers()["camera_0.jpg"], answers()["lookalike.jpg"]
        ('lena', None)
    """
    everyone = json.loads(in_project("images/answers.json").read_text(encoding="utf-8"))
    return {picture: who for picture, who in everyone.items() if not isinstance(who, list)}


def img_to_encoding(image_path: str | Path, model: StoredNetwork | keras.Model) -> np.ndarray:
    """The encoding of the face in a picture, as ``fr_utils.img_to_encoding`` gives it.

    Args:
        image_path: The picture.
        model: A ``StoredNetwork``, which looks the encoding up; or a network, which computes it.

    Returns:
        (128,) of unit length.

    Raises:
        UnreadableImage: If the stand-in does not know the picture.

    Example:
        >>> img_to_encoding("images/lena.jpg", stored_network()).shape
        (128,)
    """
    if not isinstance(model, StoredNetwork):
        from facerec.encoding import img_to_encoding as encode

        return encode(image_path, model)
    if Path(image_path).name not in model.encodings:
        raise UnreadableImage(f"{image_path}: the {model!r} does not know it; a network of load_facenet() would look")
    return model.encodings[Path(image_path).name]
