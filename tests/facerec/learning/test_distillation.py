"""tools/assets/distill.py at toy size: the same seed, a killed training, what the teacher sees, what is damaged."""

import csv
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from facerec.detection import TEMPLATE
from facerec.errors import BadArgument
from facerec.learning.augmentation import DEGRADATIONS, degrade
from facerec.learning.distillation import (
    Batches,
    Config,
    FusedBatchNormalization,
    Prepared,
    Teacher,
    averaged_weights,
    build_student,
    cut,
    find_framing,
    jitter_matrix,
    parts_of,
    prepare,
    store,
    to_template,
    train,
)
from facerec.networks import load_facenet
from tools.assets import distill

SIDE = 32


def make_face(rng: np.random.Generator) -> np.ndarray:
    """A smooth picture, (128, 128, 3): enough for everything that does not detect."""
    return cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (128, 128), interpolation=cv2.INTER_CUBIC)


def small_teacher() -> Teacher:
    """A teacher that averages colours in 4×4 fields; its last layers are named as in weights/resnet."""
    keras.utils.set_random_seed(7)
    faces = keras.Input((60, 60, 3))
    x = layers.Rescaling(1 / 255)(faces)
    x = layers.Flatten()(layers.AveragePooling2D(15)(x))
    x = layers.UnitNormalization()(layers.Dense(128, name="centred", bias_initializer="normal")(x))
    return Teacher(keras.Model(faces, x))


