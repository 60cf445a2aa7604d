"""Networks on disk: the shipped ones, saving and loading, damaged files, and what students own."""

from __future__ import annotations

import copy
import json
import pickle
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import inception_blocks_v2
from facerec import network_info, networks
from facerec._files import ROOT
from facerec.database import FaceDatabase, fingerprint_of
from facerec.detection import TEMPLATE, extract_face
from facerec.encoding import faces_to_encodings, img_to_encoding
from facerec.errors import BadArgument, BadNetwork
from facerec.evaluation import FalseAccepts, Probability
from facerec.gallery import open_gallery
from facerec.networks import FaceNetInfo, info_of, load_facenet, save_network, threshold_for
from fr_utils import identify
from inception_blocks_v2 import InceptionResNetV1

SHIPPED = Path(ROOT) / "weights" / "resnet"


FILE_NAMES = ("model.json", "model.h5", "facenet.json")


def test_shipped_network_carries_its_info(network):
    assert network.input_shape == (None, 150, 150, 3) and network.output_shape == (None, 128)
    info = info_of(network)
    assert info.side == 150 and info.threshold == 0.7 and not network.trainable
    assert info.template.keys() == TEMPLATE.keys()


def test_shipped_network_is_small_enough_for_git():
    assert sum((SHIPPED / name).stat().st_size for name in FILE_NAMES) < 25e6


def test_keras_alone_opens_the_shipped_network(network, photos):
    """No Lambda, no custom object: model_from_json and load_weights are enough, and give the same numbers."""
    text = (SHIPPED / "model.json").read_text(encoding="utf-8")
    layers = json.loads(text)["config"]["layers"]
    (trunk,) = [layer for layer in layers if layer["class_name"] == "Functional"]
    for layer in [layer for layer in layers if layer is not trunk] + trunk["config"]["layers"]:
        assert layer["module"] == "keras.layers" and layer["registered_name"] is None, layer["name"]
        assert layer["class_name"] != "Lambda", layer["name"]
    model = keras.models.model_from_json(text)
    model.load_weights(SHIPPED / "model.h5")
    face = extract_face(photos["lena"])[None].astype(np.float32)
    np.testing.assert_allclose(model(face), network(face), atol=1e-6)


def test_save_network_and_load_facenet_round_trip(small_network, tmp_path):
    template = {"left_eye": (0.25, 0.25), "right_eye": (0.75, 0.25)}
    calibration = {"factor": 0.5, "fitted_on": "жители", "range": [0.1, 0.2]}
    folder = tmp_path / "new" / "folder"
    probability = Probability("isotonic", 0.25, (0.3, 0.5, 0.9), (4.0, 1.5, -3.0))
    curve = FalseAccepts((0.4, 0.5), (1e-4, 1e-2))
    info = {"template": template, "threshold": 0.9, "calibration": calibration, "probability": probability}
    info |= {"false_accepts": curve, "cluster_threshold": 0.55}
    save_network(small_network, folder, name="klein", **info)
    loaded = load_facenet(folder)
    assert info_of(loaded) == FaceNetInfo("klein", 8, **info) and not loaded.trainable
    faces = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(faces), small_network(faces))
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILE_NAMES)


@pytest.fixture
def carded(small_folder) -> keras.Model:
    """A small network with a card unlike the default one."""
    probability = Probability("isotonic", 0.25, (0.3, 0.5, 0.9), (4.0, 1.5, -3.0))
    curve = FalseAccepts((0.4, 0.5), (1e-4, 1e-2))
    template = {"left_eye": (0.25, 1 / 3), "right_eye": (0.75, 1 / 3)}
    info = {"template": template, "threshold": 0.9, "calibration": {"fitted_on": [1, 2]}, "probability": probability}
    save_network(load_facenet(small_folder), small_folder, name="klein", false_accepts=curve, **info)
    return load_facenet(small_folder)


def through_file(ending: str) -> Callable[[keras.Model, Path], keras.Model]:
    def save_and_load(model, folder):
        model.save(folder / f"copy{ending}")
        return load_facenet(folder / f"copy{ending}")

    return save_and_load


