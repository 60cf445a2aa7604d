"""Checks of what happens at the door: verify, who_is_it, and the choice of a threshold.

The people here are points in a plane, so every distance can be followed by hand.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from facerec.course.stored import StoredNetwork
from facerec.course.verdict import alike, call, explain, pair_of, short, well_done
from facerec.errors import NotYet, UnknownIdentity, UnreadableImage

#: The hidden database, in this order.
DATABASE = {
    "mei": np.array([0.4, 0.5]),
    "kofi": np.array([-0.9, 0.0]),
    "lena": np.array([0.9, 0.0]),
    "otto": np.array([0.0, 0.9]),
}

#: What the hidden camera saw.
PICTURES = {
    "lena_today.jpg": np.array([0.8, 0.2]),  # 0.22 from lena, 0.5 from mei
    "lena_in_the_rain.jpg": np.array([0.5, -0.1]),  # 0.41 from lena
    "kofi_today.jpg": np.array([-0.8, 0.1]),
    "stranger.jpg": np.array([0.1, -1.5]),  # nearest to lena, 1.7 away
}
MODEL = StoredNetwork(PICTURES)


def _distances(picture: str) -> dict[str, float]:
    """How far a picture is from each person."""
    return {name: float(np.linalg.norm(PICTURES[picture] - known)) for name, known in DATABASE.items()}


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _answer(function: Callable, *args: Any, **given: float) -> Any:
    """What a student's function returns; if it looked past its arguments, the refusal says so."""
    try:
        return call(function, *args, **given)
    except NotYet as error:
        cause = str(error.__cause__)
        if isinstance(error.__cause__, UnreadableImage):
            raise NotYet("give img_to_encoding the two arguments as they are, image_path and model: the check has "
                         "pictures and a network of its own") from error  # fmt: skip
        if isinstance(error.__cause__, UnknownIdentity) and isinstance(args[1], str):  # verify, with a known name
            raise NotYet("raise UnknownIdentity only for a name that is not in the database") from error
        if isinstance(error.__cause__, UnknownIdentity):
            raise NotYet("a stranger is not a mistake here: return distance, None and raise nothing") from error
        if "(128,)" in cause:  # the notebook's encodings; those of the check are (2,)
            raise NotYet(f"{error}. Use the argument database: the check has people of its own") from error
        raise


# ------------------------------------------------------------------------------------------------ verify
def _verified(function: Callable, picture: str, identity: str, **given: float) -> tuple[Any, bool]:
    """What a student's verify answers: a distance and a decision."""
    value = _answer(function, picture, identity, dict(DATABASE), MODEL, **given)
    distance, door_open = pair_of(value, "verify", "distance", "door_open")
    if _is_flag(distance) and not _is_flag(door_open):
        raise NotYet("the two answers are swapped: return distance, door_open")
    if not _is_flag(door_open):
        raise NotYet(f"door_open must be True or False; yours is {short(door_open)}")
    return distance, bool(door_open)


def _check_distance(distance: Any, picture: str, identity: str) -> None:
    """Refuse a distance that is not the Euclidean one to the claimed person."""
    if np.ndim(distance):
        raise NotYet(f"a distance is one number, the length of the difference (np.linalg.norm); yours has the shape "
                     f"{np.shape(distance)}")  # fmt: skip
    difference = PICTURES[picture] - DATABASE[identity]
    every = _distances(picture)
    wrong = {
        "the distance is squared: take the root, or np.linalg.norm": np.square(difference).sum(),
        "the distance is the sum of the absolute differences; the course takes the Euclidean one": np.abs(
            difference
        ).sum(),
        "that is the distance to the nearest person; verify asks about the claimed one, database[identity]": min(
            every.values()
        ),
        "that is the difference of two lengths; take the length of the difference, np.linalg.norm(one - other)": (
            np.linalg.norm(PICTURES[picture]) - np.linalg.norm(DATABASE[identity])
        ),
        "that is a dot product; the course takes the length of the difference": PICTURES[picture] @ DATABASE[identity],
    }
    places = f"a picture at {PICTURES[picture]} and {identity} at {DATABASE[identity]}"
    explain(distance, every[identity], wrong, f"{places} are {every[identity]:.2f} apart; yours says {short(distance)}")


