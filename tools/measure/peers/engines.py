"""One engine in a process of its own, asked over standard input: how long does it take?

    python -m tools.measure.peers.engines NAME FOLDER      # started by tools/measure/bench_peers.py

FOLDER holds what all engines get: ``one.jpg``, ``six.jpg`` and ``faces_96.npy`` … (64 aligned faces of each side). The
process answers with a line of JSON: first when it has named the first photo, then to each line that names some work.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

#: How many people a face is compared with.
PEOPLE = 12

Work = Callable[[Any], object]


class Engine(NamedTuple):
    """One way from a photo to names.

    Attributes:
        package: The package that a user installs.
        weights: ``"own"``, or ``"random"`` where they can only be downloaded: time does not depend on them.
        side: The side of its faces, in pixels.
        encode: Takes faces (m, S, S, 3) uint8; None if it only detects.
        detect: Takes a photo (H, W, 3) uint8; None if it only encodes.
        who: Takes the path of a photo; None if it lacks one of the two.
        largest: As ``who``, for the largest face alone; None if that takes as long.
        notes: What else matters for its speed.
    """

    package: str
    weights: str
    side: int = 0
    encode: Work | None = None
    detect: Work | None = None
    who: Work | None = None
    largest: Work | None = None
    notes: str = ""


def people(dimension: int) -> np.ndarray:
    """The encodings that a face is compared with, (PEOPLE, D) of unit length."""
    known = np.random.default_rng(0).normal(size=(PEOPLE, dimension)).astype(np.float32)
    return known / np.linalg.norm(known, axis=1, keepdims=True)


def nearest(known: np.ndarray, encodings: Any) -> list[int]:
    """The nearest of (K, D) known encodings to each of (m, D): the other engines' users write this line themselves."""
    return [int(np.linalg.norm(known - encoding, axis=1).argmin()) for encoding in np.asarray(encodings)]


def ours(network: str, engine: str, keras: bool = True) -> Engine:
    """A network of this project, with its fast engine or with TensorFlow; without Keras, as the command opens it."""
    os.environ["FACEREC_ENGINE"] = engine
    from facerec._light import open_light
    from facerec.detection import detect_faces
    from facerec.encoding import faces_to_encodings, img_to_encoding
    from facerec.naming import identify
    from facerec.network_info import info_of

    if keras:
        from facerec.networks import load_facenet

    model = load_facenet(network) if keras else open_light(network)
    encodings = people(128)
    known = {f"person {i}": encoding for i, encoding in enumerate(encodings)}
    return Engine(
        "face-recognition-course",
        "own",
        info_of(model).side,
        encode=lambda faces: faces_to_encodings(faces, model),
        detect=detect_faces,
        who=lambda path: identify(path, known, model),
        largest=(lambda path: nearest(encodings, img_to_encoding(path, model)[None])) if keras else None,
    )


def face_recognition() -> Engine:
    """dlib behind the package ``face_recognition``: HOG detector with one enlargement, residual network."""
    import dlib
    import face_recognition as package

    network, known = package.api.face_encoder, people(128)

    def encode(faces: np.ndarray) -> object:
        return network.compute_face_descriptor(faces[0] if len(faces) == 1 else list(faces))

    def who(path: Path) -> list[int]:
        photo = package.load_image_file(str(path))
        return nearest(known, package.face_encodings(photo, package.face_locations(photo)))

    built = f"dlib with AVX: {bool(dlib.USE_AVX_INSTRUCTIONS)}, with BLAS: {bool(dlib.DLIB_USE_BLAS)}"
    return Engine("face_recognition", "own", 150, encode, package.face_locations, who, notes=built)


def facenet_pytorch() -> Engine:
    """facenet-pytorch: its MTCNN with the weights in the package, InceptionResnetV1."""
    import torch

    notes = "suppression by OpenCV: no compiled torchvision" if _suppresses_with_opencv() else ""
    from facenet_pytorch import MTCNN, InceptionResnetV1
    from PIL import Image

    torch.set_num_threads(os.cpu_count())
    detector, network, known = MTCNN(keep_all=True), InceptionResnetV1().eval(), people(512)
    alone = cache(MTCNN)  # made when it is asked for

    @torch.inference_mode()
    def encode(faces: np.ndarray) -> object:
        return network((torch.from_numpy(faces).permute(0, 3, 1, 2).float() - 127.5) / 128)

    @torch.inference_mode()
    def who(path: Path) -> list[int]:
        return nearest(known, network(detector(Image.open(path).convert("RGB"))))

    @torch.inference_mode()
    def largest(path: Path) -> list[int]:
        return nearest(known, network(alone()(Image.open(path).convert("RGB"))[None]))

    return Engine("facenet-pytorch", "random", 160, encode, detector.detect, who, largest, notes)


def _suppresses_with_opencv() -> bool:
    """Let OpenCV do what torchvision can't where its compiled part needs a CUDA that is not there."""
    import cv2
    import torch

    (folder,) = importlib.util.find_spec("torchvision").submodule_search_locations
    try:
        torch.ops.load_library(Path(folder) / "_C.so")
        return False
    except OSError:
        for name in ("nms", "qnms"):  # without them torchvision can't be imported
            _OPERATIONS.append(torch.library.Library("torchvision", "FRAGMENT"))
            _OPERATIONS[-1].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision.ops import boxes

    def nms(corners: torch.Tensor, scores: torch.Tensor, limit: float) -> torch.Tensor:
        sides = torch.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        kept = cv2.dnn.NMSBoxes(sides.numpy(), scores.numpy(), 0.0, limit)
        return torch.as_tensor(np.asarray(kept, np.int64).reshape(-1))

    boxes.nms = nms
    return True


