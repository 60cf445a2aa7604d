"""Draws on frames: the corners of a face's box, its name and its distance.

frame, tracks ──annotate──► the frame with boxes, names and distances

A name is drawn in a font that has its letters; where no font has them, their code points are drawn instead.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facerec.live.tracking import Box, Track, overlap_of

KNOWN, UNKNOWN, LOOKING = (255, 214, 0), (255, 128, 96), (220, 220, 220)  # a box and its name
EDGE, PLATE, NUMBER = (16, 16, 16), (16, 16, 16, 190), (225, 225, 225)  # around a box, behind a name, its distance

LONGEST_NAME = 24  # letters; longer ones end in …


def annotate(
    frame: np.ndarray, tracks: Sequence[Track], fps: float | None = None, mirrored: bool = False
) -> np.ndarray:
    """Draw the corners of each track's box, its name and its distance on a copy of a frame.

    A name is drawn above its face; or below it, or along its upper edge, where it would cover another face, look like
    that face's name, or leave the frame.

    Args:
        frame: (H, W, 3) uint8 RGB.
        tracks: The faces in it, as ``LiveRecogniser.see`` returns them.
        fps: Frames per second, to show in the corner; None shows nothing there.
        mirrored: True mirrors the picture but not the writing.

    Returns:
        The picture, (H, W, 3) uint8 RGB.
    """
    picture = np.ascontiguousarray(frame[:, ::-1]) if mirrored else frame.copy()
    height, width = frame.shape[:2]
    boxes = [(width - x - w, y, w, h) if mirrored else (x, y, w, h) for x, y, w, h in (t.box for t in tracks)]
    for track, box in zip(tracks, boxes, strict=True):
        draw_box(picture, box, _colour(track), max(1, height // 240))
    size, taken = max(13, height // 32), []
    for i, track in enumerate(tracks):
        number = f"{track.distance:.2f}" if track.recognised else ""
        label = _label(_shortened(track.label), number, size, _colour(track))
        others = [(x, y - label.shape[0], w, h + 2 * label.shape[0]) for x, y, w, h in boxes[:i] + boxes[i + 1 :]]
        taken.append(_place_for(label.shape, boxes[i], taken + others, (height, width)))
        _paste(picture, label, taken[-1])
    if fps is not None:
        corner = _label("", f"{fps:.0f} fps", max(11, height // 40), NUMBER)
        _paste(picture, corner, (width - corner.shape[1] - 6, height - corner.shape[0] - 6))
    return picture


def draw_box(picture: np.ndarray, box: Box, colour: tuple[int, int, int], thickness: int) -> None:
    """Draw the four corners of a box into a picture (H, W, 3), with a dark edge so that they show on any colour."""
    _draw_corners(picture, box, EDGE, thickness + 2)
    _draw_corners(picture, box, colour, thickness)


def _draw_corners(picture: np.ndarray, box: Box, colour: tuple[int, int, int], thickness: int) -> None:
    x, y, width, height = box
    for corner_x, to_x in ((x, width // 5), (x + width, -(width // 5))):
        for corner_y, to_y in ((y, height // 5), (y + height, -(height // 5))):
            cv2.line(picture, (corner_x, corner_y), (corner_x + to_x, corner_y), colour, thickness)
            cv2.line(picture, (corner_x, corner_y), (corner_x, corner_y + to_y), colour, thickness)


def _colour(track: Track) -> tuple[int, int, int]:
    if not track.recognised:
        return LOOKING
    return UNKNOWN if track.identity is None else KNOWN


def _shortened(name: str) -> str:
    """A name on one line, without invisible characters, at most :data:`LONGEST_NAME` letters long."""
    name = " ".join(unicodedata.normalize("NFC", str(name)).split())
    name = "".join(letter for letter in name if unicodedata.category(letter)[0] != "C")
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1].rstrip() + "…"


def _place_for(shape: tuple[int, ...], box: Box, others: Sequence[Box], frame: tuple[int, int]) -> Box:
    """Where a label goes: above its box or below it, if that is free, and otherwise along its upper edge."""
    height, width = shape[:2]
    x = max(0, min(frame[1] - width, box[0] + (box[2] - width) // 2))
    edge = (x, max(0, min(box[1] + 3, frame[0] - height)), width, height)
    for y in (box[1] - height - 5, box[1] + box[3] + 5):
        at = (x, y, width, height)
        if 0 <= y <= frame[0] - height and not any(overlap_of(at, other) for other in (box, *others)):
            return at
    return edge


def _paste(picture: np.ndarray, label: np.ndarray, place: Sequence[int]) -> None:
    """Paste a label (h, w, 4) into a picture, its upper left corner at a place; what leaves the picture is cut off."""
    x, y = max(0, place[0]), max(0, place[1])
    under = picture[y : y + label.shape[0], x : x + label.shape[1]]
    label = label[: under.shape[0], : under.shape[1]]
    alpha = label[..., 3:].astype(np.float32) / 255
    under[:] = np.round(under * (1 - alpha) + label[..., :3] * alpha)


@functools.lru_cache(maxsize=512)
def _label(name: str, number: str, size: int, colour: tuple[int, int, int]) -> np.ndarray:
    """A name and a number on a dark plate with round corners, (h, w, 4) uint8 RGBA; shared, so never changed."""
    name, font = _name_and_font(name, size)
    plain = ImageFont.truetype(_ours("DejaVuSans.ttf"), size)
    gap, edge = (size // 2 if name and number else 0), size // 2
    middle = edge + round(font.getlength(name)) + gap
    width, height = middle + round(plain.getlength(number)) + edge, round(1.6 * size)
    plate = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(plate)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius=height // 4, fill=PLATE)
    line = round(0.58 * height + 0.2 * size)
    draw.text((edge, line), name, font=font, fill=colour, anchor="ls")
    draw.text((middle, line), number, font=plain, fill=NUMBER, anchor="ls")
    return np.asarray(plate)


def _name_and_font(name: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """A font that has every letter of a name; if there is none, missing letters are written like U+674E."""
    ours = _ours("DejaVuSans-Bold.ttf")
    if not set(name) <= _letters(ours):
        others = (file for file in _fonts_of_this_computer() if set(name) <= _letters(file))
        if (file := next(others, None)) is not None:
            return name, ImageFont.truetype(file, size)
        name = "".join(letter if letter in _letters(ours) else f"U+{ord(letter):04X}" for letter in name)
    return name, ImageFont.truetype(ours, size)


def _ours(file: str) -> str:
    """The path of a font that comes with matplotlib."""
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file)


@functools.cache
def _fonts_of_this_computer() -> list[str]:
    from matplotlib import font_manager  # imported here: the first time it searches the whole computer

    files = {font.fname for font in font_manager.fontManager.ttflist}
    return sorted(file for file in files if "LastResort" not in file)  # it draws a frame for any letter


@functools.cache
def _letters(file: str) -> frozenset[str]:
    """The letters that a font can draw; none if it can't be used."""
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(file, 16)
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
