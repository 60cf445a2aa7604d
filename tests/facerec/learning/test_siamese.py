"""Siamese networks: shapes, shared weights, files, and verification with clear errors."""

import keras
import numpy as np
import pytest

from facerec.errors import BadArgument, BadNetwork, NoFaceFound, UnreadableImage
from facerec.learning import checkpoints
from facerec.learning.datasets import find_people
from facerec.learning.siamese import (
    COMPACT,
    VARIANTS,
    L1Distance,
    load_siamese,
    make_embedding,
    make_siamese,
    preprocess_image,
    save_siamese,
    score_all,
    verify_faces,
)


@pytest.mark.parametrize(
    ("variant", "windows", "filters", "last"),
    [
        ("large windows", [10, 3, 7, 4], [64, 128, 128, 256], (5, 5, 256)),
        ("small windows", [3, 3, 3, 3], [64, 128, 128, 256], (5, 5, 256)),
        ("compact", [3, 3, 3, 3], [32, 64, 128, 192], (4, 4, 192)),
    ],
)
def test_variants_have_the_windows_of_their_names(variant, windows, filters, last):
    model = make_embedding(variant)
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [conv.kernel_size[0] for conv in convs] == windows and [conv.filters for conv in convs] == filters
    assert model.input_shape == (None, 100, 100, 3)
    layer = "block4_pool" if VARIANTS[variant].blocks[3].pool else "block4_relu"
    assert model.get_layer(layer).output.shape[1:] == last
    dense = model.get_layer("embedding")
    assert (dense.units, dense.activation.__name__) == ((128, "linear") if variant == "compact" else (4096, "sigmoid"))


def test_large_windows_penalises_its_first_convolution_only():
    layers = make_embedding("large windows").layers
    assert [layer.name for layer in layers if getattr(layer, "kernel_regularizer", None)] == ["block1_conv"]


def test_twins_share_every_weight():
    keras.utils.set_random_seed(0)
    model = make_siamese("compact", 32)
    embedding = make_embedding("compact", 32)
    assert model.count_params() == embedding.count_params() + 129
    faces = np.random.default_rng(0).uniform(0, 1, (3, 32, 32, 3)).astype("float32")
    other = faces[::-1].copy()
    np.testing.assert_allclose(model([faces, other]), model([other, faces]), atol=1e-6)  # in either order
    np.testing.assert_allclose(model([faces, faces]), 0.5, atol=1e-6)  # no difference, and no bias yet
    assert np.abs(np.asarray(model([faces, other]))[[0, 2]] - 0.5).min() > 1e-4


def test_l1_distance_is_the_difference_and_can_be_saved(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4, 5)).astype("float32")
    np.testing.assert_allclose(L1Distance()([a, b]), np.abs(a - b), rtol=1e-6)
    model = make_siamese("compact", 32)
    checkpoints.save_model(model, tmp_path / "twins.keras")
    again = keras.models.load_model(tmp_path / "twins.keras")
    faces = rng.uniform(0, 1, (2, 3, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(again(list(faces)), model(list(faces)), atol=1e-6)


def test_make_embedding_rejects_unknown_variants_and_small_faces():
    with pytest.raises(BadArgument, match="variant='huge': one of 'large windows', 'small windows', 'compact'"):
        make_embedding("huge")
    with pytest.raises(BadArgument, match="side=12: too small for the windows of 'large windows'"):
        make_embedding("large windows", 12)


def test_preprocess_image_returns_a_face_in_0_to_1(images):
    face = preprocess_image(images / "lena.jpg", 64)
    assert face.shape == (64, 64, 3) and face.dtype == np.float32 and face.min() >= 0 and 0.5 < face.max() <= 1


def test_preprocess_image_opens_pictures_in_a_zip_file():
    picture = find_people("datasets/people.zip").picture[0]
    assert preprocess_image(picture, 32, aligned=True).shape == (32, 32, 3)


def test_verify_faces_returns_match_and_score(images):
    model = make_siamese("compact", 32)
    result = verify_faces(images / "lena.jpg", images / "kofi.jpg", model, threshold=0.0)
    assert set(result) == {"is_match", "score"} and result["is_match"] is True
    faces = [preprocess_image(images / f"{name}.jpg", 32)[None] for name in ("lena", "kofi")]
    assert result["score"] == pytest.approx(float(model(faces)[0, 0]), abs=1e-6)
    assert verify_faces(images / "lena.jpg", images / "kofi.jpg", model, threshold=1.0)["is_match"] is False


def test_verify_faces_compares_a_photo_with_all_known_faces_together(images):
    model = make_siamese("compact", 32)
    rng = np.random.default_rng(0)
    model.get_layer("score").set_weights([rng.normal(size=(128, 1)), rng.normal(size=1)])
    known = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
    odds = []
    for face in known:
        score = verify_faces(face, images / "lena.jpg", model, aligned=True)["score"]
        odds.append(np.log(score / (1 - score)))
    together = verify_faces(known, images / "lena.jpg", model, aligned=True)["score"]
    assert together == pytest.approx(1 / (1 + np.exp(-np.mean(odds))), abs=1e-5) and np.ptp(odds) > 1e-2
    for wrong in (known[:, :16], known / 255, known[:0]):
        with pytest.raises(BadArgument, match=r"known faces must be \(k, 32, 32, 3\) uint8"):
            verify_faces(wrong, images / "lena.jpg", model)


def test_shipped_twins_are_the_transfer_twin_and_the_compact_one(images):
    model, threshold = load_siamese()
    assert model.stands_on.network == "keras-facenet-h5" and model.known is None
    own = verify_faces(images / "lena.jpg", images / "camera_0.jpg", model, threshold)
    other = verify_faces(images / "lena.jpg", images / "otto.jpg", model, threshold)
    assert own["is_match"] and not other["is_match"] and own["score"] - other["score"] > 0.5
    assert load_siamese(COMPACT)[0].count_params() == 340_705


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "0.5", None, True])
def test_verify_faces_rejects_a_threshold_outside_0_to_1(images, threshold):
    with pytest.raises(BadArgument, match="a score in 0..1"):
        verify_faces(images / "lena.jpg", images / "lena.jpg", make_siamese("compact", 32), threshold)


