"""Who is seen in a film, from when to when.

tracks of each frame ──Presence.see──► Presence.table(): identity, start, end, distance

A face that is followed for a while before it is named counts from its first frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from facerec.errors import NoCamera
from facerec.live.frames import Frames
from facerec.live.recognise import LiveRecogniser
from facerec.live.tracking import Track

#: A person who is out of sight for no longer than this, in seconds, was there all the time.
GAP = 1.0

COLUMNS = ["identity", "start", "end", "distance"]


class Presence:
    """Notes when each person is seen.

    Args:
        gap: Two sightings of a person that are no farther apart than this, in seconds, belong to one interval.

    Example:
        >>> presence, track = Presence(), Track(1, np.zeros(4), "lena", distance=0.5, recognised=True)
        >>> for second in (0.0, 0.5, 1.0, 7.0, 7.5):
        ...     _ = presence.see([track], second)
        >>> presence.table().values.tolist()
        [['lena', 0.0, 1.0, 0.5], ['lena', 7.0, 7.5, 0.5]]
    """

    def __init__(self, gap: float = GAP):
        self.gap = gap
        self._seen: dict[str | None, list[tuple[float, float]]] = {}  # identity → (second, distance)
        self._undecided: dict[int, list[float]] = {}  # the number of a track → seconds

    def see(self, tracks: Sequence[Track], second: float) -> list[str | None]:
        """Note the faces of one frame.

        Args:
            tracks: Of ``LiveRecogniser.see``.
            second: When the frame was taken.

        Returns:
            The people who were not seen shortly before; None stands for someone unknown.
        """
        came = []
        for track in tracks:
            if not track.recognised:
                self._undecided.setdefault(track.id, []).append(second)
                continue
            sightings = self._seen.setdefault(track.identity, [])
            if not sightings or second - sightings[-1][0] > self.gap:
                came.append(track.identity)
            seconds = [*self._undecided.pop(track.id, []), second]
            sightings += [(when, track.distance) for when in seconds]
        return came

    def table(self) -> pd.DataFrame:
        """The intervals in which each person was seen.

        Returns:
            A row per interval: ``identity`` (None for unknown faces, of whatever number), ``start`` and ``end`` in
            seconds, and ``distance``, the median in that interval to the person or, if unknown, to the nearest one.
            The person who was seen first comes first, and unknown faces last. Faces that were gone before it was
            decided who they are do not count.
        """
        rows = []
        order = sorted(self._seen, key=lambda identity: (identity is None, min(self._seen[identity])))
        for identity in order:
            sightings = np.array(sorted(self._seen[identity]))  # (n, 2)
            breaks = np.flatnonzero(np.diff(sightings[:, 0]) > self.gap) + 1
            parts = np.split(sightings, breaks)
            rows += [(identity, part[0, 0], part[-1, 0], float(np.median(part[:, 1]))) for part in parts]
        table = pd.DataFrame(rows, columns=COLUMNS, dtype=object)  # object: None stays None
        return table.astype({"start": float, "end": float, "distance": float})


def watch(
    frames: Frames,
    recogniser: LiveRecogniser,
    seconds: float | None = None,
    progress: bool = True,
    on_arrival: Callable[[str | None, float], None] | None = None,
) -> pd.DataFrame:
    """Watch a film, or a camera until Ctrl-C, and find out who is seen when.

    Args:
        frames: The film or the camera.
        recogniser: What names the faces.
        seconds: Where to stop, in seconds from the beginning; None watches to the end.
        progress: True for a progress bar.
        on_arrival: Called with each person who comes into sight (None if unknown), and the second.

    Returns:
        The table of ``Presence.table``. If the camera went away, its ``attrs["problem"]`` says so.

    Raises:
        NoCamera: If the camera goes away before anyone was seen.
    """
    presence, problem = Presence(), ""
    try:
        with tqdm(total=len(frames) or None, unit="frame", disable=not progress) as bar:
            for frame in frames:
                second = frames.seconds
                if seconds is not None and second > seconds:
                    break
                for identity in presence.see(recogniser.see(frame), second):
                    if on_arrival:
                        on_arrival(identity, second)
                bar.update()
    except (KeyboardInterrupt, NoCamera) as end:
        problem = str(end)
        if not frames.is_live or (problem and presence.table().empty):
            raise
    table = presence.table()
    table.attrs["problem"] = problem
    return table
