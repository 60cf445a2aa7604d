"""The picture in a file, without the notes and other data beside it.

    file ──pieces──► tables, pixels, notes ──bare──► a file that holds the picture alone

Beside the picture, files hold what cameras and programs note (place, time, maker, credentials, comments, a smaller
picture, a film), as much as there is room for. Decoders read all of it, but only two of these notes affect how a
picture looks: the profile of its colours, and how the camera was held. Nothing is decoded here.

Source: JPEG: ITU-T T.81, annex B; JFIF 1.02; ICC.1:2022, annex B.4. GIF: GIF89a, appendix B. TIFF: TIFF 6.0, section 2.
HEIC and AVIF: ISO/IEC 14496-12, 8.11.6.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence

from PIL import Image

#: How the files of each kind begin.
BEGINNINGS = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "TIFF": re.compile(rb"(II|MM)(\0[*+]|[*+]\0)"),
    "BMP": re.compile(rb"BM"),
    "PPM": re.compile(rb"P[0-6fy]"),
    "AVIF": re.compile(rb"....ftypavi[fs]", re.DOTALL),
    "HEIC": re.compile(rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)", re.DOTALL),
}

# Of a JPEG: the second bytes of its markers.
END, SCAN, COMMENT, DEFINE_LINES = 0xD9, 0xDA, 0xFE, 0xDC
ALONE = (0x01, 0xD8, END)  # markers without a segment
NOTES = range(0xE0, 0xF0)  # APP0 to APP15
#: A marker. 0xFF00 and the restart markers are part of the pixels of a scan.
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
#: Says how the colours are stored, without the smaller picture that may be in such a segment.
JFIF = b"\xff\xe0\x00\x10JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00"

ORIENTATION = 0x0112  # the tag of EXIF that says how the camera was held
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
#: What damaged notes make Pillow raise.
DAMAGED_NOTES = (OSError, ValueError, TypeError, KeyError, SyntaxError, ZeroDivisionError, struct.error)
#: Tags of a TIFF that lead to EXIF, GPS, and what belongs to them; and one that says nothing.
NOTE_TAGS, NO_TAG = (34665, 34853, 40965), 65_000
#: Of HEIC and AVIF: the entry of a list of contents that leads to the EXIF (versions 2 and 3).
EXIF_ENTRY = re.compile(rb"(infe\x02.{7}|infe\x03.{9})Exif", re.DOTALL)


def kind_of_picture(data: bytes) -> str | None:
    """The kind of picture that bytes begin as, a key of :data:`BEGINNINGS`, or None.

    Example:
        >>> kind_of_picture(b"GIF89a..."), kind_of_picture(b"words")
        ('GIF', None)
    """
    return next((kind for kind, beginning in BEGINNINGS.items() if beginning.match(data)), None)


def bare(data: bytes) -> bytes:
    """The picture alone, and the notes that it is shown by; its pixels stay the same to the last bit.

    Args:
        data: The file; what comes before the first frame of a GIF, and all of a JPEG, must be in few pieces
            (``budget.weigh``).

    Returns:
        A file of the same kind. Kinds whose notes cost nothing are returned as they are.
    """
    kind = kind_of_picture(data)
    if kind == "JPEG":
        return bare_jpeg(data)
    if kind == "GIF":
        return _bare_gif(data)
    if kind == "TIFF":
        return _bare_tiff(data)
    return EXIF_ENTRY.sub(rb"\1skip", data) if kind in ("HEIC", "AVIF") else data  # they are turned by other notes


# ------------------------------------------------------------------------------------------------------ JPEG
def segments(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """The segments of a JPEG up to its end, each with its marker; a scan comes with its pixels.

    Args:
        data: The file. What lies between two segments, and what follows the end, is left out.

    Yields:
        The marker's second byte, and the bytes from the marker on.

    Example:
        >>> found = list(segments(open("images/lena.jpg", "rb").read()))
        >>> hex(found[0][0]), bytes(found[0][1][4:8]), hex(found[-1][0])
        ('0xe0', b'JFIF', '0xd9')
    """
    view, at = memoryview(data), 2
    while found := MARKER.search(data, at):
        start, marker = found.start(), data[found.start() + 1]
        at = start + 2
        if marker not in ALONE:
            at += max(2, int.from_bytes(data[at : at + 2]))
        if marker == SCAN:
            following = MARKER.search(data, at)
            at = following.start() if following else len(data)
        yield marker, view[start:at]
        if marker == END:
            return


def bare_jpeg(data: bytes, notes: bool = True) -> bytes:
    """The picture of a JPEG alone.

    Args:
        data: The file.
        notes: Whether to keep the notes that it is shown by.

    Example:
        >>> photo = open("images/lena.jpg", "rb").read()
        >>> bare_jpeg(photo + b"a film") == bare_jpeg(photo)
        True
    """
    told, kept, first = [], [], []
    for marker, piece in segments(data):
        if marker == 0xE0 and piece[4:9] == b"JFIF\0":
            first = [JFIF]
        elif marker == 0xEE and piece[4:9] == b"Adobe" and len(piece) >= 16:
            kept.append(b"\xff\xee\x00\x0e" + piece[4:16])  # how the colours are stored, too
        elif marker == 0xE2 and piece[4:16] == b"ICC_PROFILE\0" and notes:
            kept.append(piece)
        elif marker == 0xE1 and notes:
            told.append(bytes(piece[4:]))
        elif marker not in (*NOTES, COMMENT, DEFINE_LINES):
            kept.append(piece)
    if (turn := _turn(told)) in range(2, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = turn
        note = exif.tobytes()
        first.append(struct.pack(">HH", 0xFFE1, len(note) + 2) + note)
    return b"".join([b"\xff\xd8", *first, *kept])


def _turn(notes: Sequence[bytes]) -> int | None:
    """How the camera was held, 1 to 8, if the first EXIF says so, or XMP."""
    exif = Image.Exif()
    try:
        exif.load(next((note for note in notes if note.startswith(b"Exif\0\0")), b""))
        turn = exif.get(ORIENTATION)
    except DAMAGED_NOTES:
        turn = None  # take the pixels as they are
    said = (XMP_ORIENTATION.search(note) for note in notes if not note.startswith(b"Exif\0\0"))
    return turn or next((int(found[1]) for found in said if found), None)


# ------------------------------------------------------------------------------------------------------- GIF
def gif_blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each block of notes before the first frame of a GIF lies, from, to; the last one is the frame itself."""
    flags = data[10:11]
    at = 13 + (3 << (flags[0] & 7) + 1 if flags and flags[0] & 128 else 0)
    while at < len(data) and data[at] not in b",;":
        start, at = at, at + 1
        if data[start] == ord("!"):
            at += 1
            while at < len(data) and data[at]:
                at += 1 + data[at]
                yield start, at  # each part is read by itself
            at += 1
        yield start, at
    yield at, len(data)


