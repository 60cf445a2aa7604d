"""Photos as they are kept: small, upright, without what cameras note."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from facerec._bare import bare_jpeg
from facerec.database import FaceDatabase
from facerec.database.pictures import pack, unpack
from facerec.errors import BadArgument, TooLargeImage, UnreadableImage
from tests.attacks import encoded, in_scans
from tests.facerec.database.helpers import jpeg, photo, unit
from tests.facerec.test_bare import HIDDEN, JPEG, SECRET, swapped_profile


def test_photo_is_kept_upright_and_without_metadata(path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    exif[0x010E] = "taken at home"
    with FaceDatabase(path) as database:
        database.add("lena", unit(1), jpeg(photo(1, 40, 30), exif=exif))
        assert database.photos("lena")[0].shape == (30, 40, 3)
        database.add("omar", unit(1), photo(1, 300, 3000))
        assert database.photos("omar")[0].shape[1] == 1024
    assert b"taken at home" not in path.read_bytes()


@pytest.mark.parametrize("data", HIDDEN.values(), ids=HIDDEN)
def test_kept_jpeg_holds_the_picture_alone(data):
    """Credentials, places, profiles and films of a JPEG that is small enough to be kept as it is."""
    kept, thumbnail = pack(data)
    assert SECRET not in kept + thumbnail
    if not any(note in data for note in (b"ICC", b"Exif", b"Adobe")):  # what is shown otherwise is encoded anew
        assert kept == bare_jpeg(JPEG, notes=False)
    assert pack(kept) == (kept, thumbnail)


def test_kept_photo_has_the_colours_of_srgb():
    wide = Image.new("RGB", (40, 40), (30, 60, 200))
    data = encoded(wide, "JPEG", icc_profile=swapped_profile(), quality=98)
    red, green, blue = unpack(pack(data)[0])[20, 20].astype(int)
    assert (red - blue > 100) and abs(green - 60) < 10


def test_jpeg_that_takes_long_to_open_is_not_kept():
    with FaceDatabase(":memory:") as database:
        with pytest.raises(TooLargeImage, match="^the photo of lena is a JPEG of 500 scans"):
            database.add("lena", unit(1), in_scans(64, 500))
        assert "lena" not in database


@pytest.mark.parametrize(
    "bad", [b"", b"no picture", jpeg(photo())[:200], jpeg(photo())[:-100], photo()[:, :, :2], photo() / 255, "lena.jpg"]
)
def test_bad_photos_are_rejected(database, bad):
    with pytest.raises((UnreadableImage, BadArgument), match="the photo of lena"):
        database.add("lena", unit(1), bad)
    assert "lena" not in database


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "WebP"])
def test_bytes_of_other_formats_are_named_in_the_error(kind):
    stream = io.BytesIO()
    Image.fromarray(photo()).save(stream, kind)
    data = stream.getvalue()
    said = rf"is a {kind} \({len(data)} bytes\); give an array \(H, W, 3\), or a JPEG's bytes$"
    with FaceDatabase(":memory:") as database:
        with pytest.raises(UnreadableImage, match=said):
            database.add("lena", unit(1), data)
        with pytest.raises(UnreadableImage, match=r"is not a JPEG that can be opened \(7 bytes\)$"):
            database.add("lena", unit(1), b"nothing")
