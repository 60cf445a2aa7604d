"""Films and a recogniser for the tests of cameras and films."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from facerec.live.collect import Collector, Session
from facerec.live.frames import Frames
from facerec.live.recognise import LiveRecogniser
from facerec.live.tracking import Track
from tests.facerec.live.films import film_of, moving_camera, write_video


@pytest.fixture(scope="session")
def lena_film(photos, tmp_path_factory) -> Path:
    """A video of lena, 44 frames at 15 per second."""
    frames = moving_camera([photos["lena"], photos["camera_4"]])
    return write_video(tmp_path_factory.mktemp("video") / "lena.mp4", frames, fps=15)


@pytest.fixture(scope="session")
def two(photos, tmp_path_factory) -> Path:
    """A video of lena and marco, 40 frames at 25 per second, from other pictures than those of the database."""
    return write_video(
        tmp_path_factory.mktemp("film") / "two.mp4", film_of(photos, "camera_0", "camera_10", 40), fps=25
    )


@pytest.fixture(scope="session")
def seen_of_two(two, network, database) -> list[list[Track]]:
    """The tracks in each frame of that video."""
    recogniser = LiveRecogniser(network, database)
    return [recogniser.see(frame) for frame in Frames(two)]


@pytest.fixture
def recogniser(network, database) -> LiveRecogniser:
    return LiveRecogniser(network, database)


@pytest.fixture
def session(tmp_path) -> Iterator[Session]:
    with Session(Collector(tmp_path / "lena", detector="haar"), rate=2.0) as session:
        yield session
