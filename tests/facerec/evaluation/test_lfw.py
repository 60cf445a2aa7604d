"""The lists of LFW: read, found, and measured; the published ones have their described size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facerec._files import ROOT
from facerec.errors import BadArgument
from facerec.evaluation.lfw import Pairs, distances_of, find_pictures, read_pairs

LFW = ROOT / "datasets" / "lfw"
LIST = "2\nAda_Byron\t1\t3\nBo\t2\t10\nAda_Byron\t2\tBo\t1\nBo\t4\tCy\t1\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "pairsDevTrain.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", [LIST, LIST[2:], LIST.replace("\n", "\r\n"), LIST + "\n\n", "10\t300\n" + LIST[2:]])
def test_read_pairs(tmp_path, text):
    """With a count, with two, or without one; with either end of line."""
    pairs = read_pairs(written(tmp_path, text))
    assert pairs.files.tolist() == [
        ["Ada_Byron_0001.jpg", "Ada_Byron_0003.jpg"],
        ["Bo_0002.jpg", "Bo_0010.jpg"],
        ["Ada_Byron_0002.jpg", "Bo_0001.jpg"],
        ["Bo_0004.jpg", "Cy_0001.jpg"],
    ]
    assert pairs.people.tolist() == [["Ada_Byron"] * 2, ["Bo"] * 2, ["Ada_Byron", "Bo"], ["Bo", "Cy"]]
    assert pairs.same.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2\nAda\t1\t2\nBo\n", r"pairsDevTrain.txt, line 3: 'Bo' is not a pair"),
        ("2\nAda 1 2\n", r"line 2: 'Ada 1 2' is not a pair"),
        ("2\nAda\t1\t2\t3\t4\n", "line 2: .* is not a pair"),
        ("2\nAda\tone\ttwo\n", "line 2: .* is not a pair"),
        ("2\nAda\t1\tBo\t\n", "line 2: .* is not a pair"),
        ("300\n", "pairsDevTrain.txt lists no pairs"),
        ("", "pairsDevTrain.txt lists no pairs"),
    ],
)
def test_read_pairs_rejects_bad_lists(tmp_path, text, reason):
    with pytest.raises(BadArgument, match=reason):
        read_pairs(written(tmp_path, text))


def test_read_pairs_names_a_missing_list(tmp_path):
    with pytest.raises(BadArgument, match="pairsDevTest.txt is missing in"):
        read_pairs(tmp_path / "pairsDevTest.txt")


def test_find_pictures_searches_all_folders(tmp_path):
    for name in ("Bo/Bo_0001.jpg", "deep/er/Cy/Cy_0002.jpg", "Bo/Bo_0003.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_pictures(tmp_path, {"Bo_0001.jpg", "Cy_0002.jpg"})
    assert found == {"Bo_0001.jpg": tmp_path / "Bo/Bo_0001.jpg", "Cy_0002.jpg": tmp_path / "deep/er/Cy/Cy_0002.jpg"}
    with pytest.raises(BadArgument, match="pictures missing below .*: 2, the first is Al_0001.jpg"):
        find_pictures(tmp_path, {"Bo_0001.jpg", "Cy_0009.jpg", "Al_0001.jpg"})


def test_distances_of_pairs():
    encodings = {"a_0001.jpg": np.array([1.0, 0]), "b_0001.jpg": np.array([0, 1.0]), "b_0002.jpg": np.full(2, np.nan)}
    files = np.array([["a_0001.jpg", "b_0001.jpg"], ["b_0001.jpg", "b_0002.jpg"], ["a_0001.jpg", "a_0001.jpg"]])
    pairs = Pairs(files, np.array([["a", "b"], ["b", "b"], ["a", "a"]]), np.array([False, True, True]))
    np.testing.assert_allclose(distances_of(pairs, encodings), [2**0.5, np.nan, 0])


@pytest.mark.data("lfw")
def test_published_lists_have_their_described_size():
    """LFW's view 1: 1,100 + 1,100 pairs to train, 500 + 500 to test, no person in both."""
    train, test = (read_pairs(LFW / f"pairsDev{part}.txt") for part in ("Train", "Test"))
    assert (len(train.same), train.same.sum(), len(test.same), test.same.sum()) == (2200, 1100, 1000, 500)
    assert not set(train.people.flat) & set(test.people.flat)