def small_student(input_shape):
    """A student with one of each kind of layer that the real one has."""
    faces = keras.Input(input_shape)
    x = layers.Rescaling(1 / 127.5, -1.0)(faces)
    x = layers.Conv2D(8, 5, strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(128)(layers.Flatten()(layers.AveragePooling2D(4)(x)))
    return keras.Model(faces, layers.UnitNormalization()(x))


@pytest.fixture(scope="module")
def teacher():
    return small_teacher()


@pytest.fixture(scope="module")
def prepared(teacher, tmp_path_factory):
    """16 pictures in two parts of one folder, 3 crops each, faces taken to sit as the template says."""
    folder = tmp_path_factory.mktemp("prepared")
    rng = np.random.default_rng(0)
    faces = np.stack([make_face(rng) for _ in range(16)])
    (folder / "faces").mkdir()
    np.save(folder / "faces" / "shard.npy", faces)
    template = np.array(list(TEMPLATE.values()))
    original, find_framing = find_framing, lambda pictures: template
    try:
        prepare([folder / "faces"], folder / "to", teacher, jitters=3, seed=5, part=9)
    finally:
        find_framing = original
    return folder / "to"


@pytest.fixture
def setup(prepared, teacher):
    """What ``train`` takes: data, teacher and a configuration of 6 steps."""
    parts = parts_of(prepared, ["faces"])
    config = Config(tuple(parts), side=SIDE, steps=6, batch=4, warmup=2, validation=3, rate=1e-2)
    return Prepared(prepared, parts), teacher, config


def weights_of(model):
    return [np.array(w) for w in model.get_weights()]


def losses_of(folder):
    return [row["loss"] for row in csv.DictReader((folder / "log.csv").open())]


# ------------------------------------------------------------------------------------------------ geometry
def test_jitter_stays_in_its_bounds_and_mirrors_half_of_the_time():
    rng = np.random.default_rng(1)
    corners = np.array([[0.0, 0.0], [149.0, 149.0]])
    mirrored = 0
    for _ in range(200):
        m = jitter_matrix(rng, 150)
        scale = np.sqrt(abs(np.linalg.det(m[:, :2])))
        assert 0.93 <= scale <= 1.07
        middle = (corners.mean(0) @ m[:, :2].T + m[:, 2]) - corners.mean(0)
        assert np.abs(middle).max() <= 0.07 * 150 + 1e-6
        mirrored += np.linalg.det(m[:, :2]) < 0
        turn = m[:, :2] @ np.diag([np.sign(np.linalg.det(m[:, :2])), 1])
        assert abs(np.degrees(np.arctan2(turn[1, 0], turn[0, 0]))) <= 7.0 + 1e-6
    assert 70 < mirrored < 130


def test_teacher_and_student_see_the_same_crop(setup):
    data, teacher, config = setup
    batches = Batches(data, teacher, config)
    for number in range(len(data)):
        for which in range(3):
            picture, matrix = data.picture(number), data.matrices[number, which]
            seen_by_teacher = cut(picture, matrix, teacher.side, teacher.side)
            seen_by_student = batches.crop(number, which)
            assert seen_by_student.shape == (SIDE, SIDE, 3)
            shrunk = cv2.resize(seen_by_teacher, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            assert np.abs(shrunk.astype(float) - seen_by_student).mean() < 8  # half a pixel, not another crop


def test_the_prepared_numbers_are_those_of_the_crops(setup):
    data, teacher, _ = setup
    for number in (0, 8, 9, 15):  # both parts
        crops = [cut(data.picture(number), m, teacher.side, teacher.side) for m in data.matrices[number]]
        np.testing.assert_allclose(teacher.raw(np.stack(crops)), data.raw[number], atol=1e-5)


def test_points_come_to_lie_where_the_template_says():
    template = np.array(list(TEMPLATE.values()))
    picture = np.zeros((109, 89, 3), np.uint8)
    points = template * 0.5 + 0.2
    points[:, 0] *= 109 / 89  # as fractions of width and height, undistorted in pixels
    matrix = to_template(picture, points, template, 150)
    pixels = points * (89, 109)
    np.testing.assert_allclose(pixels @ matrix[:, :2].T + matrix[:, 2], template * 150, atol=1e-6)


def test_large_pictures_keep_their_crop():
    rng = np.random.default_rng(3)
    large = cv2.resize(make_face(rng), (400, 400), interpolation=cv2.INTER_CUBIC)
    matrix = np.array([[0.3, 0.05, 10.0], [-0.05, 0.3, 8.0]])
    stored, moved = store(large, matrix, 96)
    direct = cut(large, matrix, 96, 96).astype(float)
    assert stored.shape == (128, 128, 3)
    assert np.abs(cut(stored, moved, 96, 96) - direct).mean() < 6


def test_small_pictures_are_padded_with_their_edge():
    picture = make_face(np.random.default_rng(3))[:109, :89]
    matrix = np.array([[1.0, 0, 30], [0, 1.0, 25]])
    stored, same = store(picture, matrix, 150)
    np.testing.assert_array_equal(same, matrix)
    np.testing.assert_array_equal(cut(stored, matrix, 150, 150), cut(picture, matrix, 150, 150))


# ------------------------------------------------------------------------------------------------- prepare
def test_prepare_skips_what_is_there(prepared, teacher):
    before = {file: file.stat().st_mtime_ns for file in prepared.iterdir()}
    prepare([prepared.parent / "faces"], prepared, teacher, jitters=3, seed=5, part=9)
    assert before == {file: file.stat().st_mtime_ns for file in prepared.iterdir()}
    with pytest.raises(BadArgument, match="give another --to"):
        prepare([prepared.parent / "faces"], prepared, teacher, jitters=4, seed=5, part=9)


def test_a_corrupt_picture_is_a_row_of_the_report(teacher, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    good = make_face(np.random.default_rng(2))
    cv2.imwrite(str(tmp_path / "in" / "a.png"), good[..., ::-1])
    (tmp_path / "in" / "b.jpg").write_bytes(b"this is no picture")
    cv2.imwrite(str(tmp_path / "in" / "c.png"), good[..., ::-1])
    monkeypatch.setattr(distill, "find_framing", lambda pictures: np.array(list(TEMPLATE.values())))
    prepare([tmp_path / "in"], tmp_path / "to", teacher, jitters=2)
    assert len(Prepared(tmp_path / "to", ["in_00000"])) == 2
    rows = list(csv.DictReader((tmp_path / "to" / "in_problems.csv").open()))
    assert [row["file"] for row in rows] == ["b.jpg"]
    assert "not a picture" in rows[0]["reason"]


def test_only_the_folders_asked_for(prepared):
    assert parts_of(prepared, None) == ["faces_00000", "faces_00001"]
    with pytest.raises(BadArgument, match="nothing of 'others'"):
        parts_of(prepared, ["others"])


def test_recalibrating_the_teacher_needs_no_new_numbers(setup):
    data, teacher, _ = setup
    taught = teacher.encodings(data.raw)
    np.testing.assert_allclose(np.linalg.norm(taught, axis=-1), 1, atol=1e-5)
    crops = np.stack([cut(data.picture(0), data.matrices[0, 0], teacher.side, teacher.side)])
    centred = teacher.raw(crops)[0] + teacher.bias
    np.testing.assert_allclose(taught[0, 0], centred / np.linalg.norm(centred), atol=1e-5)


# -------------------------------------------------------------------------------------------------- damage
@pytest.mark.parametrize("change", [change for _, change in DEGRADATIONS], ids=lambda c: c.__name__)
def test_each_damage_gives_a_picture(change):
    face = make_face(np.random.default_rng(0))[:96, :96]
    before = face.copy()
    for seed in range(5):
        changed = change(face, np.random.default_rng(seed))
        assert changed.shape == face.shape and changed.dtype == np.uint8
    assert (changed != before).any()
    np.testing.assert_array_equal(face, before)


def test_damage_is_a_matter_of_the_seed():
    face = make_face(np.random.default_rng(0))
    once, again = (degrade(face, np.random.default_rng(4), 2.0) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(degrade(face, np.random.default_rng(4), 0.0), face)


# ------------------------------------------------------------------------------------------------- batches
def test_every_round_shows_every_picture_once_and_another_crop(setup):
    batches = Batches(*setup)
    seen = [tuple(pair) for step in range(13) for pair in zip(*batches.numbers(step), strict=True)]  # 4 rounds of 13
    rounds = [seen[i : i + 13] for i in range(0, 52, 13)]
    for one in rounds:
        assert sorted(picture for picture, _ in one) == sorted(batches.learned)
    crops = [dict(one) for one in rounds[:3]]
    for picture in batches.learned:
        assert {one[picture] for one in crops} == {0, 1, 2}
    assert not set(batches.held_out) & {picture for picture, _ in seen}


def test_batches_of_the_thread_are_those_of_the_steps(setup):
    batches = Batches(*setup)
    for step, (faces, taught) in enumerate(batches.from_step(2, 5), 2):
        again, taught_again = batches.batch(step)
        np.testing.assert_array_equal(faces, again)
        np.testing.assert_array_equal(taught, taught_again)


def test_what_goes_wrong_in_the_thread_is_raised(setup, monkeypatch):
    batches = Batches(*setup)
    monkeypatch.setattr(batches, "batch", lambda step: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(batches.from_step(0, 2))


# ------------------------------------------------------------------------------------------------ training
def test_same_seed_same_loss_and_killed_is_as_uninterrupted(setup, tmp_path):
    options = {"every": 2, "network": small_student}
    whole = train(*setup, tmp_path / "whole", **options)
    again = train(*setup, tmp_path / "again", **options)
    train(*setup, tmp_path / "killed", stop_after=4, **options)
    with (tmp_path / "killed" / "log.csv").open("a") as log:
        log.write("6,24,0.5,0.1,0.5,\n")  # the kill came after a row, before its checkpoint
    killed = train(*setup, tmp_path / "killed", **options)
    assert losses_of(tmp_path / "whole") == losses_of(tmp_path / "again") == losses_of(tmp_path / "killed")
    for one, two, three in zip(weights_of(whole), weights_of(again), weights_of(killed), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    with pytest.raises(BadArgument, match="seed 1, not 2"):
        train(setup[0], setup[1], replace(setup[2], seed=2), tmp_path / "whole", **options)


def test_another_seed_is_another_training(setup):
    data, teacher, config = setup
    one, two = (Batches(data, teacher, replace(config, seed=seed)) for seed in (1, 2))
    assert one.batch(0)[0].tobytes() != two.batch(0)[0].tobytes()
    one, two = (weights_of(build_student(replace(config, seed=seed), small_student)) for seed in (1, 2))
    assert any((a != b).any() for a, b in zip(one, two, strict=True))


def test_training_learns(setup, tmp_path):
    data, teacher, config = setup
    config = replace(config, steps=60, harsh=0.2, average=0.8)
    train(data, teacher, config, tmp_path, every=20, network=small_student, watched=data)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    assert float(rows[-1]["loss"]) < 0.6 * float(rows[0]["loss"])
    assert float(rows[-1]["cosine"]) > 0.8
    assert float(rows[-1]["watched_cosine"]) > 0.8
    assert float(rows[-1]["rate"]) == pytest.approx(0, abs=1e-6)


def test_the_average_follows_the_weights_and_leaves_them_alone(setup, tmp_path):
    config = replace(setup[2], average=0.0)
    model = build_student(config, small_student)
    model.train_on_batch(*Batches(*setup).batch(0))
    before = weights_of(model)
    for now, averaged in zip(before, averaged_weights(model), strict=True):
        np.testing.assert_allclose(averaged, now, atol=1e-6)  # with momentum 0 the average is the weights
    for one, two in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_fused_batch_norm_is_batch_norm():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (8, 6, 6, 5)).astype("float32")
    plain, fused = layers.BatchNormalization(), FusedBatchNormalization()
    for layer in (plain, fused):
        layer.build(x.shape)
        layer.set_weights([np.linspace(0.5, 2, 5), np.linspace(-1, 1, 5), np.zeros(5), np.ones(5)])
    one, two = (keras.ops.convert_to_numpy(layer(x, training=True)) for layer in (plain, fused))
    np.testing.assert_allclose(one, two, atol=1e-4)
    for one, two in zip(plain.get_weights(), fused.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-2)  # the fused one divides the variance by n − 1
    fused.set_weights(plain.get_weights())
    one, two = (keras.ops.convert_to_numpy(layer(x, training=False)) for layer in (plain, fused))
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_the_command_line_trains_and_writes_a_network(prepared, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(distill, "load_facenet", lambda path: None)
    monkeypatch.setattr(distill, "Teacher", lambda model: teacher)
    monkeypatch.setattr(distill, "faceRecoModel", small_student)
    numbers = {"steps": 2, "warmup": 1, "batch": 4, "validation": 3, "every": 1, "side": 32, "name": "toy"}
    words = ["train", "--from", prepared, "--checkpoints", tmp_path / "c", "--to", tmp_path / "net"]
    words += [word for key, value in numbers.items() for word in (f"--{key}", value)]
    distill.main([str(word) for word in words])
    model = load_facenet(tmp_path / "net")
    assert model.facenet.name == "toy" and model.input_shape == (None, 32, 32, 3)
    assert not any("batch" in type(layer).__name__.lower() for layer in model.layers)
