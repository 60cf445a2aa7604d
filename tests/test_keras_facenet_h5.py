"""The shipped Inception FaceNet is the one that its papers describe, and answers as its model card says."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from facerec._files import ROOT
from facerec.encoding import faces_to_encodings, img_to_encoding, photos_to_encodings
from facerec.enrol import build_database
from facerec.learning.folding import fold_batch_norm
from facerec.networks import load_facenet
from inception_blocks_v2 import faceRecoModel, stages_of

CARD = (ROOT / "keras-facenet-h5" / "MODEL_CARD.md").read_text(encoding="utf-8")

#: Distances of lena, camera_0 (lena), ines, lookalike, kofi; made by this network itself, here to notice a change.
GOLDEN = np.array(
    [
        [0.0000, 0.3520, 0.7613, 0.7776, 0.9835],
        [0.3520, 0.0000, 0.7083, 0.7285, 0.9251],
        [0.7613, 0.7083, 0.0000, 0.5650, 1.0351],
        [0.7776, 0.7285, 0.5650, 0.0000, 0.9400],
        [0.9835, 0.9251, 1.0351, 0.9400, 0.0000],
    ]
)


@pytest.fixture(scope="module")
def inception():
    return load_facenet("keras-facenet-h5")


def test_shipped_network_is_face_reco_model_folded(inception):
    ours = fold_batch_norm(faceRecoModel((96, 96, 3)))
    assert [layer.name for layer in inception.layers] == [layer.name for layer in ours.layers]
    assert [w.shape for w in inception.get_weights()] == [w.shape for w in ours.get_weights()]
    assert [stage.shape for stage in stages_of(inception)] == [stage.shape for stage in stages_of(ours)]
    assert f"{inception.count_params():,} parameters" in CARD
    assert f"{(ROOT / 'keras-facenet-h5' / 'model.h5').stat().st_size / 1e6:.1f} MB" in CARD


def test_distances_are_the_golden_ones(inception, images):
    names = ["lena", "camera_0", "ines", "lookalike", "kofi"]
    encodings = np.stack([img_to_encoding(images / f"{name}.jpg", inception) for name in names])
    np.testing.assert_allclose(np.linalg.norm(encodings, axis=1), 1, atol=1e-5)
    distances = np.linalg.norm(encodings[:, None] - encodings, axis=2)
    np.testing.assert_allclose(distances, GOLDEN, atol=3e-3)


def test_face_has_the_same_encoding_alone_and_in_a_batch(inception):
    faces = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3)).astype(np.uint8)
    alone = np.concatenate([faces_to_encodings(face[None], inception) for face in faces])
    np.testing.assert_allclose(faces_to_encodings(faces, inception), alone, atol=1e-4)


def test_card_names_the_camera_pictures_that_the_network_gets_wrong(inception, images, answers):
    database, _ = build_database(images, inception, progress=False)
    known = np.stack(list(database.values()))
    cameras = [name for name in answers if name.startswith("camera_")]
    encodings, problems = photos_to_encodings([images / name for name in cameras], inception)
    assert not problems
    distances = np.linalg.norm(encodings[:, None] - known, axis=2)
    names = [list(database)[row.argmin()] if row.min() < 0.7 else None for row in distances]
    wrong = {Path(c).stem: said for c, said in zip(cameras, names, strict=True) if said != answers[c]}
    assert dict(re.findall(r"`(camera_\d+)` for (\w+)", CARD)) == wrong
    assert sum(answers[camera] is not None for camera in cameras) == 16


def test_card_quotes_the_curve_and_the_exported_forms():
    with (ROOT / "docs" / "results" / "distill_log.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert f"| {int(last['crops']):,} |" in CARD and f"{float(last['cosine']):.3f}" in CARD
    how = CARD[: CARD.index("## What each choice brings")]
    assert sum(int(steps) for steps in re.findall(r"--stage \d+ (\d+)", how)) == int(last["step"])
    forms = json.loads((ROOT / "docs" / "results" / "export_keras-facenet-h5.json").read_text(encoding="utf-8"))[
        "forms"
    ]
    for name, form in forms.items():
        size, time, far = form["megabytes"], form["times_the_originals_time"], form["farthest_from_the_original"]
        accuracy = 100 * form["lfw_accuracy"]["value"]
        assert f"| {name} | {size:.1f} MB | {time:.2f} × | {far:.4f} | {accuracy:.1f} % |" in CARD