def verify(function: Callable) -> None:
    """Check exercise 2: ``verify(image_path, identity, database, model, threshold=0.7)``.

    Raises:
        NotYet: If it is not right; the message says what is missing.
    """
    for picture, identity in (("lena_today.jpg", "lena"), ("lena_today.jpg", "otto"), ("lena_in_the_rain.jpg", "mei")):
        distance, door_open = _verified(function, picture, identity)
        _check_distance(distance, picture, identity)
        if door_open != (distance < 0.7):
            raise NotYet(f"at a distance of {distance:.2f} your door_open is {door_open}: it must be True below the "
                         "threshold, 0.7, and False otherwise")  # fmt: skip
    far, _ = _verified(function, "lena_today.jpg", "lena", threshold=0.1)
    if _verified(function, "lena_today.jpg", "lena", threshold=0.1)[1]:
        raise NotYet(f"with threshold=0.1 the door opened at {far:.2f}: compare with the argument, not with 0.7")
    if _verified(function, "lena_today.jpg", "lena", threshold=far)[1]:
        raise NotYet("a distance of exactly the threshold must not open the door: use < and not <=")
    _check_unknown(function)
    well_done("verify is right: below the threshold only, and an unknown name is an error")


def _check_unknown(function: Callable) -> None:
    """Refuse anything but UnknownIdentity for a name that is not in the database."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            value = function("lena_today.jpg", "leena", dict(DATABASE), MODEL)
    except UnknownIdentity as error:
        if not str(error):
            raise NotYet(
                'tell the person at the door what is wrong: raise UnknownIdentity("…") with a sentence'
            ) from None
        return
    except KeyError:
        raise NotYet(
            "for a name that is not in the database yours stops with Python's KeyError, which tells the person at the "
            "door nothing: raise UnknownIdentity with a sentence"
        ) from None
    except Exception as error:
        raise NotYet(f"an unknown name must raise UnknownIdentity; yours raised {type(error).__name__}") from error
    raise NotYet(f"'leena' is not in the database, and yours answered {short(value)}: raise UnknownIdentity")


# ------------------------------------------------------------------------------------------------ who_is_it
def _recognised(function: Callable, picture: str, people: list[str], **given: float) -> tuple[Any, Any]:
    """What a student's who_is_it answers among these people, in this order."""
    value = _answer(function, picture, {name: DATABASE[name] for name in people}, MODEL, **given)
    distance, identity = pair_of(value, "who_is_it", "distance", "identity")
    if isinstance(distance, str) or (isinstance(identity, Real) and not _is_flag(identity)):
        raise NotYet("the two answers are swapped: return distance, identity")
    return distance, identity


def who_is_it(function: Callable) -> None:
    """Check exercise 3: ``who_is_it(image_path, database, model, threshold=0.7)``.

    Raises:
        NotYet: If it is not right; the message says what is missing.
    """
    for people in (list(DATABASE), list(DATABASE)[::-1]):
        for picture, name in (("lena_today.jpg", "lena"), ("kofi_today.jpg", "kofi")):
            for given in ({"threshold": 3.0}, {}):  # everyone is near enough, or one is
                _check_nearest(*_recognised(function, picture, people, **given), picture, name, people)
    distance, identity = _recognised(function, "stranger.jpg", list(DATABASE))
    if identity is not None:
        raise NotYet(f"a stranger must give None; you gave {short(identity)}")
    if not alike(distance, min(_distances("stranger.jpg").values())):
        raise NotYet(f"for a stranger, too, return the distance to the nearest person; yours is {short(distance)}")
    near, _ = _recognised(function, "lena_today.jpg", list(DATABASE))
    if _recognised(function, "lena_today.jpg", list(DATABASE), threshold=0.1)[1] is not None:
        raise NotYet(f"with threshold=0.1 a person at {near:.2f} got a name: compare with the argument, not with 0.7")
    if _recognised(function, "lena_today.jpg", list(DATABASE), threshold=near)[1] is not None:
        raise NotYet("a distance of exactly the threshold must not give a name: use < and not <=")
    well_done("who_is_it is right: the nearest person, or None if even that one is not near enough")


