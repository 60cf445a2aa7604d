"""False accepts within and between groups of people, from pictures that are labelled by age, sex and race.

    python tools/measure/evaluate.py groups DIR    # or: make groups DIR=…    → docs/results/groups_*.csv, groups.json

DIR holds pictures named ``<age>_<sex>_<race>_….jpg``, each of another person, as UTKFace does; the labels are its
authors'. (Not for ``keras-facenet-h5``, which was trained on UTKFace's pictures.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from facerec._files import write_json, write_table
from facerec.detection import align_face
from facerec.encoding import faces_to_encodings, find_faces
from facerec.errors import BadArgument, FaceError
from facerec.evaluation import false_accepts_by_group
from facerec.networks import info_of, load_facenet

#: The name of each age group → its years, upper end excluded.
AGES = {"0–9": (0, 10), "10–19": (10, 20), "20–39": (20, 40), "40–59": (40, 60), "60 and older": (60, 200)}

SEXES = ("male", "female")

RACES = ("White", "Black", "Asian", "Indian", "other")


def read_labels(files: Sequence[Path]) -> pd.DataFrame:
    """Age, sex and race from the file names ``<age>_<sex>_<race>_….jpg``; other files are left out.

    Raises:
        BadArgument: If no file has such a name.
    """
    rows = []
    for file in files:
        parts = file.name.split("_")
        if len(parts) < 4 or not all(part.isdecimal() for part in parts[:3]):
            continue
        age, sex, race = map(int, parts[:3])
        band = next((name for name, (low, high) in AGES.items() if low <= age < high), None)
        if band and sex < len(SEXES) and race < len(RACES):
            rows.append((file, band, SEXES[sex], RACES[race]))
    if not rows:
        raise BadArgument("no file is named <age>_<sex>_<race>_….jpg")
    return pd.DataFrame(rows, columns=["file", "age", "sex", "race"])


def evaluate_groups(folder: Path, networks: Sequence[str], to: Path) -> dict[str, pd.DataFrame]:
    """False accepts within and between groups by network, each at its own threshold; also written to ``to``."""
    if not folder.is_dir():
        raise BadArgument(f"{folder} is not a folder")
    files = sorted(folder.glob("*.jpg"))
    labels = read_labels(without_copies(files))
    models = [load_facenet(network) for network in networks]
    encodings = [np.full((len(labels), model.output_shape[-1]), np.nan, np.float32) for model in models]
    for start in tqdm(range(0, len(labels), 64), desc="finding and encoding", unit="batch"):
        found = find_faces(list(labels.file[start : start + 64]), "central")
        rows = [start + i for i, face in enumerate(found) if not isinstance(face, FaceError)]
        faces = [face for face in found if not isinstance(face, FaceError)]
        for model, known in zip(models, encodings, strict=True):
            info = info_of(model)
            cut = [align_face(f.photo, f.detection["keypoints"], info.side, info.template) for f in faces]
            known[rows] = faces_to_encodings(np.stack(cut), model) if rows else known[rows]
    result = {}
    for network, model, known in zip(networks, models, encodings, strict=True):
        result[network] = by_group(known, labels, info_of(model).threshold)
        write_table(to / f"groups_{Path(network).name}.csv", result[network].round(7))
    summary = {network: extremes(table) for network, table in result.items()}
    counted = {"people": len(labels), "copies_left_out": len(files) - len(without_copies(files))}
    write_json(to / "groups.json", {"command": "make groups DIR=…", **counted, "networks": summary})
    return result


def without_copies(files: Sequence[Path]) -> list[Path]:
    """The files without exact copies of earlier ones: a copy does not show another person."""
    first = {hashlib.sha256(file.read_bytes()).digest(): file for file in reversed(files)}
    return sorted(first.values())


def by_group(encodings: np.ndarray, labels: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """False accepts of all people, by race, sex and age; and by race and sex among adults of 20 to 59 years.

    The labels are correlated: a group with many children has the children's rate. Adults alone show the rest.
    """
    usable = np.isfinite(encodings[:, 0])
    adult = usable & labels.age.isin(["20–39", "40–59"]).to_numpy()
    ways = {
        "all": (usable, np.full(len(labels), "everybody")),
        **{by: (usable, labels[by].to_numpy()) for by in ("race", "sex", "age")},
        **{f"{by} of adults": (adult, labels[by].to_numpy()) for by in ("race", "sex")},
    }
    parts = [false_accepts_by_group(encodings[who], group[who], threshold) for who, group in ways.values()]
    table = pd.concat(parts, keys=ways, names=["by", None]).reset_index("by")
    return table.assign(without_a_face=int((~usable).sum()))


def extremes(table: pd.DataFrame) -> dict[str, dict]:
    """The false accepts of any two people, and of two people of one group: the lowest and the highest.

    Returns:
        ``any``; ``fewest`` and ``most`` by race, sex or age; ``adults_fewest`` and ``adults_most`` by race, of adults.
    """
    inside = table[(table.group == table.other) & table.false_accepts.notna()].sort_values("false_accepts")
    people, adults = inside[inside.by.isin(["race", "sex", "age"])], inside[inside.by == "race of adults"]
    rows = {"any": inside[inside.by == "all"].iloc[0], "fewest": people.iloc[0], "most": people.iloc[-1]}
    rows |= {"adults_fewest": adults.iloc[0], "adults_most": adults.iloc[-1]}
    columns = ["by", "group", "people", "pairs", "false_accepts", "low", "high"]
    return {name: json.loads(row[columns].to_json()) for name, row in rows.items()}