def test_verify_faces_names_bad_photos_and_networks(images, tmp_path):
    model = make_siamese("compact", 32)
    with pytest.raises(UnreadableImage, match="nothing.jpg"):
        verify_faces(images / "lena.jpg", tmp_path / "nothing.jpg", model)
    with pytest.raises(NoFaceFound, match="100×100"):
        verify_faces(np.full((100, 100, 3), 90, np.uint8), images / "lena.jpg", model)
    with pytest.raises(BadArgument, match=r"model is a tuple, not a network; load_siamese\(\) gives both"):
        verify_faces(images / "lena.jpg", images / "lena.jpg", (model, 0.5))
    with pytest.raises(BadNetwork, match="takes two faces"):
        verify_faces(images / "lena.jpg", images / "lena.jpg", make_embedding("compact", 32))


def test_score_all_scores_like_single_pairs():
    model = make_siamese("compact", 32)
    rng = np.random.default_rng(0)
    model.get_layer("score").set_weights([rng.normal(size=(128, 1)), rng.normal(size=1)])
    one, other = (rng.uniform(0, 1, (m, 32, 32, 3)).astype("float32") for m in (3, 4))
    expected = model([np.repeat(one, 4, axis=0), np.tile(other, (3, 1, 1, 1))])
    np.testing.assert_allclose(score_all(model, one, other), np.reshape(expected, (3, 4)), atol=1e-5)


def test_score_all_rejects_faces_in_0_to_255():
    model, faces = make_siamese("compact", 32), np.full((2, 32, 32, 3), 255, np.float32)
    with pytest.raises(BadArgument, match="faces must be in 0..1; these reach 255: divide pixels by 255"):
        score_all(model, faces / 255, faces)


def test_load_siamese_returns_the_saved_network_and_threshold(tmp_path):
    model = make_siamese("compact", 32)
    save_siamese(model, tmp_path / "mine", 0.42, trained_on="no one")
    again, threshold = load_siamese(tmp_path / "mine")
    faces = np.random.default_rng(0).uniform(0, 1, (2, 3, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(again(list(faces)), model(list(faces)), atol=1e-6)
    assert threshold == 0.42 and "no one" in (tmp_path / "mine" / "siamese.json").read_text()


def test_load_siamese_rejects_missing_and_damaged_networks(tmp_path):
    with pytest.raises(BadNetwork, match="nowhere does not hold a Siamese network"):
        load_siamese(tmp_path / "nowhere")
    save_siamese(make_siamese("compact", 32), tmp_path, 0.5)
    with (tmp_path / "siamese.keras").open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    with pytest.raises(BadNetwork, match=r"siamese.keras is damaged \(wrong SHA-256\); copy the whole folder again"):
        load_siamese(tmp_path)
    (tmp_path / "siamese.json").write_text('{"threshold": 0.5')
    with pytest.raises(BadNetwork, match="siamese.json is damaged"):
        load_siamese(tmp_path)
