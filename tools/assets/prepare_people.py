"""Turn photos of people into faces to learn from.

    python tools/assets/prepare_people.py split CELEBA --to split.csv                     # who trains, who tests
    python tools/assets/prepare_people.py preprocess CELEBA --split split.csv --to FACES  # find and align, 160×160
    python tools/assets/prepare_people.py clean FACES/train            # a report of copies and wrong names
    python tools/assets/prepare_people.py clean FACES/train --apply    # move them out; --undo moves them back
    python tools/assets/prepare_people.py pack FACES/train --to datasets/people.zip       # one file for find_people
    python tools/assets/prepare_people.py speed PHOTOS                 # compared with detection alone

Every step works on a folder, or zip file, with a folder per person, and on CelebA as published: a folder with
``identity_CelebA.txt``, ``img_align_celeba/`` or ``img_celeba/``, and ``list_attr_celeba.txt`` (the text files may also
be in ``Anno/``, the pictures in ``Img/``). Each step has a progress bar, can be killed and started again, and leaves a
CSV file that lists what it did.

``split`` copies no pictures: it writes a table (``part``, ``identity``, ``picture``, ``gender``, ``glasses``) that you
can read and edit. ``preprocess`` uses only the pictures in it and writes ``FACES/train/2880/000001.jpg`` and so on, so
``find_people("FACES/train")`` lists one part. Without ``--split`` it uses all pictures and writes
``FACES/2880/000001.jpg``.

By default there are 800 people with 20 pictures to train, 100 with 20 to validate and 40 with 5 to test. If there are
too few people for that, each needs only as many pictures as half of the people have (at least 2), and the numbers of
people shrink in proportion. Sizes on the command line are never reduced.

``clean`` is for people to train with. People to validate or to test with are never cleaned: without its difficult
pictures a test would be too easy.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from facerec._files import in_project, write_table
from facerec.detection import detect_faces_batch
from facerec.errors import BadArgument, run
from facerec.learning.clean import apply, check_train, clean, removed_folder, undo
from facerec.learning.prefetch import in_order
from facerec.learning.prepare import align_all, pack, preprocess
from facerec.learning.selection import PARTS, list_people, split
from facerec.networks import DEFAULT_NETWORK
from facerec.photos import load_image


def speed(photos: Path, count: int = 200, rounds: int = 3) -> dict[str, float]:
    """Measure the photos per second of ``preprocess`` and of detection alone, in turn, on the same photos.

    Args:
        photos: As for ``preprocess``.
        count: The number of photos, taken evenly from all.
        rounds: The number of rounds; medians are returned.

    Returns:
        ``"detection alone"`` (one call, photos in memory), ``"detection on all cores"`` (in the chunks and threads of
        ``preprocess``, photos in memory) and ``"preprocess"`` (from files to files).
    """
    people = list_people(photos)
    people = people[people.there]
    people = people.iloc[np.unique(np.linspace(0, len(people) - 1, count).astype(int))]
    people["path"] = [str(in_project(photos) / picture) for picture in people.picture]
    opened = [load_image(path) for path in people.path]
    chunks = [opened[start : start + 16] for start in range(0, len(opened), 16)]

    def whole_way() -> None:
        with tempfile.TemporaryDirectory() as folder:
            align_all(people, Path(folder) / "faces")

    works = {
        "detection alone": lambda: detect_faces_batch(opened),
        "detection on all cores": lambda: list(in_order(detect_faces_batch, chunks)),
        "preprocess": whole_way,
    }
    detect_faces_batch(chunks[0])
    took: dict[str, list[float]] = {name: [] for name in works}
    for name, work in (turn for _ in range(rounds) for turn in works.items()):
        start = time.perf_counter()
        work()
        took[name].append(time.perf_counter() - start)
    return {name: len(opened) / statistics.median(seconds) for name, seconds in took.items()}


def do_split(args: argparse.Namespace) -> None:
    """Run ``split``: write the table and print how balanced it is."""
    sizes = {part: size for part in PARTS if (size := getattr(args, part)) is not None}
    table, missing = split(args.source, sizes, args.attributes, args.seed)
    write_table(args.to, table)
    if len(missing):
        file = args.to.with_name(f"{args.to.stem}_missing.csv")
        write_table(file, missing)
        print(f"{len(missing):,} listed pictures are missing: {file}")
    for part, rows in table.groupby("part", sort=False):
        genders = rows.groupby("identity").gender.first().value_counts()
        balance = (
            f", {genders.get('woman', 0):,} women and {genders.get('man', 0):,} men" if genders.index.any() else ""
        )
        glasses = f", {(rows.glasses == 'yes').sum():,} pictures with glasses" if (rows.glasses != "").any() else ""
        people = rows.identity.nunique()
        fewer = "" if part in sizes or (people, len(rows) // people) == PARTS[part] else " (fewer than published)"
        print(f"{part}: {people:,} people × {len(rows) // people:,} pictures{fewer}{balance}{glasses}")


def do_preprocess(args: argparse.Namespace) -> None:
    """Run ``preprocess`` and print what was dropped."""
    if args.side < 16:
        raise BadArgument(f"--side {args.side}: at least 16 pixels")
    if args.chunk < 1:
        raise BadArgument(f"--chunk {args.chunk}: at least 1 photo")
    report = preprocess(args.photos, args.to, args.side, args.which, args.chunk, args.split)
    kept = report[report.dropped == ""]
    print(f"{len(kept):,} faces of {kept.identity.nunique():,} people")
    for reason, count in report.dropped[report.dropped != ""].value_counts().head(10).items():
        print(f"dropped {count:,}: {reason}")


def do_clean(args: argparse.Namespace) -> None:
    """Run ``clean``: report, apply or undo."""
    if args.undo:
        print(f"{undo(args.faces):,} pictures are back in {args.faces}")
        return
    if args.apply:
        print(f"{apply(args.faces):,} pictures moved to {removed_folder(check_train(args.faces)) / 'pictures'}")
        return
    if not 0 <= args.bits <= 16:
        raise BadArgument(f"--bits {args.bits}: must be 0 to 16")
    if not args.limit > 0:
        raise BadArgument(f"--limit {args.limit}: must be more than 0")
    removed = removed_folder(check_train(args.faces))
    if (removed / "clean.csv").is_file() and not args.again:
        raise BadArgument(f"{removed / 'clean.csv'} exists already: --apply it, or write a new one with --again")
    report = clean(args.faces, args.network, args.bits, args.limit)
    for reason, count in (
        report.reason.str.replace(r"nearer to .*", "nearer to another person", regex=True).value_counts().items()
    ):
        print(f"{count:,}: {reason}")
    print(f"{len(report):,} pictures in {removed / 'clean.csv'}; see them in {removed / 'sheets'}; nothing was moved")


def do_pack(args: argparse.Namespace) -> None:
    """Run ``pack``."""
    print(f"{pack(args.faces, args.to):,} pictures in {args.to}")


def do_speed(args: argparse.Namespace) -> None:
    """Run ``speed``."""
    if args.count < 1 or args.rounds < 1:
        raise BadArgument(f"--count {args.count} --rounds {args.rounds}: at least 1")
    rates = speed(args.photos, args.count, args.rounds)
    for name, rate in rates.items():
        print(f"{name}: {rate:.1f} photos per second; preprocess reaches {rates['preprocess'] / rate:.0%} of that")


def size(text: str) -> tuple[int, int]:
    """Parse ``800x20``: people, and pictures of each."""
    found = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not found or 0 in (sizes := (int(found[1]), int(found[2]))):
        raise argparse.ArgumentTypeError(f"{text!r}: expected people x pictures of each, for example 800x20")
    return sizes


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(required=True, dest="command")

    def command(do: Callable, source: str, about: str, to: bool = True) -> argparse.ArgumentParser:
        one = commands.add_parser(do.__name__.removeprefix("do_"), help=about)
        one.set_defaults(do=do)
        one.add_argument(source, type=Path, help="CelebA, or a folder with a folder per person")
        if to:
            one.add_argument("--to", type=Path, required=True)
        return one

    one = command(do_split, "source", "choose who trains, who validates and who tests")
    for part, (people, pictures) in PARTS.items():
        one.add_argument(f"--{part}", type=size, metavar="NxM", help=f"people x pictures of each: {people}x{pictures}")
    one.add_argument("--attributes", type=Path, help="a list like list_attr_celeba.txt, if it is elsewhere")
    one.add_argument("--seed", type=int, default=0)
    one = command(do_preprocess, "photos", "find and align faces")
    one.add_argument("--split", type=Path, help="the table of split: only its pictures, a folder per part")
    one.add_argument("--side", type=int, default=160, help="side of the faces, in pixels")
    one.add_argument("--which", choices=["central", "largest"], default="central", help="which of several faces")
    one.add_argument("--chunk", type=int, default=16, help="photos that each core holds in memory at once")
    one = command(do_clean, "faces", "find copies and wrong names among people to train with", to=False)
    how = one.add_mutually_exclusive_group()
    how.add_argument(
        "--apply", action="store_true", help="move the pictures of the report; delete its rows to keep some"
    )
    how.add_argument("--undo", action="store_true", help="move everything back")
    how.add_argument("--again", action="store_true", help="write a new report over the old one")
    one.add_argument("--network", default=DEFAULT_NETWORK)
    one.add_argument("--bits", type=int, default=6, help="bits, of 64, in which hashes of copies may differ")
    one.add_argument(
        "--limit", type=float, default=3.5, help="robust standard deviations above the median that are too far"
    )
    command(do_pack, "faces", "pack all faces into one zip file")
    one = command(do_speed, "photos", "measure preprocess and detection alone", to=False)
    one.add_argument("--count", type=int, default=200, help="photos, taken evenly from all")
    one.add_argument("--rounds", type=int, default=3)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = parser().parse_args(argv)
    args.do(args)


if __name__ == "__main__":
    run(main)