#: What was defined for torchvision; it is undone when it is forgotten.
_OPERATIONS: list[Any] = []


def deepface() -> Engine:
    """DeepFace: ``represent`` with Facenet behind the package ``mtcnn``; TensorFlow is what it takes by itself."""
    os.environ["DEEPFACE_BACKEND_ENGINE"] = "tensorflow"
    from deepface import DeepFace
    from deepface.models.facial_recognition.tf import Facenet
    from deepface.modules import modeling

    network = Facenet.InceptionResNetV1()
    Facenet.load_facenet128d_model = lambda *args, **kwargs: network
    client, known = modeling.build_model(task="facial_recognition", model_name="Facenet"), people(128)

    def who(path: Path) -> list[int]:
        found = DeepFace.represent(str(path), model_name="Facenet", detector_backend="mtcnn")
        return nearest(known, [face["embedding"] for face in found])

    def encode(faces: np.ndarray) -> object:
        return client.forward(faces.astype(np.float32) / 255)

    return Engine("deepface", "random", 160, encode, None, who)


def deepface_compiled() -> Engine:
    """The same graph as one compiled function, which DeepFace itself does not make of it."""
    import tensorflow as tf
    from deepface.models.facial_recognition.tf import Facenet

    network = Facenet.InceptionResNetV1()
    compiled = tf.function(lambda faces: network(faces, training=False))
    return Engine("deepface", "random", 160, lambda faces: compiled(tf.constant(faces, tf.float32) / 255).numpy())


def mtcnn() -> Engine:
    """The package ``mtcnn``, as it comes."""
    from mtcnn import MTCNN

    return Engine("mtcnn", "own", detect=MTCNN().detect_faces)


ENGINES: dict[str, Callable[[], Engine]] = {
    "ours, Inception": partial(ours, "keras-facenet-h5", "auto"),
    "ours, Inception, in the command": partial(ours, "keras-facenet-h5", "auto", keras=False),
    "ours, Inception, TensorFlow": partial(ours, "keras-facenet-h5", "tensorflow"),
    "ours, residual": partial(ours, "weights/resnet", "auto"),
    "ours, residual, TensorFlow": partial(ours, "weights/resnet", "tensorflow"),
    "face_recognition (dlib)": face_recognition,
    "facenet-pytorch": facenet_pytorch,
    "DeepFace, Facenet": deepface,
    "DeepFace's Facenet, compiled": deepface_compiled,
    "mtcnn": mtcnn,
}


def works(engine: Engine, folder: Path) -> dict[str, Callable[[], object]]:
    """What can be timed, by name: encoding 1 and 64 faces, photos with one face and with six, the largest."""
    from PIL import Image

    found: dict[str, Callable[[], object]] = {}
    if engine.encode:
        faces = np.load(folder / f"faces_{engine.side}.npy")
        found |= {f"encode {n}": partial(engine.encode, faces[:n]) for n in (1, 64)}
    for name in ("one", "six"):
        path = folder / f"{name}.jpg"
        if engine.detect:
            found[f"detect {name}"] = partial(engine.detect, np.array(Image.open(path).convert("RGB")))
        if engine.who:
            found[f"who {name}"] = partial(engine.who, path)
    if engine.who:
        found["largest one"] = partial(engine.largest or engine.who, folder / "one.jpg")
    return found


def repeat(work: Callable[[], object], seconds: float) -> float:
    """The median seconds of one call, after one to warm up, over calls for so many seconds."""
    work()
    took, end = [], time.perf_counter() + seconds
    while not took or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return float(np.median(took))


def memory() -> float:
    """The most memory that this process had resident so far, in MB; Linux only.

    ``getrusage`` would give that of the process that started this one, if that was more.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1000


def installed(package: str) -> float:
    """The size of a package with everything that it needs, in MB, as it lies on the disk."""
    from packaging.requirements import Requirement

    seen, left, size = set(), [package], 0
    while left:
        name = left.pop().lower().replace("_", "-").replace(".", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        files = (found.locate_file(file) for file in found.files or ())
        size += sum(file.stat().st_size for file in map(Path, files) if file.suffix != ".pyc" and file.is_file())
        wanted = map(Requirement, found.requires or ())
        left += [each.name for each in wanted if not each.marker or each.marker.evaluate({"extra": ""})]
    return size / 1e6


def main() -> None:
    """Name the first photo, then time what is asked for."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    answers, sys.stdout = sys.stdout, sys.stderr  # packages print
    engine = ENGINES[name]()
    timed = works(engine, folder)
    timed["who one" if engine.who else next(iter(timed))]()

    def answer(**said: object) -> None:
        print(json.dumps(said), file=answers, flush=True)

    version = importlib.metadata.version(engine.package)
    answer(package=engine.package, version=version, weights=engine.weights, notes=engine.notes, works=list(timed))
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["work"] == "memory":
            answer(memory_mb=memory(), installed_mb=installed(engine.package))
        else:
            answer(seconds=repeat(timed[asked["work"]], asked["seconds"]))


if __name__ == "__main__":
    main()
