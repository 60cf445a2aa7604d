"""What computes our networks fastest on this machine: engines and settings, in turn, in one run.

    python tools/measure/engines.py        # → docs/results/engines.json

Each row is a way to compute a network; the faces per second one by one and in batches of 64, and how far its encodings
are from TensorFlow's on the faces of ``images/``. OpenVINO takes part where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from facerec import _onnx
from facerec._files import ROOT, write_json
from facerec._quiet import quietly
from facerec.errors import run
from facerec.networks import info_of, load_facenet
from tools.assets.export import open_litert, to_litert
from tools.measure.bench import faces_for, take_turns

with quietly():
    import keras

Encode = Callable[[np.ndarray], np.ndarray]


def tensorflow(model: keras.Model, fixed: bool) -> Encode:
    """The compiled function; ``fixed`` compiles one for each batch size instead of one for all."""
    import tensorflow as tf

    size = {} if fixed else {"input_signature": [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)]}
    call = tf.function(lambda faces: model(faces, training=False), **size)
    return lambda faces: call(tf.constant(faces, tf.float32)).numpy()


def runtime(data: bytes | Path, threads: int = 0, spins: bool = True) -> Encode:
    """A graph in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    given = data if isinstance(data, bytes) else str(data)
    session = onnxruntime.InferenceSession(given, options, ["CPUExecutionProvider"])
    (name,) = (node.name for node in session.get_inputs())
    return lambda faces: session.run(None, {name: faces.astype(np.float32)})[0]


def in_parts(encode: Encode, size: int) -> Encode:
    """The same in smaller batches, which may stay in the processor's caches."""
    return lambda faces: np.concatenate([encode(faces[i : i + size]) for i in range(0, len(faces), size)])


def int8(data: bytes, folder: Path) -> Path:
    """The graph with weights in 8 bits; ONNX Runtime rounds what goes through while it runs."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    onnx.save(onnx.load_model_from_string(data), folder / "float32.onnx")
    quantize_dynamic(folder / "float32.onnx", folder / "int8.onnx", weight_type=QuantType.QUInt8)
    return folder / "int8.onnx"


def openvino(file: Path, precision: str) -> Encode:
    """The graph in OpenVINO; ``precision`` is what it may round to."""
    from openvino import Core

    core = Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(core.read_model(file), "CPU", settings)
    return lambda faces: np.array(compiled(faces.astype(np.float32))[0])


def ways(model: keras.Model, folder: Path) -> Iterator[tuple[str, Encode]]:
    """Every way to compute a network, by name; the first is what the others are compared with."""
    data = _onnx.model_as_onnx(model)
    yield "TensorFlow", tensorflow(model, fixed=False)
    yield "TensorFlow, compiled for each batch size", tensorflow(model, fixed=True)
    yield "ONNX Runtime (ours)", runtime(data)
    yield "… waiting threads sleep", runtime(data, spins=False)
    yield "… in parts of 8", in_parts(runtime(data), 8)
    yield "… one thread", runtime(data, threads=1)
    yield "… weights in 8 bits", runtime(int8(data, folder))
    to_litert(model, folder / "float16.tflite", "float16")
    yield "LiteRT, weights in 16 bits", open_litert(folder / "float16.tflite")
    to_litert(model, folder / "int8.tflite", "int8")
    yield "LiteRT, 8 bits", open_litert(folder / "int8.tflite")
    if importlib.util.find_spec("openvino"):
        yield "OpenVINO", openvino(folder / "float32.onnx", "f32")
        yield "OpenVINO, bfloat16", openvino(folder / "float32.onnx", "bf16")


def measure(network: str, rounds: int) -> dict[str, dict]:
    """Speed and distance of every way to compute one network."""
    model = load_facenet(network)
    faces = faces_for(info_of(model).side, 64)
    with TemporaryDirectory() as folder:
        encode = dict(ways(model, Path(folder)))
        expected = next(iter(encode.values()))(faces)
        table = {
            name: {"farthest": float(np.linalg.norm(each(faces) - expected, axis=1).max())}
            for name, each in encode.items()
        }
        for batch in (1, 64):
            works = {name: lambda each=each, batch=batch: each(faces[:batch]) for name, each in encode.items()}
            for name, took in take_turns(works, rounds, times=10 if batch == 1 else 1).items():
                table[name][f"batch_{batch}"] = batch / took
    return table


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["keras-facenet-h5", "weights/resnet"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "engines.json")
    args = parser.parse_args()
    networks = {network: measure(network, args.rounds) for network in args.networks}
    result = {"command": "python tools/measure/engines.py", "cores": os.cpu_count(), "networks": networks}
    write_json(args.to, result)
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    run(main)
