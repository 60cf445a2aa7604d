"""The score on LFW's lists, from photos, with a threshold from other pairs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facerec import encoding
from facerec.detection import KEYPOINTS
from facerec.encoding import photos_to_encodings
from facerec.errors import BadArgument
from facerec.evaluation import accuracy, best_threshold, error_rates
from facerec.evaluation.lfw import Pairs, find_pictures
from facerec.learning.baselines import pixel_baseline
from tools.measure import lfw
from tools.measure.lfw import rates_of, score


def test_rates_of_equals_a_loop_over_all_pairs():
    """The oracle is a loop over all pairs of pictures; one of them has no encoding."""
    rng = np.random.default_rng(0)
    names = [f"{name}_{i:04d}.jpg" for name in ("a", "b", "c") for i in (1, 2, 3)]
    encodings = {name: x / np.linalg.norm(x) for name, x in zip(names, rng.normal(size=(9, 4)), strict=True)}
    encodings["b_0002.jpg"] = np.full(4, np.nan)
    files = np.array([[f"{n}_{i:04d}.jpg", f"{n}_{j:04d}.jpg"] for n in "abc" for i, j in ((1, 2), (2, 3))])
    files = np.concatenate([files, [["a_0001.jpg", "b_0001.jpg"]]])
    people = np.array([[a[0], b[0]] for a, b in files])
    pairs = Pairs(files, people, people[:, 0] == people[:, 1])
    table = rates_of(pairs, encodings).set_index("threshold")
    others = [(a, b) for a in names for b in names if a < b and a[0] != b[0]]
    assert (table.different_pairs == len(others)).all() and len(others) == 27
    for threshold in (0.2, 0.7, 1.0, 1.4):
        accepted = [np.linalg.norm(encodings[a] - encodings[b]) < threshold for a, b in others]
        rejected = [not np.linalg.norm(encodings[a] - encodings[b]) < threshold for a, b in files[:6]]
        assert table.false_accepts[threshold] == pytest.approx(np.mean(accepted), abs=1e-6)
        assert table.false_rejects[threshold] == pytest.approx(np.mean(rejected), abs=1e-4)


# ------------------------------------------------------------------------------------------------- the score
def invented(seed: int, near: float = 0.5, far: float = 0.9, n: int = 60) -> tuple[np.ndarray, Pairs]:
    """Distances around two values, and a list of pairs to go with them; every seed has its own people."""
    rng = np.random.default_rng(seed)
    same = np.arange(2 * n) < n
    first = np.tile(np.arange(n), 2)
    people = np.array([f"{seed}-{i}" for i in range(n)])
    people = people[np.stack([first, np.where(same, first, (first + 1) % n)], axis=1)]
    distances = np.where(same, rng.normal(near, 0.12, 2 * n), rng.normal(far, 0.12, 2 * n))
    return distances, Pairs(np.char.add(people, "_0001.jpg"), people, same)


def test_score_equals_the_evaluation_functions():
    (test, pairs), (train, train_pairs) = invented(1), invented(2)
    result = score(test, pairs, train, train_pairs)
    trained = best_threshold(train, train_pairs.same)
    rates = error_rates(test, pairs.same, [0.7]).iloc[0]
    assert result["pairs"] == 120 and result["people"] == 60 and result["trained_threshold"] == trained
    assert result["accuracy_at_0.7"]["value"] == accuracy(test, pairs.same, 0.7)
    assert result["accuracy_at_trained"]["value"] == accuracy(test, pairs.same, trained)
    assert result["false_accepts_at_0.7"] == rates.false_accepts
    assert result["false_rejects_at_0.7"] == rates.false_rejects
    assert result["train_accuracy_at_0.7"] == accuracy(train, train_pairs.same, 0.7)
    interval = result["accuracy_at_trained"]
    assert interval["low"] < interval["value"] < interval["high"] <= 1


def test_score_counts_pairs_without_a_face_as_mistakes():
    """On either side: ten of each kind lose their distance, and the accuracy loses a sixth."""
    (test, pairs), (train, train_pairs) = invented(1, near=0.2, far=1.3), invented(2, near=0.2, far=1.3)
    assert score(test, pairs, train, train_pairs)["accuracy_at_0.7"]["value"] == 1
    test[:10] = test[-10:] = np.nan
    result = score(test, pairs, train, train_pairs)
    assert result["pairs_without_a_face"] == 20
    for name in ("accuracy_at_0.7", "accuracy_at_trained"):
        assert result[name]["value"] == pytest.approx(100 / 120)
    assert result["false_rejects_at_0.7"] == pytest.approx(10 / 60) and result["false_accepts_at_0.7"] == 0


def test_score_never_chooses_the_threshold_on_test_pairs():
    """Test pairs on another scale: a threshold that had looked at them would be right; the trained one is not."""
    train, train_pairs = invented(3)
    trained = []
    for seed, (near, far) in enumerate([(0.5, 0.9), (1.2, 1.7), (0.05, 0.3)], start=10):
        test, pairs = invented(seed, near, far)
        result = score(test, pairs, train, train_pairs)
        trained.append(result["trained_threshold"])
        assert result["accuracy_at_trained"]["value"] == accuracy(test, pairs.same, trained[-1])
    assert trained == [best_threshold(train, train_pairs.same)] * 3
    assert score(*invented(11, 1.2, 1.7), train, train_pairs)["accuracy_at_trained"]["value"] < 0.6


# --------------------------------------------------------------------------------- from pictures to a result
@pytest.fixture
def folder(tmp_path, images, monkeypatch) -> Path:
    """Four invented people whose pictures are those of images/, one picture of a wall, and the two lists."""
    monkeypatch.setattr(lfw, "CACHE", tmp_path / "cache" / "faces.json")
    pictures = {
        "Ada": ["lena", "camera_0", "camera_4"],
        "Bo": ["kofi", "camera_12", "camera_15"],
        "Cy": ["mei", "camera_8", "camera_14"],
        "Di": ["nia", "camera_9", "camera_13"],
    }
    for name, files in pictures.items():
        (tmp_path / "lfw" / name).mkdir(parents=True)
        for i, file in enumerate(files, 1):
            shutil.copy(images / f"{file}.jpg", tmp_path / "lfw" / name / f"{name}_{i:04d}.jpg")
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "lfw" / "Di" / "Di_0004.jpg")
    (tmp_path / "pairsDevTrain.txt").write_text("2\nAda\t1\t2\nBo\t1\t3\nAda\t1\tBo\t1\nAda\t3\tBo\t2\n")
    different = "Cy\t1\tDi\t1\nCy\t2\tDi\t2\nCy\t3\tDi\t4\n"
    (tmp_path / "pairsDevTest.txt").write_text("3\nCy\t1\t2\nDi\t1\t3\nDi\t2\t4\n" + different)
    return tmp_path


def test_command_scores_photos(folder, monkeypatch, capsys):
    """Everybody is told apart; the two pairs with the wall are mistakes: 4 of 6."""
    to = folder / "docs" / "results" / "lfw_test.json"
    monkeypatch.setattr(sys, "argv", ["lfw.py", str(folder), "--to", str(to)])
    lfw.main()
    result = json.loads(to.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == result
    assert result["pictures_without_a_face"] == 1 and result["pairs_without_a_face"] == 2
    assert result["pairs"] == 6 and result["people"] == 2
    assert result["accuracy_at_0.7"]["value"] == result["accuracy_at_trained"]["value"] == pytest.approx(4 / 6)
    assert result["train_accuracy_at_0.7"] == 1
    table = pd.read_csv(to.with_name("lfw_test_rates.csv"))
    assert set(table["people"]) == {"train", "test"} and str(folder) not in to.read_text(encoding="utf-8")


def test_find_faces_uses_its_cache_for_the_same_detector_and_pictures(folder, monkeypatch):
    """The second time they are read from the cache, unless the detector or the picture is another one."""
    pictures = find_pictures(folder, {"Ada_0001.jpg", "Di_0004.jpg"})
    found = lfw.find_faces(pictures)
    assert found["Di_0004.jpg"] is None and set(found["Ada_0001.jpg"]) == set(KEYPOINTS)
    looked_at = []

    def looks(photos, **kwargs):
        looked_at.append(len(photos))
        return detect(photos, **kwargs)

    detect = encoding.detect_faces_batch
    monkeypatch.setattr(encoding, "detect_faces_batch", looks)
    assert jsonable(lfw.find_faces(pictures)) == jsonable(found) and looked_at == []
    shutil.copy(pictures["Ada_0001.jpg"], pictures["Di_0004.jpg"])
    assert lfw.find_faces(pictures)["Di_0004.jpg"] is not None and looked_at == [1]
    cache = json.loads(lfw.CACHE.read_text())
    for damaged in (json.dumps({**cache, "detector": "an older one"}), "{", "[]"):
        lfw.CACHE.write_text(damaged)
        assert lfw.find_faces(pictures)["Ada_0001.jpg"] is not None
    assert looked_at == [1, 2, 2, 2]


def test_damaged_picture_counts_as_one_without_a_face(folder, capsys):
    pictures = find_pictures(folder, {"Ada_0001.jpg", "Bo_0002.jpg"})
    pictures["Bo_0002.jpg"].write_bytes(b"no picture")
    found = lfw.find_faces(pictures)
    assert found["Bo_0002.jpg"] is None and found["Ada_0001.jpg"] is not None
    assert "Bo_0002.jpg counts as a picture without a face" in capsys.readouterr().err


def jsonable(value):
    """Tuples as lists, as a JSON file holds them."""
    return json.loads(json.dumps(value))


def test_encode_equals_photos_to_encodings(folder, network):
    """Encoding from remembered keypoints is what ``photos_to_encodings`` does, and NaN without a face."""
    pictures = find_pictures(folder, {"Ada_0001.jpg", "Di_0004.jpg", "Bo_0002.jpg"})
    expected, problems = photos_to_encodings(pictures.values(), network, which="central")
    assert len(problems) == 1
    np.testing.assert_allclose(lfw.encode(pictures, lfw.find_faces(pictures), network), expected, atol=1e-5)


def test_pixel_baseline_compares_pixels():
    """Light and contrast do not count, mirroring does; an encoding has unit length."""
    model = pixel_baseline()
    face = np.random.default_rng(0).integers(60, 190, (1, 96, 96, 3)).astype(np.float32)
    faces = np.concatenate([face, 0.5 * face + 20, face[:, :, ::-1]])
    first, darker, mirrored = np.asarray(model(faces))
    small = face[0].reshape(24, 4, 24, 4, 3).mean(axis=(1, 3)).ravel()
    small -= small.mean()
    np.testing.assert_allclose(first, small / np.linalg.norm(small), atol=1e-4)
    np.testing.assert_allclose(first, darker, atol=1e-2)
    assert np.linalg.norm(first - mirrored) > 0.5


def test_command_names_a_missing_picture(folder, monkeypatch):
    (folder / "lfw" / "Bo" / "Bo_0002.jpg").unlink()
    monkeypatch.setattr(sys, "argv", ["lfw.py", str(folder), "--to", str(folder / "result.json")])
    with pytest.raises(BadArgument, match="pictures missing below .*: 1, the first is Bo_0002.jpg"):
        lfw.main()
    assert not (folder / "result.json").exists()
