"""Clean the pictures to train with: find copies, and pictures that seem to show another person.

    clean ─► a report and contact sheets ─► you delete rows of pictures to keep ─► apply (undo moves everything back)

``clean`` moves nothing. People to validate or to test with are never cleaned: a test without its difficult pictures
would be too easy.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from facerec._files import in_project, whole, write_table
from facerec.detection import resize_face
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument, FaceError
from facerec.learning.datasets import find_people
from facerec.learning.pairs import load_faces
from facerec.learning.prepare import reason_for
from facerec.learning.selection import PARTS, is_person_name, read_edited_table
from facerec.networks import DEFAULT_NETWORK, info_of, load_facenet
from facerec.photos import load_image, save_picture

#: The columns of a report.
CLEAN_COLUMNS = ("picture", "reason", "distance", "copy_of")

#: The side of a picture on a contact sheet, in pixels, and the rows on a sheet.
TILE, ROWS = 128, 8

#: The encodings of copies are nearer than this. A face of CelebA that was saved again at quality 50, or moved by 1 %,
#: moved by at most 0.27 (1,018 faces). Among 4,069 faces the hashes of 143 pairs differ in 6 bits or fewer; the network
#: confirms 67 of them.
NEAR = 0.3


def clean(
    faces: Path,
    network: str = DEFAULT_NETWORK,
    bits: int = 6,
    limit: float = 3.5,
) -> pd.DataFrame:
    """List copies, and pictures that seem to show another person; nothing is moved.

    Copies have hashes (``hash_of``) that differ in few bits and encodings nearer than ``NEAR``. The first of several
    copies of one person is not listed; copies under two names are all listed. A picture seems to show another person
    if its encoding is nearer to another person's centre than to its own, or unusually far from its own. A centre is the
    median of a person's encodings.

    Args:
        faces: A folder of aligned faces with a folder per person, as ``preprocess`` writes it.
        network: The network of the encodings.
        bits: The number of bits, of 64, in which the hashes of copies may differ.
        limit: How far from its own centre a picture may be: this many robust standard deviations (1.4826 times the
            median absolute deviation) above the median distance.

    Returns:
        The report, also written to ``<faces>_removed/clean.csv`` beside its contact sheets: ``picture`` (relative to
        ``faces``), ``reason``, ``distance`` (to the copy, or to the person's centre) and ``copy_of``.

    Raises:
        BadArgument: If the people are not there to train with, or none of their pictures can be used.
    """
    faces, removed = check_train(faces), removed_folder(faces)
    people = find_people(faces)
    names = [Path(picture).relative_to(faces).as_posix() for picture in people.picture]
    model = load_facenet(network)
    hashes, encodings, problems = look(people.picture.tolist(), model, removed / ".looked_at")
    good = np.flatnonzero(problems == "")
    if len(good) == 0:
        raise BadArgument(f"{faces}: none of {len(names):,} pictures can be used; the first: {problems[0]}")
    who, persons = pd.factorize(people.identity.iloc[good])
    copies = judge_copies(find_copies(hashes[good], encodings[good], bits), who, np.array(names)[good])
    strangers, distances = judge_strangers(encodings[good], who, list(persons), limit)
    found = {good[i]: reason for i, reason in (strangers | copies).items()}
    found |= {i: (f"can't be used: {problems[i]}", "", "") for i in np.flatnonzero(problems != "")}
    report = pd.DataFrame([(names[i], *found[i]) for i in sorted(found)], columns=CLEAN_COLUMNS)
    typical = typical_of(people.identity.iloc[good], np.array(names)[good], distances, set(report.picture))
    draw_sheets(faces, report, typical, removed / "sheets")
    write_table(removed / "clean.csv", report)
    shutil.rmtree(removed / ".looked_at", ignore_errors=True)
    return report


def check_train(faces: Path) -> Path:
    """The resolved folder, if ``clean`` may work on it.

    Raises:
        BadArgument: If it is not a folder, or holds several parts, or people to validate or to test with.
    """
    faces = in_project(faces)
    if not faces.is_dir():
        raise BadArgument(f"{faces} is not a folder; clean moves pictures, which is impossible in a zip file")
    faces = faces.resolve()
    if faces.name.casefold() in PARTS.keys() - {"train"}:
        raise BadArgument(f"{faces.name}: only people to train with are cleaned; a test needs its difficult pictures")
    if (faces / "train").is_dir():
        raise BadArgument(f"{faces} holds the parts of a split; clean {faces / 'train'}")
    return faces


def removed_folder(faces: Path) -> Path:
    """The folder of the report, the contact sheets and the moved pictures: beside ``faces``."""
    return faces.with_name(f"{faces.name}_removed")


def hash_of(face: np.ndarray) -> np.uint64:
    """A perceptual hash: 64 bits that hardly change when a picture is saved again, resized or made brighter.

    A bit says whether one of the 64 lowest frequencies of a small grey copy is above their median.

    Args:
        face: (S, S, 3) uint8 RGB.

    Example:
        >>> face = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8).repeat(12, 0).repeat(12, 1)
        >>> int(np.bitwise_count(hash_of(face) ^ hash_of(face // 2 + 60))) <= 2
        True

    Source:
        After the library pHash: Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010.
    """
    grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(grey.astype(np.float32))[:8, :8].ravel()
    return np.packbits(low > np.median(low[1:])).view(np.uint64)[0]


def look(pictures: list[str], model, memory: Path, chunk: int = 512) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read each picture once: its hash, its encoding, and its problem, if any.

    Args:
        pictures: Paths of m aligned faces.
        model: A network of ``load_facenet``.
        memory: A folder for finished chunks, from which a run that was killed resumes.
        chunk: Pictures in memory at once.

    Returns:
        Hashes (m,) uint64, encodings (m, D) float32 and problems (m,) text, empty where there is none.
    """
    seen = []
    with tqdm(total=len(pictures), desc="encoding", unit="picture") as bar:
        for start in range(0, len(pictures), chunk):
            part = pictures[start : start + chunk]
            seen.append(_remembered(memory / f"{start:08d}.npz", part, model))
            bar.update(len(part))
    return tuple(np.concatenate([part[what] for part in seen]) for what in ("hashes", "encodings", "problems"))


def _remembered(file: Path, pictures: list[str], model) -> dict[str, np.ndarray]:
    """The result of ``_look_at``, read from ``file`` if the pictures have not changed."""
    key = np.array([info_of(model).name, *(f"{path} {os.stat(path).st_mtime_ns}" for path in pictures)])
    if file.is_file():
        with np.load(file) as kept:
            if np.array_equal(kept["key"], key):
                return dict(kept)
    found = _look_at(pictures, model)
    with whole(file) as unfinished:
        np.savez(unfinished, key=key, **found)
    return found


def _look_at(pictures: list[str], model) -> dict[str, np.ndarray]:
    """Hashes, encodings and problems of some pictures."""
    faces, wrong = load_faces(pictures, info_of(model).side)
    problems = [reason_for(wrong[i], path) if i in wrong else "" for i, path in enumerate(pictures)]
    return {
        "hashes": np.array([hash_of(face) for face in faces]),
        "encodings": faces_to_encodings(faces, model),
        "problems": np.array(problems, dtype=str),
    }


def find_copies(hashes: np.ndarray, encodings: np.ndarray, bits: int, block: int = 128) -> list[tuple[int, int, float]]:
    """All pairs (i, j, distance), i < j, whose hashes differ in at most ``bits`` and whose encodings are near.

    Every picture is compared with every other: 100,000 take about a minute, and the memory of one block.
    """
    pairs = []
    for start in tqdm(range(0, len(hashes), block), desc="comparing", unit="block", leave=False):
        differ = np.bitwise_count(hashes[start : start + block, None] ^ hashes[None, start:])
        i, j = np.nonzero(np.triu(differ <= bits, 1))
        distances = np.linalg.norm(encodings[i + start] - encodings[j + start], axis=1)
        near = distances < NEAR
        pairs += zip((i[near] + start).tolist(), (j[near] + start).tolist(), distances[near].tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


def judge_copies(
    pairs: Iterable[tuple[int, int, float]], who: np.ndarray, names: Sequence[str]
) -> dict[int, tuple[str, str, str]]:
    """The pictures to remove as copies: number → (reason, distance, copy of)."""
    pairs = list(pairs)
    found: dict[int, tuple[str, str, str]] = {}
    for i, j, distance in pairs:
        if who[i] == who[j] and i not in found and j not in found:
            found[j] = ("a copy", f"{distance:.3f}", names[i])
    for i, j, distance in pairs:
        if who[i] != who[j]:
            found[i] = ("a copy under another name", f"{distance:.3f}", names[j])
            found[j] = ("a copy under another name", f"{distance:.3f}", names[i])
    return found


def judge_strangers(
    encodings: np.ndarray, who: np.ndarray, persons: Sequence[str], limit: float, block: int = 1024
) -> tuple[dict[int, tuple[str, str, str]], np.ndarray]:
    """The pictures that seem to show another person: number → (reason, distance, ""); and all distances (m,)."""
    centres = np.stack([np.median(encodings[who == person], axis=0) for person in range(len(persons))])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)
    own, nearest, person = np.zeros(len(who)), np.zeros(len(who)), np.zeros(len(who), int)
    for start in range(0, len(who), block):
        part = slice(start, start + block)
        distances = np.sqrt(np.maximum(0, 2 - 2 * encodings[part] @ centres.T))  # all have unit length
        rows = np.arange(len(distances))
        own[part] = distances[rows, who[part]]
        distances[rows, who[part]] = np.inf
        nearest[part], person[part] = distances.min(axis=1), distances.argmin(axis=1)
    usual = np.median(own)
    farthest = usual + limit * 1.4826 * np.median(np.abs(own - usual))  # 1.4826: as for a normal distribution
    found = {i: ("far from its person", f"{own[i]:.3f}", "") for i in np.flatnonzero(own > farthest)}
    for i in np.flatnonzero(nearest < own):
        found[i] = (f"nearer to {persons[person[i]]} ({nearest[i]:.3f})", f"{own[i]:.3f}", "")
    return found, own


def typical_of(
    identities: pd.Series, names: Sequence[str], distances: np.ndarray, suspicious: set[str]
) -> dict[str, list[str]]:
    """The three unsuspicious pictures of each person that are nearest to their centre."""
    table = pd.DataFrame({"identity": identities.to_numpy(), "name": names, "distance": distances})
    table = table[~table.name.isin(suspicious)].sort_values("distance", kind="stable")
    return table.groupby("identity").name.apply(lambda pictures: pictures.head(3).tolist()).to_dict()


def draw_sheets(faces: Path, report: pd.DataFrame, typical: Mapping[str, list[str]], to: Path) -> None:
    """Draw contact sheets: each picture of the report beside its copy, or beside typical pictures of its person."""
    rows = report.to_dict("records")
    with whole(to) as unfinished:
        unfinished.mkdir()
        for start in tqdm(range(0, len(rows), ROWS), desc="sheets", unit="page", leave=False):
            page = np.concatenate([draw_row(faces, row, typical) for row in rows[start : start + ROWS]])
            save_picture(unfinished / f"page_{start // ROWS + 1:03d}.jpg", page)


def draw_row(faces: Path, row: Mapping[str, str], typical: Mapping[str, list[str]]) -> np.ndarray:
    """Draw one picture of the report beside the pictures to compare it with; (H, W, 3) uint8."""
    person = row["picture"].split("/")[0]
    others = [row["copy_of"]] if row["copy_of"] else typical.get(person, [])
    sheet = Image.new("RGB", (4 * (TILE + 8) + 40, TILE + 44), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    distance = f", {row['distance']}" if row["distance"] else ""
    draw.text((8, 4), f"{row['picture']}: {row['reason']}{distance}"[:90], "black", font)
    beside = f"its copy: {row['copy_of']}" if row["copy_of"] else f"typical of {person}" if others else ""
    draw.text((TILE + 40, 20), beside[:60], "#555555", font)
    for number, picture in enumerate([row["picture"], *others]):
        left = 8 + number * (TILE + 8) + (24 if number else 0)
        sheet.paste(_tile(faces / picture), (left, 38))
    return np.asarray(sheet)


def _tile(picture: Path) -> Image.Image:
    """A picture as a square tile; grey if it can't be opened."""
    try:
        return Image.fromarray(resize_face(load_image(picture), TILE))
    except FaceError:
        return Image.new("RGB", (TILE, TILE), "#bbbbbb")


def apply(faces: Path) -> int:
    """Move the pictures of the report to ``<faces>_removed/pictures``.

    Delete a row of the report to keep its picture. Pictures that were moved before stay moved.

    Returns:
        The number of pictures that were moved.

    Raises:
        BadArgument: If there is no report, it lists a missing picture, or a file would be overwritten.
    """
    faces = check_train(faces)
    report = removed_folder(faces) / "clean.csv"
    table = read_edited_table(report, ("picture",), "clean")
    for number, picture in enumerate(table.picture):
        person, _, name = picture.partition("/")
        there = is_person_name(person) and is_person_name(name)
        if not there or not ((faces / picture).is_file() or (removed_folder(faces) / "pictures" / picture).is_file()):
            raise BadArgument(f"{report}, line {number + 2}: there is no picture {picture!r} in {faces}")
    return _move(table.picture, faces, removed_folder(faces) / "pictures")


def undo(faces: Path) -> int:
    """Move everything back that ``apply`` moved.

    Returns:
        The number of pictures that were moved.

    Raises:
        BadArgument: If a file would be overwritten.
    """
    faces = check_train(faces)
    away = removed_folder(faces) / "pictures"
    moved = _move(sorted(file.relative_to(away).as_posix() for file in away.glob("*/*")), away, faces)
    for folder in away.glob("*"):
        if not any(folder.iterdir()):
            folder.rmdir()
    return moved


def _move(names: Iterable[str], source: Path, to: Path) -> int:
    """Move files from one folder to another, each in one step, and never over an existing file."""
    names = [name for name in dict.fromkeys(names) if (source / name).is_file()]
    if taken := [name for name in names if (to / name).exists()]:
        raise BadArgument(f"{to / taken[0]} exists and is not overwritten; nothing was moved")
    for name in tqdm(names, desc=to.name, unit="picture"):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / name, to / name)
    return len(names)
