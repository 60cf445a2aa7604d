"""Who is seen when: intervals, faces that are named late, and where a camera ends."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.errors import NoCamera
from facerec.live.presence import Presence, watch
from facerec.live.tracking import Track


def face(identity: str | None, number: int = 1, recognised: bool = True, distance: float = 0.5) -> Track:
    """A track as a recogniser returns it."""
    return Track(number, np.zeros(4), identity, distance, recognised)


def intervals(presence: Presence) -> list[tuple]:
    """The rows of the table without distances."""
    return list(presence.table().drop(columns="distance").itertuples(index=False, name=None))


def test_a_person_who_is_out_of_sight_for_longer_than_the_gap_begins_a_new_interval():
    presence = Presence(gap=1.0)
    came = [presence.see([face("lena")], second) for second in (0.0, 0.5, 1.5, 3.0, 3.5)]
    assert came == [["lena"], [], [], ["lena"], []]
    assert intervals(presence) == [("lena", 0.0, 1.5), ("lena", 3.0, 3.5)]


def test_a_face_that_is_named_late_counts_from_its_first_frame():
    presence = Presence()
    presence.see([face(None, recognised=False)], 2.0)
    presence.see([face(None, recognised=False), face("otto", 2)], 2.5)
    assert presence.see([face("lena")], 3.0) == ["lena"]
    assert intervals(presence) == [("lena", 2.0, 3.0), ("otto", 2.5, 2.5)]


def test_a_face_that_is_gone_before_it_is_decided_does_not_count():
    presence = Presence()
    presence.see([face(None, recognised=False)], 0.0)
    assert presence.table().empty and list(presence.table()) == ["identity", "start", "end", "distance"]


def test_unknown_faces_come_last_and_are_no_name():
    presence = Presence()
    presence.see([face(None, 1), face(None, 2)], 0.0)
    presence.see([face("lena", 3)], 5.0)
    table = presence.table()
    assert table.identity.tolist() == ["lena", None] and table.start.tolist() == [5.0, 0.0]


def test_the_distance_of_an_interval_is_its_median():
    presence = Presence()
    for second, distance in ((0.0, 0.2), (0.1, 0.9), (0.2, 0.4), (9.0, 0.6)):
        presence.see([face("lena", distance=distance)], second)
    assert presence.table().distance.tolist() == [0.4, 0.6]


class Film:
    """Frames at seconds 0, 1, 2, …; then it ends, or is ended by an error."""

    def __init__(self, frames: int, is_live: bool = False, end: type[BaseException] | None = None):
        self.frames, self.is_live, self.end, self.seconds = frames, is_live, end, 0.0

    def __len__(self) -> int:
        return self.frames

    def __iter__(self):
        for second in range(self.frames):
            self.seconds = float(second)
            yield second
        if self.end is not None:
            raise self.end(*["unplugged"] * (self.end is NoCamera))


class Recogniser:
    """Sees lena in every frame."""

    def see(self, frame: int) -> list[Track]:
        return [face("lena")]


def test_watching_stops_at_the_wanted_second():
    assert watch(Film(9), Recogniser(), seconds=3, progress=False).end.tolist() == [3.0]
    assert watch(Film(9), Recogniser(), progress=False).end.tolist() == [8.0]


def test_ctrl_c_ends_a_camera_with_its_result_and_a_film_without():
    came = []
    table = watch(
        Film(3, True, KeyboardInterrupt), Recogniser(), progress=False, on_arrival=lambda *who: came.append(who)
    )
    assert table.values.tolist() == [["lena", 0.0, 2.0, 0.5]] and came == [("lena", 0.0)]
    with pytest.raises(KeyboardInterrupt):
        watch(Film(3, False, KeyboardInterrupt), Recogniser(), progress=False)


def test_a_camera_that_goes_away_gives_what_was_seen_before():
    table = watch(Film(3, True, NoCamera), Recogniser(), progress=False)
    assert table.end.tolist() == [2.0] and table.attrs["problem"] == "unplugged"
    with pytest.raises(NoCamera, match="unplugged"):
        watch(Film(0, True, NoCamera), Recogniser(), progress=False)
