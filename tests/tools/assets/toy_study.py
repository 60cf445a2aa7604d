"""A few people who do not exist, prepared for the studies of ``tools.assets`` as the people of CelebA are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from facerec.learning.datasets import find_people
from facerec.photos import load_image, save_picture
from tools.assets import train_siamese, train_triplets
from tools.assets.train_siamese import Study


def prepare_study(
    folder: Path, below: str, shares: tuple[int, int, int], pairs: tuple[int, int, int], patch: pytest.MonkeyPatch
) -> tuple[Study, str]:
    """Six faces each of the people below a name, with their report and lists; one picture of a test person has no face.

    Returns:
        study: In the place of ``celeba_people`` in the studies of the twins.
        test_person: The person whose first picture shows no face.
    """
    faces, rows = folder / "faces", []
    people = find_people("datasets/people.zip")
    for row in people[people.identity < below].groupby("identity").head(6).itertuples():
        name = f"{row.identity}/{Path(row.picture).stem}.jpg"
        rows.append({"identity": row.identity, "picture": name, "face": name, "dropped": ""})
        (faces / row.identity).mkdir(parents=True, exist_ok=True)
        save_picture(faces / name, load_image(row.picture))
    study = Study(str(faces), shares, pairs, 1, 1)
    patch.setitem(train_siamese.STUDIES, "celeba_people", study)
    for module in (train_siamese, train_triplets):
        patch.setattr(module, "LISTS", folder / "pairs")
    test_person = train_siamese.split(study)[2].identity.iloc[0]
    lost = next(row for row in rows if row["identity"] == test_person)
    (faces / lost["face"]).unlink()
    lost |= {"face": "", "dropped": "no face found"}
    pd.DataFrame(rows).to_csv(faces / "report.csv", index=False)
    train_siamese.write_lists("celeba_people")
    return study, test_person