def _bare_gif(data: bytes) -> bytes:
    """A GIF up to its palette, what says which colour is transparent, and everything from the first frame on."""
    blocks = list(gif_blocks(data))
    control = [data[start:stop] for start, stop in blocks if data[start : start + 2] == b"!\xf9" and stop - start == 8]
    return b"".join([data[: blocks[0][0]], *control[-1:], data[blocks[-1][0] :]])


# ------------------------------------------------------------------------------------------------------ TIFF
def tiff_entries(data: bytes) -> list[tuple[int, int]]:
    """The tags of a TIFF's first page, each with the place of its entry.

    Raises:
        struct.error: If the file ends before.
    """
    order, big = _order(data), data[2] == 43
    (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, at)
    count = min(count, 65_536)
    places = range(at + 8, at + 8 + 20 * count, 20) if big else range(at + 2, at + 2 + 12 * count, 12)
    return [(struct.unpack_from(f"{order}H", data, place)[0], place) for place in places]


def _bare_tiff(data: bytes) -> bytes:
    """A TIFF whose first page leads to no notes; its pixels stay where they are."""
    try:
        led = [place for tag, place in tiff_entries(data) if tag in NOTE_TAGS]
    except DAMAGED_NOTES:
        return data  # Pillow says what is wrong
    changed = bytearray(data) if led else data
    for place in led:
        struct.pack_into(f"{_order(data)}H", changed, place, NO_TAG)
    return bytes(changed)


def _order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"
