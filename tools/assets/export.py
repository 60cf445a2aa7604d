"""Export a network for phones and small computers: LiteRT in 16 and 8 bits, and ONNX.

    python tools/assets/export.py                           # keras-facenet-h5 → build/export/
    python tools/assets/export.py weights/resnet --lfw DIR  # also measure the accuracy of each form on LFW

Each form is written, opened by its runtime, and compared with the original: its size, the time for one face (in turn
with the original, so both see the same machine), and the distance between its encodings and the original's on the faces
of ``images/``. With ``--lfw`` its accuracy on the development test pairs, at the same threshold, is measured too. The
table goes to ``docs/results/export_<network>.json``.

``int8`` keeps the weights in 8 bits and rounds the values between layers while it runs; input and output are floats.
(Chips without floating point need everything rounded beforehand. That form is not made here.)
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facerec._files import ROOT, in_project, whole, write_json
from facerec._onnx import Encode, open_encoder
from facerec._quiet import quietly
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument, run
from facerec.evaluation import bootstrap_accuracy
from facerec.evaluation.lfw import Pairs, distances_of, find_pictures, read_pairs
from facerec.networks import info_of, load_facenet
from tools.measure.bench import faces_for, take_turns
from tools.measure.lfw import aligned, find_faces

with quietly():
    import keras

EXPORTED = ROOT / "build" / "export"


def to_litert(model: keras.Model, path: Path, weights: str) -> None:
    """Write a network for LiteRT (once TensorFlow Lite), its weights as ``"float16"`` or ``"int8"``."""
    from tensorflow import float16, lite

    converter = lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [lite.Optimize.DEFAULT]
    if weights == "float16":
        converter.target_spec.supported_types = [float16]
    with quietly(), contextlib.redirect_stdout(io.StringIO()):  # the converter prints every tensor's type
        data = converter.convert()
    with whole(path) as unfinished:
        unfinished.write_bytes(data)


def to_onnx(model: keras.Model, path: Path) -> None:
    """Write a network as ONNX in float32, for batches of any size."""
    model(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras exports only models that were called
    with whole(path) as unfinished, quietly():
        model.export(str(unfinished), format="onnx", verbose=False)


def open_litert(path: Path) -> Encode:
    """Open the network of a ``.tflite`` file, which takes faces one at a time."""
    from ai_edge_litert.interpreter import Interpreter

    with quietly():
        interpreter = Interpreter(str(path), num_threads=os.cpu_count())
        interpreter.allocate_tensors()
    to, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def encode_one(face: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(to, face[None].astype(np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(out)[0]

    return lambda faces: np.stack([encode_one(face) for face in faces])


def open_onnx(path: Path) -> Encode:
    """Open the network of an ``.onnx`` file."""
    return open_encoder(path.read_bytes())


class Form(NamedTuple):
    """A form of a network: its file name, the function that writes it, and the one that opens it."""

    file: str
    write: Callable[[keras.Model, Path], None]
    open: Callable[[Path], Encode]


FORMS = {
    "ONNX float32": Form("float32.onnx", to_onnx, open_onnx),
    "LiteRT float16": Form("float16.tflite", lambda model, path: to_litert(model, path, "float16"), open_litert),
    "LiteRT int8": Form("int8.tflite", lambda model, path: to_litert(model, path, "int8"), open_litert),
}


def export(model: keras.Model, to: Path) -> dict[str, Path]:
    """Write a network in all forms; returns form → file."""
    paths = {name: to / form.file for name, form in FORMS.items()}
    for name, path in paths.items():
        FORMS[name].write(model, path)
    return paths


def compare(model: keras.Model, original: Path, paths: dict[str, Path], rounds: int = 7) -> dict[str, dict]:
    """Size, relative time for one face, and largest distance from the original's encodings, of every form."""
    faces = faces_for(info_of(model).side, 39)  # every face of images/
    files = {"Keras": original, **paths}
    encode: dict[str, Encode] = {"Keras": lambda faces: faces_to_encodings(faces, model)}
    encode |= {name: FORMS[name].open(path) for name, path in paths.items()}
    expected = encode["Keras"](faces)
    took = take_turns({name: lambda e=e: e(faces[:1]) for name, e in encode.items()}, rounds, times=10)
    return {
        name: {
            "megabytes": round(files[name].stat().st_size / 1e6, 2),
            "times_the_originals_time": round(took[name] / took["Keras"], 2),
            "farthest_from_the_original": round(float(np.linalg.norm(encode[name](faces) - expected, axis=1).max()), 4),
        }
        for name in files
    }


def accuracies(model: keras.Model, paths: dict[str, Path], pairs: Pairs, folder: Path) -> dict[str, dict]:
    """The accuracy of every form on a list of pairs, at the network's own threshold."""
    info, pictures = info_of(model), find_pictures(folder, {str(file) for file in pairs.files.flat})
    keypoints = find_faces(pictures)
    usable = {name: path for name, path in pictures.items() if keypoints[name]}
    faces = np.stack([aligned(path, keypoints[name], info) for name, path in usable.items()])
    encode: dict[str, Encode] = {"Keras": lambda faces: faces_to_encodings(faces, model)}
    encode |= {name: FORMS[name].open(path) for name, path in paths.items()}
    result = {}
    for name, form in encode.items():
        encodings = dict(zip(usable, form(faces), strict=True))
        encodings |= {picture: np.full(model.output_shape[-1], np.nan) for picture in set(pictures) - set(usable)}
        scored = bootstrap_accuracy(
            distances_of(pairs, encodings), pairs.same, pairs.people, info.threshold, missing="mistakes"
        )
        result[name] = {"value": scored.value, "low": scored.low, "high": scored.high}
    return result


def main() -> None:
    """Run the command line: export, compare, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="keras-facenet-h5", help="a folder; default: %(default)s")
    parser.add_argument("--to", type=Path, default=EXPORTED, help="folder for the exported networks, a folder each")
    parser.add_argument("--lfw", type=Path, help="the folder with pairsDevTest.txt and the pictures")
    parser.add_argument("--result", type=Path, help="default: docs/results/export_<network>.json")
    args = parser.parse_args()
    model, name = load_facenet(args.network), Path(args.network).name
    weights = in_project(args.network) / "model.h5"
    if not weights.is_file():
        raise BadArgument(f"{args.network} is not a folder with a model.h5")
    paths = export(model, args.to / name)
    table = compare(model, weights, paths)
    if args.lfw:
        scored = accuracies(model, paths, read_pairs(args.lfw / "pairsDevTest.txt"), args.lfw)
        table = {form: {**row, "lfw_accuracy": scored[form]} for form, row in table.items()}
    result = {
        "command": f"python tools/assets/export.py {args.network}{' --lfw …' if args.lfw else ''}",
        "forms": table,
    }
    write_json(args.result or ROOT / "docs" / "results" / f"export_{name}.json", result)
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    run(main)
