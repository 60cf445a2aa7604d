"""How closely an aligned face resembles the average face: 0 or below if it is upside down or not a face."""

from __future__ import annotations

import cv2
import numpy as np

#: The average face of people who do not exist: 16×16 grey pixels of an aligned face, a row per line, in hexadecimal;
#: made by ``python tools/measure/quality.py average``.
AVERAGE = """
341b173971a1c3d1d6d0b88540130508
351d245487b7d4dde0dcc79f5c1e0004
31242c6696c7e8f1efe6c8a26e2f0601
39353b56565398e1cb7b55685d351305
37434643281f47c8a2411c244e462714
3b4e5f5647496ee3c87863496c70422e
4f5e7ba1b9c4cdffe9c3d2d4c68b5743
636684ade5eddefce8d0f1f3cd87604d
6e6c779ed0ccaba79aaad3dab17c6048
6f6f6d7c9ec0bba7afc3c3ac90725237
606464718d7c7387887a779e8c6d4025
505357607d8f849e9f96a99d7b522513
464b443c528faaa1a7bdb282592e180d
444736272e65b6d4daca8e5235212317
414237241c367a9fa088512f2a232211
413f342421346483836d452a29251a0a
"""

#: Where the eyes lie in those 16×16 pixels.
EYES = (slice(3, 7), slice(2, 14))

#: The side of the aligned faces that are compared, in pixels.
ALIGNED_SIDE = 96


def eye_likeness(face: np.ndarray) -> float:
    """The correlation of a face's eye region with the average face's.

    Args:
        face: An aligned face in grey, (S, S) uint8.

    Returns:
        −1..1; near 0 if there is hardly any contrast.
    """
    small = cv2.resize(face, (16, 16), interpolation=cv2.INTER_AREA)[EYES].astype(np.float64)
    average = np.array([list(bytes.fromhex(row)) for row in AVERAGE.split()], np.float64)[EYES]
    a, b = (small - small.mean()).ravel(), (average - average.mean()).ravel()
    return float(a @ b / np.sqrt((a @ a + 0.25 * a.size) * (b @ b)))