COPIES = {
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, folder: copy.deepcopy(model),
    ".keras": through_file(".keras"),
    ".h5": through_file(".h5"),
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_copy_of_a_network_is_the_same_network(carded, tmp_path, make):
    """Its card travels with it: a lasting database takes the copy, and the confidence stays what it was."""
    twin = make(carded, tmp_path)
    assert twin is not carded and info_of(twin) == info_of(carded) and fingerprint_of(twin) == fingerprint_of(carded)
    with FaceDatabase(":memory:", network=carded) as database:
        database["eve"] = np.eye(128, dtype=np.float32)[0]
        assert open_gallery(database, twin).nearest(np.eye(128, dtype=np.float32)[:1])[0] == "eve"
    np.testing.assert_array_equal(networks.confidence([0.4, 0.8], twin), networks.confidence([0.4, 0.8], carded))
    faces = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(faces_to_encodings(faces, twin), faces_to_encodings(faces, carded))


def test_clone_has_new_weights_and_no_card(carded):
    """What was measured on the network does not hold for the clone, whose weights are random."""
    clone = keras.models.clone_model(carded)
    assert info_of(clone) == FaceNetInfo("small", 8) and fingerprint_of(clone) != fingerprint_of(carded)


def test_saved_network_needs_no_class_of_this_project(carded, tmp_path):
    save_network(carded, tmp_path / "again", name="again")
    text = (tmp_path / "again" / "model.json").read_text()
    assert "facerec" not in text and json.loads(text)["class_name"] == "Functional"
    with h5py.File(tmp_path / "again" / "model.h5") as file:
        assert "facerec" not in file.attrs["model_config"]


def test_network_saved_as_one_file_carries_its_own_scaling(carded, tmp_path):
    carded.save(tmp_path / "copy.keras")
    with pytest.raises(BadArgument, match=r"copy\.keras carries its own scaling and side"):
        load_facenet(tmp_path / "copy.keras", scaling="0..1")


def test_load_facenet_finds_the_project_from_any_folder(tmp_path, monkeypatch, small_folder):
    """Relative to where Python runs, or else to the project."""
    monkeypatch.chdir(tmp_path)
    assert load_facenet(small_folder.name).name == "small"
    assert load_facenet(str(small_folder)).name == "small"


def test_saving_over_a_network_replaces_it(small_folder, small_network):
    small_network.layers[-2].set_weights([w + 1 for w in small_network.layers[-2].get_weights()])
    save_network(small_network, small_folder, name="second")
    loaded = load_facenet(small_folder)
    assert info_of(loaded).name == "second"
    np.testing.assert_array_equal(loaded.layers[-2].get_weights()[0], small_network.layers[-2].get_weights()[0])


@pytest.mark.parametrize("step", ["save", "to_json"])
def test_failed_save_keeps_the_old_network(small_folder, small_network, monkeypatch, step):
    """No file is replaced before the last one is written; nothing half made is left lying about."""
    other = keras.Model(small_network.input, small_network.layers[-2].output, name="other")
    before = {path.name: path.read_bytes() for path in small_folder.iterdir()}

    def no_space(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(type(other), step, no_space)
    with pytest.raises(OSError, match="no space left"):
        save_network(other, small_folder, name="second")
    assert {path.name: path.read_bytes() for path in small_folder.iterdir()} == before


@pytest.mark.parametrize("file", FILE_NAMES)
def test_load_facenet_names_a_missing_file(small_folder, file):
    (small_folder / file).unlink()
    with pytest.raises(BadNetwork, match=f"{re.escape(str(small_folder))} .*{re.escape(file)}"):
        load_facenet(small_folder)


@pytest.mark.parametrize("file", ["model.json", "model.h5"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_load_facenet_detects_one_flipped_bit(small_folder, file, place):
    data = bytearray((small_folder / file).read_bytes())
    data[int(place * len(data))] ^= 1
    (small_folder / file).write_bytes(data)
    with pytest.raises(BadNetwork, match=f"{file} is damaged .*copy the whole folder again"):
        load_facenet(small_folder)


def test_missing_file_of_a_copied_network_says_copy_again(small_folder):
    (small_folder / "model.h5").unlink()
    with pytest.raises(BadNetwork, match="has no model.h5; copy the whole folder again"):
        load_facenet(small_folder)


def test_missing_file_of_a_shipped_network_names_a_git_command_that_works(tmp_path, small_folder, monkeypatch):
    monkeypatch.setattr(network_info, "ROOT", tmp_path)
    folder = shutil.copytree(small_folder, tmp_path / "weights" / "resnet")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "weights"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    (folder / "model.h5").unlink()
    with pytest.raises(BadNetwork, match="git checkout") as caught:
        load_facenet(folder)
    advice = re.search("'(git checkout [^']*)'", str(caught.value))[1]
    subprocess.run(advice.split(), cwd=tmp_path, check=True)
    assert load_facenet(folder).output_shape == (None, 128)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "is damaged"), ("", "is damaged"), ("{}", "is incomplete"), ("[]", "is incomplete"), ("7", "is incomplete")],
)
def test_load_facenet_rejects_a_damaged_card(small_folder, text, reason):
    (small_folder / "facenet.json").write_text(text)
    with pytest.raises(BadNetwork, match=f"facenet.json {reason}"):
        load_facenet(small_folder)


@pytest.mark.parametrize("entry", ["name", "side", "template", "threshold", "sha256", "model.h5"])
def test_load_facenet_rejects_a_card_without_an_entry(small_folder, entry):
    card = json.loads((small_folder / "facenet.json").read_text())
    del (card["sha256"] if entry == "model.h5" else card)[entry]
    (small_folder / "facenet.json").write_text(json.dumps(card))
    with pytest.raises(BadNetwork, match="facenet.json is incomplete"):
        load_facenet(small_folder)


def test_load_facenet_names_a_missing_folder():
    with pytest.raises(
        BadNetwork, match="no/such/network does not hold a network: .*this project ships weights/resnet"
    ):
        load_facenet("no/such/network")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ("0..255", lambda faces: faces),
        ("0..1", lambda faces: faces / 255),
        ("-1..1", lambda faces: faces / 127.5 - 1),
        ((1 / 128, -127.5 / 128), lambda faces: (faces - 127.5) / 128),
    ],
    ids=["0..255", "0..1", "-1..1", "factor and offset"],
)
def test_load_facenet_adds_scaling_and_unit_length_to_a_keras_file(bare_network, tmp_path, ending, scaling, expected):
    path = tmp_path / f"mine{ending}"
    bare_network.save(path)
    model = load_facenet(path, scaling=scaling)
    faces = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    raw = np.asarray(bare_network(expected(faces).astype(np.float32)))
    np.testing.assert_allclose(model(faces), raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)
    assert info_of(model).side == 8 and info_of(model).name == "mine" and not model.trainable