def _check_nearest(distance: Any, identity: Any, picture: str, name: str, people: list[str]) -> None:
    """Refuse any name but the nearest person's, and any distance but theirs."""
    every = _distances(picture)
    wrong = {
        "you took the farthest person; take the nearest": max(every, key=every.get),
        "you took the first person who is near enough; another one is nearer": people[0],
        "you took the last person of the database; keep a name only if it is nearer than all before it": people[-1],
        f"{name} is {every[name]:.2f} away, and got no name": None,
    }
    otherwise = f"the nearest person is {short(name)}; you gave {short(identity)}"
    explain(identity, name, wrong, otherwise, same=lambda one, other: one is other or one == other)
    wrong = {"the distance is squared: take the root, or np.linalg.norm": every[name] ** 2}
    explain(distance, every[name], wrong, f"{name} is {every[name]:.2f} away; you gave {short(distance)}")


# ------------------------------------------------------------------------------------------------ the threshold
def choose_threshold(function: Callable) -> None:
    """Check exercise 4: ``choose_threshold(owners, impostors)``, a threshold and the share of owners that it lets in.

    Raises:
        NotYet: If it is not right; the message says what is missing.
    """
    rng = np.random.default_rng(2)
    easy = (np.array([0.2, 0.3, 0.4]), np.array([0.8, 0.9]))
    hard = (np.append(rng.uniform(0.3, 0.9, 29), 0.599), np.append(rng.uniform(0.7, 1.3, 8), 0.6))
    faceless = [(np.append(hard[0], np.nan), hard[1]), (hard[0], np.append(hard[1], np.nan))]
    tied = (np.array([0.2, 0.4, 0.6177, 0.9]), np.array([0.6177, 0.9]))  # an owner as far as the nearest impostor
    for owners, impostors in (hard, easy, *faceless, tied):
        value = call(function, owners.copy(), impostors.copy())
        _check_choice(*pair_of(value, "choose_threshold", "threshold", "share"), owners, impostors)
    well_done("choose_threshold is right: it keeps every impostor out, and no other threshold lets more owners in")


def _check_choice(threshold: Any, share: Any, owners: np.ndarray, impostors: np.ndarray) -> None:
    """Refuse a threshold that lets an impostor in, or needlessly few owners."""
    nearest = np.nanmin(impostors)
    if not np.isscalar(threshold) or np.isnan(threshold):
        raise NotYet("your threshold is NaN, which lets no one in: it stands for a picture without a face, and "
                     "np.nanmin skips it")  # fmt: skip
    if threshold == np.nanmax(impostors):
        raise NotYet("you took the farthest impostor; the nearest one is the one who gets in first")
    if threshold > nearest:
        raise NotYet(f"{threshold:.6g} lets an impostor at {nearest:.6g} in")
    inside, possible = (owners < threshold).sum(), (owners < nearest).sum()
    if inside < possible:
        raise NotYet(f"{threshold:.3f} keeps every impostor out, but so does {nearest:.3f}, which is not below itself; "
                     f"there, {possible} owners get in instead of {inside}")  # fmt: skip
    wrong = {
        "return the share of owners, not their number: divide by how many owners there are": inside,
        "that is the share of owners who are kept out; return the share who get in": 1 - inside / len(owners),
        "an owner whose face was not found (NaN) is kept out, and still an owner: divide by all of them": inside
        / np.isfinite(owners).sum(),
        "return the share of owners only: you counted the impostors as well": inside / (len(owners) + len(impostors)),
        "an owner at the threshold itself stays outside: use < and not <=": (owners <= threshold).mean(),
    }
    right = inside / len(owners)
    wrong["return a share between 0 and 1, not a percentage"] = 100 * right
    explain(share, right, wrong, f"{inside} of {len(owners)} owners are below {threshold:.3f}: {right:.3f}; you gave "
                                 f"{short(share)}")  # fmt: skip
