"""Make faces to learn from out of photos of people.

    python tools/assets/prepare_people.py split CELEBA --to split.csv                         # who teaches, who tests
    python tools/assets/prepare_people.py preprocess CELEBA --split split.csv --to FACES      # find, align, 160×160
    python tools/assets/prepare_people.py clean FACES/train                                   # copies, wrong names: a report
    python tools/assets/prepare_people.py clean FACES/train --apply                           # move them out; --undo: back
    python tools/assets/prepare_people.py pack FACES/train --to datasets/people.zip           # one file for find_people
    python tools/assets/prepare_people.py speed PHOTOS                                        # beside detection alone

Every step works on a folder, or zip file, with a folder per person, and on CelebA as it comes: a folder with
``identity_CelebA.txt``, ``img_align_celeba/`` or ``img_celeba/``, and ``list_attr_celeba.txt`` (the text files may also
lie in ``Anno/``, the pictures in ``Img/``). Each step has a progress bar, can be killed and started again, and leaves a
CSV file that says what it did.

``split`` copies no pictures: it writes a table (``part``, ``identity``, ``picture``, ``gender``, ``glasses``) that can
be looked at and edited. ``preprocess`` reads only the pictures in it and writes ``FACES/train/2880/000001.jpg`` and so
on, so that ``find_people("FACES/train")`` lists one part. Without ``--split`` it takes everybody and writes
``FACES/2880/000001.jpg``.

By default there are 800 people with 20 pictures to train, 100 with 20 to validate and 40 with 5 to test. With too few
people for that, each gives at most as many pictures as half of the people have (and 2 at least), and the numbers of
people shrink in proportion. Sizes that were asked for are kept, or refused.

``clean`` is for people to train with. People who are there to validate or to test are never cleaned: a test from which
the difficult pictures were taken tells too good a story.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from facerec._files import ROOT, in_project, write_table
from facerec.detection import detect_faces_batch
from facerec.errors import BadArgument, run
from facerec.learning.clean import apply, check_train, clean, removed_of, undo
from facerec.learning.datasets import read_picture
from facerec.learning.prepare import PARTS, align_all, in_order, list_people, pack, preprocess, split
from facerec.networks import DEFAULT_NETWORK


def speed(photos: Path, count: int = 200, rounds: int = 3) -> dict[str, float]:
    """Photos per second of ``preprocess`` and of detection alone, on the same photos, taking turns.

    Args:
        photos: As for ``preprocess``.
        count: How many photos, taken evenly from all.
        rounds: The medians of so many are given.

    Returns:
        ``"detection alone"`` (one call, photos in memory), ``"detection on all cores"`` (in the chunks and threads of
        ``preprocess``, photos in memory) and ``"preprocess"`` (from files to files).
    """
    people = list_people(photos)
    people = people[people.there]
    people = people.iloc[np.unique(np.linspace(0, len(people) - 1, count).astype(int))]
    people["path"] = [str(in_project(photos) / picture) for picture in people.picture]
    opened = [read_picture(path) for path in people.path]
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
    """Write the table of who is in which part, and say how balanced it is."""
    sizes = {part: size for part in PARTS if (size := getattr(args, part)) is not None}
    table, missing = split(args.source, sizes, args.attributes, args.seed)
    write_table(args.to, table)
    if len(missing):
        file = args.to.with_name(f"{args.to.stem}_missing.csv")
        write_table(file, missing)
        print(f"{len(missing):,} pictures are listed but not there: {file}")
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
    """Find and align, and say what was dropped."""
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
    """Report, apply, or undo."""
    if args.undo:
        print(f"{undo(args.faces):,} pictures are back in {args.faces}")
        return
    if args.apply:
        print(f"{apply(args.faces):,} pictures moved to {removed_of(check_train(args.faces)) / 'pictures'}")
        return
    if not 0 <= args.bits <= 16:
        raise BadArgument(f"--bits {args.bits}: 0 to 16 of 64")
    if not args.limit > 0:
        raise BadArgument(f"--limit {args.limit}: more than 0 spreads")
    removed = removed_of(check_train(args.faces))
    if (removed / "clean.csv").is_file() and not args.again:
        raise BadArgument(f"{removed / 'clean.csv'} is there already: --apply it, or --again to look anew")
    report = clean(args.faces, args.network, args.bits, args.limit)
    for reason, count in (
        report.reason.str.replace(r"nearer to .*", "nearer to somebody else", regex=True).value_counts().items()
    ):
        print(f"{count:,}: {reason}")
    print(f"{len(report):,} pictures in {removed / 'clean.csv'}, to be seen in {removed / 'sheets'}; nothing was moved")


def do_pack(args: argparse.Namespace) -> None:
    """Pack, and say how many."""
    print(f"{pack(args.faces, args.to):,} pictures in {args.to}")


def do_speed(args: argparse.Namespace) -> None:
    """Measure, and say the shares."""
    if args.count < 1 or args.rounds < 1:
        raise BadArgument(f"--count {args.count} --rounds {args.rounds}: at least 1")
    rates = speed(args.photos, args.count, args.rounds)
    for name, rate in rates.items():
        print(f"{name}: {rate:.1f} photos per second; preprocess reaches {rates['preprocess'] / rate:.0%} of it")


def size(text: str) -> tuple[int, int]:
    """``800x20`` as people and pictures of each."""
    found = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not found or 0 in (sizes := (int(found[1]), int(found[2]))):
        raise argparse.ArgumentTypeError(f"{text!r}: people x pictures of each, as 800x20")
    return sizes


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(required=True, dest="command")

    def command(do: Callable, source: str, about: str, to: bool = True) -> argparse.ArgumentParser:
        one = commands.add_parser(do.__name__.removeprefix("do_"), help=about)
        one.set_defaults(do=do)
        one.add_argument(source, type=Path, help="CelebA, or a folder with a folder per person")
        if to:
            one.add_argument("--to", type=Path, required=True)
        return one

    one = command(do_split, "source", "who trains, who validates, who tests")
    for part, (people, pictures) in PARTS.items():
        one.add_argument(f"--{part}", type=size, metavar="NxM", help=f"people x pictures of each: {people}x{pictures}")
    one.add_argument("--attributes", type=Path, help="a list as list_attr_celeba.txt, if it is elsewhere")
    one.add_argument("--seed", type=int, default=0)
    one = command(do_preprocess, "photos", "find and align faces")
    one.add_argument("--split", type=Path, help="what split wrote: only its pictures, a folder per part")
    one.add_argument("--side", type=int, default=160, help="of the faces, in pixels")
    one.add_argument("--which", choices=["central", "largest"], default="central", help="of several faces")
    one.add_argument("--chunk", type=int, default=16, help="photos that each core has in memory at once")
    one = command(do_clean, "faces", "copies and wrong names among people to train with", to=False)
    how = one.add_mutually_exclusive_group()
    how.add_argument("--apply", action="store_true", help="move what the report lists; delete rows first to keep some")
    how.add_argument("--undo", action="store_true", help="move everything back")
    how.add_argument("--again", action="store_true", help="look anew, though there is a report")
    one.add_argument("--network", default=DEFAULT_NETWORK)
    one.add_argument("--bits", type=int, default=6, help="in which hashes of copies may differ, of 64")
    one.add_argument("--limit", type=float, default=3.5, help="spreads from the usual distance that are too far")
    command(do_pack, "faces", "all faces in one zip file")
    one = command(do_speed, "photos", "preprocess beside detection alone", to=False)
    one.add_argument("--count", type=int, default=200, help="photos, taken evenly from all")
    one.add_argument("--rounds", type=int, default=3)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parser().parse_args(argv)
    args.do(args)


if __name__ == "__main__":
    run(main)
