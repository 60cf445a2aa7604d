"""Port the public-domain face recognition ResNet into plain Keras layers.

    python tools/assets/port_resnet.py                 # reads the weights of the package face_recognition_models
    python tools/assets/port_resnet.py --dat FILE.dat  # reads the weights from a file

It writes ``model.json``, ``model.h5`` and ``facenet.json`` into ``weights/resnet/``. Its encodings are not centred yet:
run ``python tools/assets/calibrate.py weights/resnet --lfw DIR`` next.

Source: Davis King, "High Quality Face Recognition with Deep Metric Learning", 2017 (the network and its weights, CC0);
the file is ``dlib_face_recognition_resnet_model_v1.dat``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from facerec._files import ROOT
from facerec._quiet import quietly
from facerec.detection import TEMPLATE
from facerec.errors import BadArgument, run
from facerec.networks import save_network

with quietly():
    import keras
    from keras import layers

PACKAGE = "face_recognition_models"

DAT = "models/dlib_face_recognition_resnet_model_v1.dat"


DAT_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"

#: The approximate equal-error threshold before the encodings are centred; calibrate.py replaces it.
BARE_THRESHOLD = 0.44

SIDE = 150

MEAN_RGB = (122.782, 117.001, 104.298)

SCALE = 1 / 256

#: The residual stages, from input to output: (filters, blocks, does the first block halve the picture?)
STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))


class DatReader:
    """Reads the integers and tensors of a dlib network file, in their order."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def seek(self, name: bytes) -> None:
        """Move just past the next layer of that name."""
        found = self.data.find(name, self.at)
        if found < 0:
            raise BadArgument(f"no further layer {name.decode()} after byte {self.at}: is this the right file?")
        self.at = found + len(name)

    def integer(self) -> int:
        """Read an integer: a control byte (low 4 bits: number of bytes, bit 7: negative), then little-endian bytes."""
        (control,) = self._take(1)
        value = int.from_bytes(self._take(control & 0x0F), "little")
        return -value if control & 0x80 else value

    def tensor(self) -> np.ndarray:
        """Read a tensor: a version (2), four sizes, then float32 numbers, which are returned flat."""
        version = self.integer()
        if version != 2:
            raise BadArgument(f"a tensor of version {version} at byte {self.at}; this reader knows version 2")
        count = int(np.prod([self.integer() for _ in range(4)]))
        return np.frombuffer(self._take(4 * count), "<f4")

    def _take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        taken = self.data[self.at : self.at + size]
        if len(taken) < size:
            raise BadArgument(f"the file ends within a layer, after {len(self.data):,} bytes: is it complete?")
        self.at += size
        return taken

    def convolution(self, filters: int, channels: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the next convolution with its affine layer folded in: kernel (size, size, in, out), bias (out,)."""
        self.seek(b"con_4")
        values = self.tensor()
        kernel = values[:-filters].reshape(filters, channels, size, size).transpose(2, 3, 1, 0)
        bias = values[-filters:]
        self.seek(b"affine_")
        scale, offset = self.tensor().reshape(2, filters)
        return kernel * scale, bias * scale + offset

    def dense(self) -> np.ndarray:
        """Read the last layer, (inputs, outputs); it has no bias."""
        self.seek(b"fc_2")
        outputs, inputs = self.integer(), self.integer()
        return self.tensor().reshape(inputs, outputs)


def pad_to(x, shape: tuple[int, int, int], name: str):
    """Grow ``x`` with zeros at the bottom, at the right and in its channels to ``shape`` = (H, W, C)."""
    missing = [(0, to - now) for now, to in zip(x.shape[1:], shape, strict=True)]
    if not any(after for _, after in missing):
        return x
    x = layers.Reshape((*x.shape[1:], 1), name=f"{name}_as_volume")(x)
    x = layers.ZeroPadding3D(missing, name=f"{name}_pad")(x)
    return layers.Reshape(shape, name=f"{name}_as_picture")(x)


def residual_block(x, filters: int, halve: bool, name: str):
    """conv 3×3, ReLU, conv 3×3, added to the input (or to its 2×2 average, where the picture is halved)."""
    first = {"strides": 2, "padding": "valid"} if halve else {"padding": "same"}
    y = layers.Conv2D(filters, 3, activation="relu", name=f"{name}_conv1", **first)(x)
    y = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv2")(y)
    if halve:
        x = layers.AveragePooling2D(2, name=f"{name}_shortcut")(x)
    shape = tuple(max(a, b) for a, b in zip(x.shape[1:], y.shape[1:], strict=True))
    x, y = pad_to(x, shape, f"{name}_shortcut"), pad_to(y, shape, f"{name}_conv2")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([x, y]))


def build_trunk() -> keras.Model:
    """The 29-convolution residual network as its author made it: (m, 150, 150, 3) RGB in 0..255 → (m, 128)."""
    faces = keras.Input((SIDE, SIDE, 3), name="faces")
    offset = [-mean * SCALE for mean in MEAN_RGB]
    x = layers.Rescaling(SCALE, offset, name="scaling")(faces)  #                           (m, 150, 150, 3)
    x = layers.Conv2D(32, 7, strides=2, activation="relu", name="conv1")(x)  #              (m, 72, 72, 32)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)  #                               (m, 35, 35, 32)
    for stage, (filters, blocks, halve) in enumerate(STAGES, 2):  # 35 → 35 → 17 → 8 → 4 → 2 pixels
        for block in range(1, blocks + 1):
            x = residual_block(x, filters, halve and block == 1, f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="average")(x)  #                                 (m, 256)
    return keras.Model(faces, layers.Dense(128, use_bias=False, name="raw")(x), name="trunk")  # (m, 128)


def build_resnet() -> keras.Model:
    """Build the shipped network: the trunk encodes a face and its mirror image → (m, 128) of unit length.

    The two results are averaged, scaled to unit length, centred, and scaled to unit length again. Centring comes after
    unit length, because the length of the raw numbers tells how clear a picture is, not who is on it.
    """
    faces, trunk = keras.Input((SIDE, SIDE, 3), name="faces"), build_trunk()
    mirror = layers.EinsumDense("bhwc,wv->bhvc", (None, SIDE, 3), name="mirror")  # a matrix, so as to be a plain layer
    x = layers.Average(name="both")([trunk(faces), trunk(mirror(faces))])  #                (m, 128)
    x = layers.UnitNormalization(name="unit")(x)
    x = layers.Dense(128, name="centred", kernel_initializer="identity")(x)  # the bias is minus λ times the mean
    return keras.Model(faces, layers.UnitNormalization(name="encoding")(x), name="resnet")  # (m, 128)


def port(dat: bytes) -> keras.Model:
    """Build the network and fill in the weights of the file's bytes."""
    model, reader = build_resnet(), DatReader(dat)
    trunk = model.get_layer("trunk")
    for layer in trunk.layers:
        if isinstance(layer, layers.Conv2D):
            size, _, channels, filters = layer.kernel.shape
            layer.set_weights(reader.convolution(filters, channels, size))
    trunk.get_layer("raw").set_weights([reader.dense()])
    model.get_layer("mirror").set_weights([np.eye(SIDE, dtype="float32")[::-1]])  # the last pixel of a row comes first
    return model


def find_dat() -> Path:
    """The weights file in the installed package, which is not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BadArgument(f"the package {PACKAGE} is not installed (it is in pyproject.toml); or give --dat FILE")
    return Path(spec.submodule_search_locations[0]) / DAT


def read_dat(path: Path) -> bytes:
    """Read the weights file, and check that it is the one with which everything here was measured.

    Raises:
        BadArgument: If it can't be read, or is another file.
    """
    try:
        dat = path.read_bytes()
    except OSError as error:
        raise BadArgument(f"{path} can't be read: {error.strerror or error}") from error
    if hashlib.sha256(dat).hexdigest() != DAT_SHA256:
        raise BadArgument(f"{path.name} is not the file that this tool was written for (wrong SHA-256)")
    return dat


def main() -> None:
    """Run the command line: port the weights and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dat", type=Path, help="the .dat file; default: the one in the package")
    parser.add_argument("--to", type=Path, default=ROOT / "weights" / "resnet")
    args = parser.parse_args()
    model = port(read_dat(args.dat or find_dat()))
    save_network(model, args.to, template=TEMPLATE, threshold=BARE_THRESHOLD, name="resnet, not centred")
    print(f"{model.count_params():,} parameters in {args.to}")


if __name__ == "__main__":
    run(main)
