"""Films to test with, and what a second process does to a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from facerec.live.collect import write_new

WIDTH, HEIGHT = 640, 480


def scene(photos, cast: dict[str, tuple[float, float, float]]) -> np.ndarray:
    """Photos on a grey wall: name → (x, y, side) of each; parts beyond the frame are cut off."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    frame[:] = np.linspace(70, 150, WIDTH).astype(np.uint8)[:, None]
    for name, (x, y, side) in cast.items():
        scale = side / photos[name].shape[1]
        matrix = np.array([[scale, 0, x], [0, scale, y]])
        cv2.warpAffine(photos[name], matrix, (WIDTH, HEIGHT), frame, borderMode=cv2.BORDER_TRANSPARENT)
    return frame


def swaying(i: int, x: float, k: int) -> tuple[float, float, float]:
    """Where the k-th person, whose place is around x, is in frame i."""
    return x + 25 * np.sin(i / 11 + 2 * k), 110 + 30 * np.cos(i / 9 + k), 240 + 38 * np.sin(i / 13 + k)


def film_of(photos, left: str, right: str, frames: int) -> list[np.ndarray]:
    """Two people side by side, who sway and move nearer and farther away."""
    return [scene(photos, {left: swaying(i, 25, 0), right: swaying(i, 345, 1)}) for i in range(frames)]


def moving_camera(photos: Iterable[np.ndarray], frames: int = 22) -> list[np.ndarray]:
    """A few frames of each photo through a camera that moves; every tenth frame is blurred."""
    film = []
    for photo in photos:
        for i in range(frames):
            matrix = cv2.getRotationMatrix2D((160, 160), 6 * np.sin(i / 9), 1.2 + 0.25 * np.sin(i / 6))
            matrix[:, 2] += (160 + 20 * np.sin(i / 5), 80)
            frame = cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
            film.append(cv2.GaussianBlur(frame, (0, 0), 9) if i % 10 == 9 else frame)
    return film


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> Path:
    """Write frames (480, 640, 3) as a video."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (WIDTH, HEIGHT))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


# Two processes write into one folder. Their functions are here because a new process imports this file, and fast.
def save_many(folder: str, photo: np.ndarray, both_ready) -> None:
    both_ready.wait(240)
    for _ in range(20):
        write_new(Path(folder), "anchor", photo)


def save_without_end(folder: str, photo: np.ndarray) -> None:
    while True:
        write_new(Path(folder), "anchor", photo)
