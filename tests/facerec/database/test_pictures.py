"""Photos as they are kept: small, upright, without what cameras note."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from facerec.database import FaceDatabase
from facerec.errors import BadArgument, UnreadableImage
from tests.facerec.database.helpers import jpeg, photo, unit


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
