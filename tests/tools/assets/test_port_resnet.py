"""The public-domain network in plain Keras layers: the file's format, the folding, and the engine it comes from.

``tests/data/resnet_raw.npy`` holds the raw 128 numbers of the reference engine (dlib-bin) for eight faces, with
the name of the picture and the keypoints by which the face was cut. Where the engine is installed,
``python tests/tools/assets/test_port_resnet.py`` writes it again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

from facerec._files import ROOT
from facerec.detection import KEYPOINTS, align_face, detect_faces
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument
from facerec.networks import load_facenet
from facerec.photos import load_image
from tools.assets import port_resnet
from tools.assets.port_resnet import MEAN_RGB, DatReader, build_resnet, build_trunk, pad_to, port, residual_block

GOLDEN = ROOT / "tests" / "data" / "resnet_raw.npy"
KIND = [("picture", "U16"), ("keypoints", "f4", (5, 2)), ("raw", "f4", 128)]
FACES = ("lena", "kofi", "mei", "otto", "camera_3", "camera_9", "camera_16", "lookalike")


def weights_file() -> Path | None:
    """The engine's weights inside the package face_recognition_models, which is not imported for that."""
    spec = importlib.util.find_spec("face_recognition_models")
    return Path(spec.submodule_search_locations[0]) / port_resnet.DAT if spec else None


def crops(keypoints: np.ndarray) -> np.ndarray:
    """The faces of the committed pictures, cut by ours at these points (m, 5, 2): (m, 150, 150, 3) uint8."""
    points = [dict(zip(KEYPOINTS, face, strict=True)) for face in keypoints]
    return np.stack([align_face(photo_of(name), face) for name, face in zip(FACES, points, strict=True)])


def photo_of(name: str) -> np.ndarray:
    return load_image(ROOT / "images" / f"{name}.jpg")


def engine_numbers(faces: np.ndarray) -> np.ndarray:
    """The raw 128 numbers of the reference engine, (m, 128)."""
    import dlib

    model = dlib.face_recognition_model_v1(str(weights_file()))
    return np.array([model.compute_face_descriptor(face) for face in faces], np.float32)


@pytest.fixture(scope="module")
def faces():
    return crops(np.load(GOLDEN)["keypoints"])


@pytest.fixture(scope="module")
def raw(network, faces) -> np.ndarray:
    """The raw 128 numbers of the shipped network's trunk: one look, no centring, no unit length."""
    return faces_to_encodings(faces, network.get_layer("trunk"))


# ----------------------------------------------------------------------------------------- reading the file
def integer(value: int) -> bytes:
    """An integer as dlib writes it: a control byte (how many bytes, and the sign), then little-endian bytes."""
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def tensor(values: np.ndarray, shape: tuple[int, int, int, int], version: int = 2) -> bytes:
    """A tensor as dlib writes it."""
    header = b"".join(integer(n) for n in (version, *shape))
    return header + struct.pack(f"<{values.size}f", *values.ravel())


@pytest.mark.parametrize("value", [0, 1, -1, 5, 127, 128, 255, 256, -256, 65535, -70_000, 2**24, 2**31, -(2**40) - 3])
def test_reader_reads_integers(value):
    reader = DatReader(integer(value) + b"\xff")
    assert reader.integer() == value and reader.at == len(integer(value))


def test_reader_reads_an_integer_byte_by_byte():
    """Three bytes, negative: 0x83, then 0x010203 from its lowest byte."""
    assert DatReader(b"\x83\x03\x02\x01").integer() == -0x010203
    assert DatReader(b"\x00").integer() == 0


def test_reader_reads_tensors_and_integers_in_turn():
    values = np.random.default_rng(0).normal(size=(5, 300, 1, 2)).astype(np.float32)
    reader = DatReader(integer(-4) + tensor(values, (5, 300, 1, 2)) + integer(9))
    assert reader.integer() == -4
    np.testing.assert_array_equal(reader.tensor(), values.ravel())
    assert reader.integer() == 9


def test_seek_moves_from_layer_to_layer():
    reader = DatReader(b"xxcon_4" + integer(1) + b"..con_4" + integer(2))
    for expected in (1, 2):
        reader.seek(b"con_4")
        assert reader.integer() == expected
    with pytest.raises(BadArgument, match="no further layer con_4 after byte 18: is this the right file?"):
        reader.seek(b"con_4")


def test_reader_rejects_a_tensor_of_another_version():
    with pytest.raises(BadArgument, match="a tensor of version 3 at byte 2"):
        DatReader(tensor(np.zeros(1), (1, 1, 1, 1), version=3)).tensor()


