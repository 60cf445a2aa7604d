"""The budget of a picture: what would take too long is refused in words, before it is decoded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from facerec import budget
from facerec.budget import COSTS, FEW_PIECES, TooCostly, Weight, check, weigh
from facerec.errors import TooLargeImage, UnreadableImage
from facerec.photos import load_image
from tests.attacks import ATTACKS, encoded, flat, in_scans, with_notes
from tests.facerec.test_bare import SOFT

#: What is refused at any size above this one, and why.
SIZE = 300_000
REFUSED = {
    "JPEG of thousands of scans": "is a JPEG of 7,500 scans, .* save it again as JPEG",
    "JPEG with comments": r"has over 10,30\d segments in 0.3 MB: open it in a picture editor and save it again as JPEG",
    "JPEG with lone markers": r"has over 10,30\d segments",
    "PNG with notes": "has over 10,300 chunks",
    "PNG with private chunks": "has over 10,300 chunks",
    "PNG of empty parts": "has over 10,300 chunks",
    "PNG with notes behind": "has over 10,300 chunks",
    "GIF with comments": "has over 10,300 notes before its first frame",
    "GIF with notes of programs": "has over 10,300 notes before its first frame",
    "TIFF of strips": "is a TIFF of 37,500 strips",
    "TIFF with tags": "is a TIFF of 25,009 tags",
    "JPEG in arithmetic coding": "is a JPEG of a kind that hardly any program writes",
}


@pytest.mark.parametrize("label", REFUSED)
def test_attack_is_refused_in_words_that_say_what_to_do(label, tmp_path):
    path = tmp_path / "door.jpg"
    path.write_bytes(ATTACKS[label](np.random.default_rng(0), SIZE))
    with pytest.raises(TooLargeImage, match=f"^{path} {REFUSED[label]}"):
        load_image(path)


def test_budget_looks_no_further_than_its_limit(monkeypatch):
    """However many pieces follow."""
    drawn = []
    endless = (drawn.append(number) or number for number in itertools.count())
    monkeypatch.setattr(budget, "segments", lambda data: endless)
    with pytest.raises(TooCostly):
        weigh(b"\xff\xd8\xff")
    assert len(drawn) == FEW_PIECES + 1


CHEAP = [
    "JPEG with blanks between segments", "JPEG with rubbish between segments", "JPEG with EXIF of megabytes",
    "JPEG with many EXIFs", "TIFF with EXIF of megabytes",
    "JPEG with a film", "PNG with EXIF of megabytes", "PNG with frames", "GIF with frames", "WebP with frames",
    "WebP with EXIF of megabytes", "TIFF with pages", "AVIF with EXIF of megabytes", "HEIC with EXIF of megabytes",
]  # fmt: skip


@pytest.mark.parametrize("label", CHEAP)
def test_metadata_of_a_picture_costs_nothing(label, monkeypatch):
    """It opens, and no decoder is given more than a page of notes."""
    data = ATTACKS[label](np.random.default_rng(0), SIZE)
    given, load = [], Image.Exif.load
    monkeypatch.setattr(Image.Exif, "load", lambda exif, data: given.append(len(data)) or load(exif, data))
    assert load_image(data).ndim == 3 and max(given, default=0) <= 65_536


@pytest.mark.parametrize(
    "label",
    [
        "JPEG with tables",
        "PNG with texts that unpack",
        "BMP, packed",
        "PPM with comments",
        "PPM by numbers",
        "WebP of noise",
    ],
)
def test_other_attacks_are_opened_or_refused(label):
    """What they cost is measured by tools/measure/attack_files.py."""
    try:
        assert load_image(ATTACKS[label](np.random.default_rng(0), SIZE)).ndim == 3
    except UnreadableImage as error:
        assert 20 < len(str(error)) < 300 and "\n" not in str(error)


# ---------------------------------------------------------------------------------------------------- weights
def test_weights_tell_scans_bits_and_packing():
    assert weigh(in_scans(64, 30)) == Weight("JPEG", 3.0, 3, " in 30 scans")  # two colours at half the side
    assert weigh(encoded(SOFT, "JPEG", progressive=True, subsampling=0)).room == 6
    assert weigh(flat("JPEG", 64, 64)) == Weight("JPEG")
    assert weigh(encoded(SOFT, "PNG")).work == 1 and weigh(encoded(SOFT.convert("RGBA"), "PNG")).work == pytest.approx(
        4 / 3
    )
    png = encoded(SOFT.convert("RGBA"), "PNG")
    assert weigh(png[:24] + b"\x10" + png[25:]).work == pytest.approx(1.2 * 64 / 24)  # sixteen bits per colour
    assert weigh(encoded(SOFT, "TIFF", compression="tiff_lzw")).kind == "TIFF"
    assert weigh(b"P6 2 2 255\n" + bytes(12)).kind == "PPM" and weigh(b"P5 #x\n2 2 65535\n" + bytes(8)).kind == "PPM"
    assert {weigh(data).kind for data in (b"P6 2 2 99\n" + bytes(12), b"P3 1 1 255\n1 2 3")} == {"PPM, by numbers"}
    assert weigh(b"words") is None
    for data, why in (
        (encoded(SOFT, "TIFF", compression="lzma"), r"compressed in an unusual way \(34925\)"),
        (b"P6\n#" + b"x" * 2000 + b"\n2 2 255\n" + bytes(12), "header of over a thousand bytes"),
        (b"P2 9 9 255\n" + b"#\n1 " * 101, "over 100 comments"),
    ):
        with pytest.raises(TooCostly, match=why):
            weigh(data)


@pytest.mark.parametrize(
    ("weight", "size", "length"),
    [
        (Weight("JPEG"), (9504, 6336), 30_000_000),  # the largest of today's cameras
        (Weight("JPEG"), (8160, 6120), 25_000_000),  # a phone's 50 megapixels
        (Weight("JPEG", 1.5, 6), (6000, 4000), 15_000_000),
        (Weight("HEIC"), (8064, 6048), 5_500_000),  # a phone's 48 megapixels
        (Weight("PNG"), (6000, 4000), 50_000_000),
        (Weight("WebP"), (4000, 3000), 5_000_000),
        (Weight("PPM, by numbers"), (640, 480), 1_900_000),
    ],
)
def test_pictures_of_cameras_are_within_the_budget(weight, size, length):
    check(weight, size, length, b"P3" if weight.kind in ("JPEG", "HEIC") and size != (9504, 6336) else b"")


def test_too_much_work_and_too_much_memory_are_told_apart():
    with pytest.raises(
        TooCostly, match=r"^would take \d+ s to decode \(JPEG of 9000×7000 pixels in 90 scans, 1.0 MB\)"
    ):
        check(Weight("JPEG", 5.5, 6, " in 90 scans"), (9000, 7000), 1_000_000)
    with pytest.raises(
        TooCostly, match=r"^would take \d+ MB of memory \(WebP of 8000×7000 pixels, 0.1 MB\): make it smaller"
    ):
        check(Weight("WebP"), (8000, 7000), 100_000)
    for kind in COSTS:
        check(Weight(kind), (1000, 1000), 1000)


def test_scans_are_counted_within_the_picture_alone():
    """A smaller picture in the notes, and one behind the end, have scans of their own."""
    many = in_scans(64, 90)
    data = with_notes(b"\xff\xe1\xff\xff" + many.ljust(65_533, b"\0")) + many
    assert weigh(data) == Weight("JPEG")