@pytest.fixture
def bare_network() -> keras.Model:
    """A foreign network: 8×8 faces to 16 numbers of any length."""
    start = keras.initializers.RandomNormal(seed=2)
    layers = [keras.layers.Flatten(), keras.layers.Dense(16, kernel_initializer=start)]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


def test_load_facenet_needs_a_side_where_the_file_leaves_it_open(tmp_path):
    path = tmp_path / "any.keras"
    keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]).save(path)
    with pytest.raises(BadArgument, match="takes faces of any size; say which with side="):
        load_facenet(path, scaling="0..1")
    assert load_facenet(path, scaling="0..1", side=24).input_shape == (None, 24, 24, 3)


def test_load_facenet_explains_a_bad_keras_file(bare_network, small_folder, tmp_path):
    path, text, map_of_numbers = tmp_path / "mine.keras", tmp_path / "text.keras", tmp_path / "maps.keras"
    bare_network.save(path)
    text.write_text("no network")
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]).save(map_of_numbers)
    with pytest.raises(BadArgument, match="mine.keras: say what the network expects with scaling="):
        load_facenet(path)
    with pytest.raises(BadArgument, match=r"scaling='0..2': one of '0..255', '0..1', '-1..1', or a pair"):
        load_facenet(path, scaling="0..2")
    with pytest.raises(BadNetwork, match=r"mine takes \(None, 8, 8, 3\), not faces \(m, 9, 9, 3\)"):
        load_facenet(path, scaling="0..1", side=9)
    with pytest.raises(BadNetwork, match="text.keras can't be opened as a Keras model"):
        load_facenet(text, scaling="0..1")
    with pytest.raises(BadNetwork, match=r"maps gives \(None, 6, 6, 4\); encodings are \(m, D\)"):
        load_facenet(map_of_numbers, scaling="0..1")
    with pytest.raises(BadArgument, match="carries its own scaling and side"):
        load_facenet(small_folder, scaling="0..1")


def test_info_of_rejects_a_network_that_does_not_take_faces():
    model = keras.Sequential([keras.Input((8, 9, 3)), keras.layers.Flatten()])
    with pytest.raises(BadNetwork, match=r"a face network takes \(m, S, S, 3\)"):
        img_to_encoding(BLANK, model, aligned=True)


def test_confidence_is_nan_for_an_uncalibrated_network(images, small_network):
    known = {"eve": np.eye(128, dtype=np.float32)[0]}
    assert identify(images / "camera_0.jpg", known, small_network).confidence.isna().all()


@pytest.mark.parametrize(
    ("name", "curve", "said"),
    [
        (
            "probability",
            {"method": "logistic", "prior": 0.5, "distances": [0.4, 1.0], "log_odds": [-3.0, 3.0]},
            "the farther, the less probable",
        ),
        ("false_accepts", {"distances": [0.4, 1.0], "shares": [0.1, 0.01]}, "both ascending"),
    ],
)
def test_load_facenet_rejects_a_card_with_an_impossible_curve(small_folder, name, curve, said):
    card = json.loads((small_folder / "facenet.json").read_text())
    (small_folder / "facenet.json").write_text(json.dumps(card | {name: curve}))
    with pytest.raises(BadNetwork, match=f"facenet.json is damaged: .*{said}"):
        load_facenet(small_folder)