@pytest.mark.parametrize("left", range(1, 20, 3))
def test_reader_rejects_a_truncated_file(left):
    data = tensor(np.zeros(300), (300, 1, 1, 1))
    with pytest.raises(BadArgument, match="the file ends within a layer"):
        DatReader(data[:-left]).tensor()
    with pytest.raises(BadArgument, match="the file ends within a layer"):
        DatReader(data[: left // 2]).tensor()


def slow_convolution(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """x (H, W, C) with the file's kernel (filters, C, rows, columns), as a loop over every place of the output."""
    filters, _, rows, columns = kernel.shape
    out = np.zeros((x.shape[0] - rows + 1, x.shape[1] - columns + 1, filters))
    for y, z, f in np.ndindex(*out.shape):
        out[y, z, f] = np.sum(x[y : y + rows, z : z + columns].transpose(2, 0, 1) * kernel[f])
    return out


def test_folded_affine_layer_changes_no_output():
    """Our kernel and bias give what convolution, bias, scale and offset give one after the other."""
    import keras

    rng = np.random.default_rng(5)
    kernel, bias = rng.normal(size=(4, 3, 2, 2)), rng.normal(size=4)
    scale, offset = rng.normal(size=(2, 4))
    data = b"con_4" + tensor(np.concatenate([kernel.ravel(), bias]), (1, 1, 1, 52))
    data += b"junk affine_" + tensor(np.concatenate([scale, offset]), (8, 1, 1, 1))
    x = rng.normal(size=(6, 7, 3))
    expected = (slow_convolution(x, kernel) + bias) * scale + offset

    layer = keras.layers.Conv2D(4, 2)
    layer.build((None, 6, 7, 3))
    layer.set_weights(DatReader(data).convolution(filters=4, channels=3, size=2))
    np.testing.assert_allclose(layer(x[None].astype(np.float32))[0], expected, atol=1e-5)


def test_reader_reads_the_last_layer_inputs_first():
    values = np.arange(6.0)
    data = b"fc_2" + integer(2) + integer(3) + tensor(values, (3, 2, 1, 1))
    np.testing.assert_array_equal(DatReader(data).dense(), [[0, 1], [2, 3], [4, 5]])


# ------------------------------------------------------------------------------------- building the network
@pytest.mark.parametrize("shape", [(4, 5, 3), (6, 5, 3), (4, 8, 3), (4, 5, 7), (5, 6, 9)])
def test_pad_to_agrees_with_numpy(shape):
    import keras

    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    given = keras.Input((4, 5, 3))
    padded = keras.Model(given, keras.layers.Identity()(pad_to(given, shape, "x")))(x)
    expected = np.pad(x, [(0, 0), *((0, to - now) for to, now in zip(shape, x.shape[1:], strict=True))])
    np.testing.assert_array_equal(padded, expected)


@pytest.mark.parametrize("halve", [False, True])
def test_residual_block_agrees_with_numpy(halve):
    """Two convolutions added to the input; or, halved, to its 2×2 average, both grown with zeros to the larger."""
    import keras

    given = keras.Input((7, 7, 2))
    model = keras.Model(given, residual_block(given, 4 if halve else 2, halve, "block"))
    rng = np.random.default_rng(1)
    for layer in model.layers:
        layer.set_weights([rng.normal(size=w.shape) * 0.3 for w in layer.get_weights()])
    (k1, b1), (k2, b2) = (model.get_layer(f"block_conv{i}").get_weights() for i in (1, 2))
    x = rng.normal(size=(7, 7, 2))

    def conv(x, kernel, bias, pad):
        return slow_convolution(np.pad(x, ((pad, pad), (pad, pad), (0, 0))), kernel.transpose(3, 2, 0, 1)) + bias

    y = np.maximum(conv(x, k1, b1, pad=0)[::2, ::2] if halve else conv(x, k1, b1, pad=1), 0)
    y = conv(y, k2, b2, pad=1)
    shortcut = x
    if halve:  # 7 → 3 pixels on both ways; 2 → 4 channels
        shortcut = np.pad(x[:6, :6].reshape(3, 2, 3, 2, 2).mean(axis=(1, 3)), ((0, 0), (0, 0), (0, 2)))
    expected = np.maximum(shortcut + y, 0)
    np.testing.assert_allclose(model(x[None].astype(np.float32))[0], expected, atol=1e-5)


def test_network_has_the_published_size_and_scaling():
    """29 convolutions; with the affine layers folded in, 5,580,000 numbers and a few; input scaled inside."""
    import keras

    model = build_trunk()
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 29 and convolutions[0].kernel.shape == (7, 7, 3, 32)
    affine = sum(2 * layer.filters for layer in convolutions)
    assert model.count_params() + affine == 5_614_592  # the published number, with the affine layers
    assert build_resnet().count_params() == model.count_params() + 150**2 + 128**2 + 128  # what mirrors and centres
    assert model.output_shape == build_resnet().output_shape == (None, 128)
    mean = np.broadcast_to(np.float32(MEAN_RGB), (1, 150, 150, 3))
    np.testing.assert_allclose(model.get_layer("scaling")(mean), 0, atol=1e-6)
    np.testing.assert_allclose(model.get_layer("scaling")(mean + 256), 1, atol=1e-6)


# ----------------------------------------------------------------------------------------------- the oracle
def test_shipped_network_gives_the_numbers_of_the_engine(raw):
    """Against the file, so without the engine. The faces are cut anew from the pictures, at the stored points;
    the tolerance of 1e-3 is for another machine's JPEG decoder and interpolation.
    """
    golden = np.load(GOLDEN)
    assert tuple(golden["picture"]) == FACES and golden["raw"].shape == (8, 128)
    np.testing.assert_allclose(raw, golden["raw"], atol=1e-3)


def test_stored_keypoints_are_the_detectors(detections):
    """To a pixel and a half: it rounds them to whole ones, which another machine may round the other way."""
    for golden in np.load(GOLDEN):
        (face,) = detections[golden["picture"]]
        np.testing.assert_allclose([face["keypoints"][name] for name in KEYPOINTS], golden["keypoints"], atol=1.5)


def test_golden_numbers_are_not_noise():
    """The raw numbers lie in a cone (mean norm 1.44), and no two faces are alike."""
    numbers = np.load(GOLDEN)["raw"]
    assert numbers.dtype == np.float32 and np.linalg.norm(numbers, axis=1) == pytest.approx(1.44, abs=0.15)
    distances = np.linalg.norm(numbers[:, None] - numbers[None], axis=2)
    assert distances[~np.eye(8, dtype=bool)].min() > 0.4


def unit(x: np.ndarray) -> np.ndarray:
    """Encodings (m, D) at unit length."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_encoding_averages_face_and_mirror_image_and_is_centred(network, faces, raw):
    mirrored = faces_to_encodings(np.asarray(faces)[:, :, ::-1], network.get_layer("trunk"))
    assert np.abs(raw - mirrored).max() > 0.01  # a face is not its mirror image
    expected = unit(unit((raw + mirrored) / 2) + np.asarray(network.get_layer("centred").bias))
    np.testing.assert_allclose(faces_to_encodings(faces, network), expected, atol=1e-6)


def test_mirror_layer_flips_exactly(network, faces):
    turned = network.get_layer("mirror")(np.float32(faces))
    np.testing.assert_array_equal(turned, np.asarray(faces)[:, :, ::-1])


def test_face_and_mirror_image_have_the_same_encoding(network, faces):
    turned = np.asarray(faces)[:, :, ::-1]
    np.testing.assert_allclose(faces_to_encodings(turned, network), faces_to_encodings(faces, network), atol=1e-6)


@pytest.mark.engine
def test_engine_gives_the_same_numbers(faces, raw):
    """The same eight crops through both: 1e-5."""
    pytest.importorskip("dlib")
    if not weights_file():
        pytest.skip("the package face_recognition_models is not installed")
    np.testing.assert_allclose(raw, engine_numbers(faces), atol=1e-5)


@pytest.mark.engine
def test_shipped_weights_equal_a_fresh_port():
    """Every number of the folder is the public file's, apart from the bias that the calibration wrote."""
    if not weights_file():
        pytest.skip("the package face_recognition_models is not installed")
    fresh, shipped = port(weights_file().read_bytes()), load_facenet("weights/resnet")
    assert [layer.name for layer in fresh.layers] == [layer.name for layer in shipped.layers]
    for ours, theirs in zip(shipped.weights, fresh.weights, strict=True):
        if ours.path != "centred/bias":
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)
    assert np.any(shipped.get_layer("centred").bias) and not np.any(fresh.get_layer("centred").bias)


def test_read_dat_rejects_another_file(tmp_path, monkeypatch):
    path = tmp_path / "weights.dat"
    path.write_bytes(b"con_4 and so on")
    with pytest.raises(BadArgument, match="weights.dat is not the file that this tool was written for"):
        port_resnet.read_dat(path)
    monkeypatch.setattr(port_resnet, "DAT_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert port_resnet.read_dat(path) == b"con_4 and so on"


def test_find_dat_names_a_missing_package(monkeypatch):
    monkeypatch.setattr(port_resnet, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(BadArgument, match="no_such_package_of_weights is not installed .* or give --dat FILE"):
        port_resnet.find_dat()


def test_port_rejects_a_file_without_layers():
    with pytest.raises(BadArgument, match="no further layer con_4 after byte 0: is this the right file?"):
        port(b"something else entirely")


if __name__ == "__main__":
    found = [detect_faces(photo_of(name))[0]["keypoints"] for name in FACES]
    keypoints = np.array([[face[name] for name in KEYPOINTS] for face in found], np.float32)
    golden = np.array(list(zip(FACES, keypoints, engine_numbers(crops(keypoints)), strict=True)), KIND)
    GOLDEN.parent.mkdir(exist_ok=True)
    np.save(GOLDEN, golden)
    print(f"{len(golden)} faces in {GOLDEN}")
