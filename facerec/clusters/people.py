"""Photos → a table with a row per face: which faces show one person, and who it is if a database knows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from facerec._files import as_path, as_text
from facerec.clusters.linkage import cluster_encodings, distances_to_centres, number_by_size
from facerec.detection import align_face
from facerec.encoding import faces_to_encodings, find_all_faces
from facerec.errors import BadArgument, FaceError, kind_of
from facerec.gallery import open_gallery
from facerec.network_info import FaceNetInfo, check_model, info_of
from facerec.photos import files_in
from facerec.portraits import without_what_lies_beside

if TYPE_CHECKING:
    import keras

#: The columns of the table.
COLUMNS = ("photo", "face", "box", "turn", "cluster", "distance", "identity")


def cluster_photos(
    photos: str | os.PathLike | Sequence[str | os.PathLike],
    model: keras.Model,
    threshold: float | None = None,
    database: Mapping[str, np.ndarray] | None = None,
    progress: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find all faces of photos, and group those that show one person.

    Args:
        photos: A folder or zip file, of any depth, or a list of files.
        model: A network of ``load_facenet``.
        threshold: As for ``cluster_encodings``. None takes the one that was chosen for the network.
        database: Identity → encoding: people who have names. A cluster gets the name of the nearest one, if that is
            nearer than the threshold; clusters with one name become one.
        progress: False for no progress bar.

    Returns:
        table: A row per face, sorted by ``cluster`` (0 is the largest) and ``distance`` to its centre; also ``photo``
            (the path), ``face`` (its number in the photo, in reading order), ``box`` (x, y, width, height in pixels),
            ``turn`` (by how many degrees the photo must be turned clockwise for the face to be upright) and
            ``identity`` (None for a face without a name).
        problems: A table with a row (``file``, ``reason``) for every photo that could not be opened or shows no face.

    Raises:
        BadArgument: If the folder does not exist, the photos are not paths, or the threshold is not a number.
        EmptyDatabase: If the database is empty.
        OtherNetwork: If another network made the encodings of the database.
    """
    check_model(model)
    files, below = list_photos(photos)
    threshold = info_of(model).cluster_threshold if threshold is None else threshold
    gallery = None if database is None else open_gallery(database, model).ready()
    faces, encodings, problems = _encode_all(files, model, progress)
    cluster = cluster_encodings(encodings, threshold)
    names = np.full(len(cluster), None, object)
    if gallery is not None:
        cluster, names = _name(encodings, cluster, gallery, threshold)
    table = pd.DataFrame(faces, columns=list(COLUMNS[:4]))
    table["cluster"], table["identity"] = cluster, pd.Series(names, dtype=object)
    table["distance"] = distances_to_centres(encodings, cluster).round(5)  # rounding does not decide the order
    table = table.sort_values(["cluster", "distance"], kind="stable", ignore_index=True)
    rows = [
        (name := _name_below(file, below), as_text(str(error).replace(str(file), name))) for file, error in problems
    ]
    return table[list(COLUMNS)], pd.DataFrame(rows, columns=["file", "reason"])


def list_photos(photos: str | os.PathLike | Sequence[str | os.PathLike]) -> tuple[list[Path], Path | None]:
    """The paths of photos, and the folder that they were looked for in, if it was one.

    In a folder or zip file, whatever systems and cameras leave beside pictures is passed over.

    Raises:
        BadArgument: If there are none, or they are not paths.
    """
    if isinstance(photos, str | os.PathLike):
        source = as_path(photos)
        files = files_in(source)
        kept = without_what_lies_beside(files)
        if not kept:
            raise BadArgument(f"{source} holds no pictures")
        return [source / file for file in kept], source
    if not isinstance(photos, Sequence) or isinstance(photos, bytes):
        raise BadArgument(f"photos must be a folder, or a list of files; it is {kind_of(photos)}")
    return [as_path(photo) for photo in photos], None


def _name_below(file: Path, folder: Path | None) -> str:
    return as_text(file if folder is None else file.relative_to(folder).as_posix())


def _encode_all(files: Sequence[Path], model: keras.Model, progress: bool) -> tuple[list, np.ndarray, list]:
    """Every face as (photo, number, box, turn), their encodings (m, D), and (photo, error) for each that has none."""
    info, faces, problems = info_of(model), [], []
    encodings = [np.empty((0, model.output_shape[-1]), np.float32)]
    with tqdm(total=len(files), desc="finding faces", unit="photo", disable=not progress) as bar:
        for start in range(0, len(files), 32):
            chunk, crops = files[start : start + 32], []
            for file, found in zip(chunk, find_all_faces(chunk), strict=True):
                if isinstance(found, FaceError):
                    problems.append((file, found))
                    continue
                faces += [
                    (file, number, face.detection["box"], face.detection["turn"]) for number, face in enumerate(found)
                ]
                crops += [_aligned(face, info) for face in found]
            if crops:
                encodings.append(faces_to_encodings(np.stack(crops), model))
            bar.update(len(chunk))
    return faces, np.concatenate(encodings), problems


def _aligned(face, info: FaceNetInfo) -> np.ndarray:
    return align_face(face.photo, face.detection["keypoints"], info.side, info.template)


def _name(encodings: np.ndarray, cluster: np.ndarray, gallery, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The clusters (m,) once those with one name are merged, and the name of each face (m,), or None."""
    names, first = np.full(len(cluster), None, object), {}
    merged = cluster.copy()
    for number in range(cluster.max(initial=-1) + 1):
        rows = cluster == number
        name, distance = gallery.nearest_to_track(encodings[rows])
        if distance < threshold:
            names[rows] = [name] * rows.sum()
            merged[rows] = first.setdefault(name, number)
    return number_by_size(merged), names
