"""Re-encode everyone, from their kept photos, for another network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from facerec.database.engine import Engine
from facerec.database.entries import check_encodings, how_many
from facerec.database.pictures import unpack
from facerec.errors import BadArgument, FaceError

Encode = Callable[[np.ndarray], np.ndarray]  # photo (H, W, 3) uint8 → encoding (D,)


def encode_anew(
    engine: Engine, network: str, dimension: int | None, encode: Encode, refuse: bool, progress: bool
) -> list[tuple[str, str]]:
    """Give everyone in an engine encodings of another network, all in one step.

    Args:
        engine: Whose people and photos they are.
        network: The new network's fingerprint.
        dimension: Its D, if that is known.
        encode: Photo → encoding.
        refuse: Whether it is an error that no photo of a person can be encoded; else such people are removed.
        progress: Whether to show a progress bar.

    Returns:
        Name and reason of each person who was removed.

    Raises:
        BadArgument: If a person can't be encoded, and ``refuse``; or ``encode`` gives something else than encodings.
    """
    done: dict[bytes, np.ndarray | FaceError] = {}  # by digest: after a change meanwhile only new photos are encoded
    while True:
        state = engine.state()
        people, lost = _encode_all(engine, encode, dimension, done, progress)
        if lost and refuse:
            names = ", ".join(repr(name) for name, _ in lost[:5])
            raise BadArgument(f"{how_many(len(lost))} can't be re-encoded: {names} ({lost[0][1]}); nothing was changed")
        dimension = dimension or next((encodings.shape[1] for encodings in people.values()), None)
        if engine.replace_all(state, network, dimension, people, [name for name, _ in lost]):
            return lost


def _encode_all(
    engine: Engine, encode: Encode, dimension: int | None, done: dict, progress: bool
) -> tuple[dict[str, np.ndarray], list[tuple[str, str]]]:
    """The new encodings of each person, and who has none and why."""
    from tqdm.auto import tqdm

    people, lost = {}, []
    for name in tqdm(list(engine.names()), desc="re-encoding", unit="person", disable=not progress):
        reason, encodings = "no photo is kept", []
        for jpeg, _ in engine.pictures(name):
            key = hashlib.sha256(jpeg).digest()
            if key not in done:
                done[key] = _encoded(encode, jpeg, dimension, name)
            if isinstance(done[key], FaceError):
                reason = str(done[key])
            else:
                encodings.append(done[key])
        if encodings:
            people[name] = np.concatenate(encodings)
        else:
            lost.append((name, reason))
    return people, lost


def _encoded(encode: Encode, jpeg: bytes, dimension: int | None, name: str) -> np.ndarray | FaceError:
    """The encoding of a photo, (1, D), or why there is none."""
    try:
        encoding = encode(unpack(jpeg, f"a kept photo of {name!r}"))
    except FaceError as error:
        return error
    return check_encodings(encoding, dimension, f"the new encoding of {name}")
