"""What several tests of the measuring tools share."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from facerec._files import ROOT
from facerec.learning.datasets import find_people
from facerec.networks import save_network
from facerec.photos import load_image, save_picture
from tests.tools.measure.invented import PROBABILITY, picture, twice_looking


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Path:
    """Twenty invented people with two pictures and 26 with one, two networks, and the three lists."""
    folder = tmp_path_factory.mktemp("toy")
    people = find_people(ROOT / "datasets" / "people.zip").groupby("identity").head(2)
    people = people[people.identity.isin(sorted(set(people.identity))[:46])]
    for k, (_, rows) in enumerate(people.groupby("identity")):
        name = f"T_{k:02d}" if k < 20 else f"S_{k:02d}"
        (folder / "lfw" / name).mkdir(parents=True)
        for i, source in enumerate(rows.picture[: 2 if k < 20 else 1], 1):
            save_picture(folder / "lfw" / name / picture(name, i), load_image(source))
    Image.new("RGB", (128, 128), "grey").save(folder / "lfw" / "T_19" / "T_19_0002.jpg")
    same, other = [f"T_{k:02d}\t1\t2" for k in range(20)], [f"T_{k:02d}\t1\tT_{(k + 1) % 20:02d}\t2" for k in range(20)]
    (folder / "pairsDevTest.txt").write_text("\n".join(["20", *same, *other]))
    singles = [f"S_{k}\t1\tS_{k + 1}\t1" for k in range(20, 46, 2)]
    (folder / "pairsDevTrain.txt").write_text("\n".join([*singles, *same[:8]]))
    (folder / "pairs.txt").write_text("\n".join(["2\t3", *same[:3], *other[:3], *same[3:6], *other[3:6]]))
    for name, model in (("twice", twice_looking()), ("twice_without", twice_looking(dimension=12))):
        probability = PROBABILITY if name == "twice" else None
        save_network(model, folder / name, name=name, probability=probability, threshold=0.3)
    return folder
