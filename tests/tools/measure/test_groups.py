"""False accepts by groups, from file names and photos."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facerec.encoding import photos_to_encodings
from facerec.errors import BadArgument
from facerec.evaluation import (
    false_accepts_by_group,
)
from facerec.networks import load_facenet
from tests.tools.measure.invented import unit
from tools.measure.groups import AGES, RACES, SEXES, by_group, evaluate_groups, extremes, read_labels, without_copies


def test_read_labels_parses_file_names_and_skips_bad_ones():
    good = ["1_0_0_2017.jpg.chip.jpg", "9_1_1_x.jpg", "10_0_2_x.jpg", "39_1_3_x.jpg", "40_0_4_x.jpg", "116_1_0_x.jpg"]
    bad = [
        "61_1_2017.jpg.chip.jpg",
        "53__0_x.jpg",
        "20_1_5_x.jpg",
        "20_2_1_x.jpg",
        "300_0_1_x.jpg",
        "a_0_1_x.jpg",
        "x.jpg",
        "²_0_1_x.jpg",
    ]
    labels = read_labels([Path("faces") / name for name in (*bad, *good)])
    assert [file.name for file in labels.file] == good
    assert labels.age.tolist() == ["0–9", "0–9", "10–19", "20–39", "40–59", "60 and older"]
    assert labels.sex.tolist() == ["male", "female", "male", "female", "male", "female"]
    assert labels.race.tolist() == ["White", "Black", "Asian", "Indian", "other", "White"]


def test_folders_without_labels_are_rejected(tmp_path):
    with pytest.raises(BadArgument, match="no file is named <age>_<sex>_<race>_"):
        read_labels([Path("lena.jpg"), Path("1_2.jpg")])
    with pytest.raises(BadArgument, match="is not a folder"):
        evaluate_groups(tmp_path / "nothing", (), tmp_path)


def test_without_copies_keeps_the_first_of_equal_files(tmp_path):
    for name, content in {"b.jpg": b"1", "a.jpg": b"1", "c.jpg": b"2"}.items():
        (tmp_path / name).write_bytes(content)
    assert [file.name for file in without_copies(sorted(tmp_path.iterdir()))] == ["a.jpg", "c.jpg"]


def test_extremes_are_within_groups_that_have_pairs():
    rows = [
        ("all", "everybody", "everybody", 9, 36, 0.1, 0.05, 0.2),
        ("race", "a", "a", 4, 6, 0.3, 0.2, 0.4),
        ("race", "a", "b", 8, 16, 0.9, 0.8, 1.0),  # between two groups: not asked for
        ("race", "b", "b", 4, 6, 0.02, 0.0, 0.1),
        ("age", "old", "old", 1, 0, np.nan, np.nan, np.nan),  # no one to be mistaken for
        ("sex", "m", "m", 5, 10, 0.5, 0.3, 0.6),
        ("sex of adults", "m", "m", 5, 10, 0.95, 0.9, 1.0),  # of adults by race alone
        ("race of adults", "a", "a", 3, 3, 0.6, 0.4, 0.7),
        ("race of adults", "b", "b", 3, 3, 0.01, 0.0, 0.1),
        ("race of adults", "c", "c", 1, 0, np.nan, np.nan, np.nan),
    ]
    columns = ["by", "group", "other", "people", "pairs", "false_accepts", "low", "high"]
    found = extremes(pd.DataFrame(rows, columns=columns))
    assert {name: (row["by"], row["group"], row["false_accepts"]) for name, row in found.items()} == {
        "any": ("all", "everybody", 0.1),
        "fewest": ("race", "b", 0.02),
        "most": ("sex", "m", 0.5),
        "adults_fewest": ("race of adults", "b", 0.01),
        "adults_most": ("race of adults", "a", 0.6),
    }
    assert found["most"] == {
        "by": "sex",
        "group": "m",
        "people": 5,
        "pairs": 10,
        "false_accepts": 0.5,
        "low": 0.3,
        "high": 0.6,
    }
    assert json.loads(json.dumps(found)) == found


#: By what people are told apart.
WAYS = {"all", "race", "sex", "age", "race of adults", "sex of adults"}


def test_by_group_repeats_race_and_sex_for_adults():
    """Those from 20 to 59 who have a face; the others are in the first tables only."""
    rng = np.random.default_rng(0)
    encodings = unit(1 + 0.3 * rng.normal(size=(40, 8))).astype(np.float32)
    encodings[3] = np.nan
    ages, sexes, races = [*AGES] * 8, [*SEXES] * 20, rng.choice(RACES, 40)
    labels = pd.DataFrame({"age": ages, "sex": sexes, "race": races})
    table = by_group(encodings, labels, 0.4)
    usable = np.arange(40) != 3
    adult = usable & np.array([age in ("20–39", "40–59") for age in ages])
    assert set(table.by) == WAYS and (table.without_a_face == 1).all() and adult.sum() == 15
    for by, who in {
        "race": usable,
        "sex": usable,
        "age": usable,
        "race of adults": adult,
        "sex of adults": adult,
    }.items():
        expected = false_accepts_by_group(encodings[who], labels[by.split()[0]].to_numpy()[who], 0.4)
        found = table[table.by == by].drop(columns=["by", "without_a_face"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)
    assert table[table.by == "all"].pairs.tolist() == [39 * 38 // 2]


def test_evaluate_groups_counts_false_accepts_from_photos(toy, tmp_path):
    """Two networks; a wall and a file without labels among them."""
    pictures = sorted((toy / "lfw").glob("S_*/*.jpg"))[:9]
    names = sorted(f"{age}_{i % 2}_{i % 3}_{i}.jpg" for i, age in enumerate((5, 8, 30, 31, 35, 50, 55, 70, 80)))
    (tmp_path / "utk").mkdir()
    for source, name in zip(pictures, names, strict=True):
        shutil.copy(source, tmp_path / "utk" / name)
    Image.new("RGB", (128, 128), "grey").save(tmp_path / "utk" / "41_1_4_9.jpg")
    shutil.copy(pictures[0], tmp_path / "utk" / "nobody.jpg")
    networks = [str(toy / "twice"), str(toy / "twice_without")]
    tables = evaluate_groups(tmp_path / "utk", networks, tmp_path / "docs" / "results")
    summary = json.loads((tmp_path / "docs" / "results" / "groups.json").read_text(encoding="utf-8"))
    assert summary["people"] == 10 and list(summary["networks"]) == list(tables) == networks
    for network in networks:
        encodings, problems = photos_to_encodings(
            [tmp_path / "utk" / n for n in names], load_facenet(network), which="central"
        )
        assert not problems
        table = tables[network]
        assert (table.without_a_face == 1).all() and set(table.by) == WAYS
        race = false_accepts_by_group(encodings, np.array([RACES[int(name.split("_")[2])] for name in names]), 0.3)
        found = table[table.by == "race"].drop(columns=["by", "without_a_face"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(found, race)
        accepted = [np.linalg.norm(a - b) < 0.3 for a, b in combinations(encodings, 2)]
        everybody = table[table.by == "all"].iloc[0]
        assert everybody.pairs == 36 and everybody.false_accepts == pytest.approx(np.mean(accepted))
        assert summary["networks"][network]["any"]["false_accepts"] == pytest.approx(np.mean(accepted))
        written = pd.read_csv(tmp_path / "docs" / "results" / f"groups_{Path(network).name}.csv")
        pd.testing.assert_frame_equal(written, table.round(7).reset_index(drop=True), check_dtype=False)
    assert 0 < summary["networks"][networks[0]]["any"]["false_accepts"] < 1