@pytest.mark.parametrize("network", ["weights/resnet", "keras-facenet-h5"])
def test_threshold_falls_with_the_number_of_people(network):
    model = load_facenet(network)
    thresholds = [threshold_for(model, people=people) for people in (None, 10, 100, 1000)]
    assert thresholds[0] == 0.7 and thresholds == sorted(thresholds, reverse=True) and thresholds[-1] < 0.5
    assert threshold_for(model, people=10, strangers=0.1) > thresholds[1]
    assert threshold_for(model, 0.66, people=1000) == 0.66  # one's own choice stays


def test_threshold_of_an_unmeasured_network_is_one_for_all(small_network):
    assert threshold_for(small_network, people=10_000) == info_of(small_network).threshold


BLANK = np.full((60, 80, 3), 128, np.uint8)

#: What the course's model.json looks like where it matters: a Lambda whose bytecode no Python of today reads.
DEAD_LAMBDA = {
    "class_name": "Functional",
    "config": {
        "name": "inception_resnet_v1",
        "layers": [
            {
                "class_name": "Lambda",
                "name": "Block35_1_ScaleSum",
                "config": {"function": ["4wIAAAAAAAAAAAAAAAQ=\n", None, None], "function_type": "lambda"},
            },
            {"class_name": "Dense", "name": "Bottleneck", "config": {"name": "Bottleneck", "units": 128}},
        ],
    },
    "keras_version": "2.4.0",
    "backend": "tensorflow",
}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder like the course's, and the network that it holds: one block of each kind, with weights of our own."""
    folder = tmp_path_factory.mktemp("courses") / "keras-facenet-h5"
    folder.mkdir()
    keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        one_each = [(kind, *([1, *rest[1:]] if rest else [])) for kind, *rest in inception_blocks_v2.RESNET_STAGES]
        patch.setattr(inception_blocks_v2, "RESNET_STAGES", one_each)
        yield folder, save_courses(folder)


def save_courses(folder: Path) -> keras.Model:
    """Write the two files of such a folder; returns the network."""
    network = InceptionResNetV1()
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # fresh ones would hide what is not loaded
            layer.moving_mean.assign(np.random.default_rng(1).normal(0, 0.1, layer.moving_mean.shape))
    network.save(folder / "model.h5", include_optimizer=False)
    (folder / "model.json").write_text(json.dumps(DEAD_LAMBDA))
    return network


FACES = np.random.default_rng(2).integers(0, 256, (2, 160, 160, 3)).astype("float32")


@pytest.fixture(scope="module")
def loaded(course) -> tuple[keras.Model, np.ndarray]:
    """What ``load_facenet`` makes of the course's folder, and what the network in it encodes."""
    folder, network = course
    expected = np.asarray(network(FACES / 255, training=False))
    return load_facenet(folder), expected / np.linalg.norm(expected, axis=1, keepdims=True)


def test_course_folder_loads_by_layer_name_with_equal_outputs(loaded):
    model, expected = loaded
    np.testing.assert_allclose(faces_to_encodings(FACES, model), expected, atol=1e-5)
    assert model.facenet.side == 160
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in model.layers)


def test_course_network_encodes_a_photo(loaded):
    encoding = img_to_encoding("images/lena.jpg", loaded[0])
    assert encoding.shape == (128,)
    assert np.linalg.norm(encoding) == pytest.approx(1, abs=1e-5)


def test_weights_of_another_network_are_rejected_with_the_layers_name(course, tmp_path):
    (tmp_path / "model.json").write_text((course[0] / "model.json").read_text())
    with pytest.raises(BadNetwork, match="no weights: model.h5 is missing"):
        load_facenet(tmp_path)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="Bottleneck")]).save(tmp_path / "model.h5")
    with pytest.raises(BadNetwork, match="layer Conv2d_1a_3x3 is None, expected"):
        load_facenet(tmp_path)
    (tmp_path / "model.h5").write_bytes(b"nothing")
    with pytest.raises(BadNetwork, match=r"model\.h5 can't be read as a weights file"):
        load_facenet(tmp_path)
    with h5py.File(tmp_path / "model.h5", "w"):
        pass
    with pytest.raises(BadNetwork, match="Conv2d_1a_3x3 is None"):
        load_facenet(tmp_path)
