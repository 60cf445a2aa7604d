"""Names the faces of a film, frame by frame.

frame ──LiveRecogniser.see──► [Track(box, identity, distance), …]
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from facerec.detection import Detection, align_face, check_photo, detect_faces
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument, UnknownIdentity
from facerec.gallery import distance_from, open_gallery
from facerec.live.tracking import Box, Track, Tracker
from facerec.network_info import info_of, threshold_for

if TYPE_CHECKING:
    import keras


#: How sure (0..1) the detector must be of a face in a film: a false one would stay for several frames.
SURE = 0.9

#: The first look decides, unless its distance is nearer to the threshold than this fraction of it.
DOUBT = 0.15


class LiveRecogniser:
    """Finds and names the faces of every frame of a film, fast and without flicker.

    Every n-th frame is searched, and each face in it is encoded; between searches, boxes follow the pixels
    (``facerec.live.tracking``). A name is decided by the last eight encodings of a track together, by the root mean
    square of their distances: the mean encoding would bring strangers nearer than single photos do. Once a track has a
    name, only several looks in a row that agree on another one replace it.

    Args:
        model: The network that made the database's encodings.
        database: Identity → encoding, K of them. A dict is read once; people added to or removed from a
            ``FaceDatabase`` count from the next search on, even if none are left.
        threshold: Faces farther away than this count as unknown. None takes the network's own for as many people as the
            database knows now (see ``threshold_for``).
        every: Search every n-th frame, and also as soon as a face can't be followed.
        search_side: Search a copy of this longest side, in pixels: smaller is faster, but misses small faces.
        looks: How many looks it takes to name a face whose distance is near the threshold (others are named at the
            first), and how many in a row must agree to change a name.
        background: True searches in a second thread, so that ``see`` need not wait: for a camera. It searches again at
            once while a face is undecided. What is seen then depends on the speed of the machine; with False, the same
            film gives the same tracks.

    Raises:
        EmptyDatabase: If the database is empty.
        OtherNetwork: If another network made its encodings.
        BadArgument: If a number makes no sense, or the database is not a mapping to encodings.

    Example:
        >>> from facerec.encoding import img_to_encoding
        >>> from facerec.networks import load_facenet
        >>> from facerec.photos import load_image
        >>> model = load_facenet("weights/resnet")
        >>> lena = load_image("images/lena.jpg")
        >>> with LiveRecogniser(model, {"lena": img_to_encoding(lena, model)}) as recogniser:
        ...     [track.label for track in recogniser.see(lena)]
        ['lena']
    """

    def __init__(
        self,
        model: keras.Model,
        database: Mapping[str, np.ndarray],
        threshold: float | None = None,
        every: int = 5,
        search_side: int = 480,
        looks: int = 3,
        background: bool = False,
    ):
        for name, value in {"every": every, "search_side": search_side, "looks": looks}.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BadArgument(f"{name}={value!r}: a whole number, at least 1")
        self.model, self.every, self.search_side, self.looks = model, every, search_side, looks
        self._gallery = open_gallery(database, model).ready()
        self.threshold = threshold_for(model, threshold, len(database))
        self._info, self._tracker = info_of(model), Tracker()
        self._thread = ThreadPoolExecutor(1) if background else None
        self._looking: tuple[np.ndarray, Future] | None = None
        self._since: int | None = None  # frames since the last search; None if one is due

    def see(self, frame: np.ndarray, wait: bool = False) -> list[Track]:
        """Take the next frame, (H, W, 3) uint8 RGB.

        Args:
            frame: The frame.
            wait: True waits for the second thread as long as there is no decided face to show: frames that are only
                followed meanwhile would take its time, and nothing could be said about them.

        Returns:
            A track per face in it, the oldest first; later frames do not change them.

        Raises:
            BadArgument: If the frame is not an (H, W, 3) array of uint8.
        """
        before = self._in_view()
        self._tracker.follow(check_photo(frame))
        lost = any(track.lost for track in before) or (before and not self._tracker.tracks)
        self._since = None if lost or self._since is None or self._since + 1 >= self.every else self._since + 1
        self._search(frame) if self._thread is None else self._search_meanwhile(frame, wait)
        return [track.copy() for track in self._in_view()]

    def _in_view(self) -> list[Track]:
        """The faces that can be followed, or were found just now."""
        return [track for track in self._tracker.tracks if not track.lost]

    def _search(self, frame: np.ndarray) -> None:
        """Search this frame, if a search is due."""
        if self._since is None:
            self._learn(*self._look(frame))
            self._since = 0

    def _search_meanwhile(self, frame: np.ndarray, wait: bool) -> None:
        """Take what the second thread found in an earlier frame, and give it this one if a search is due."""
        self._take_found()
        if self._looking is None and (self._since is None or not all(face.recognised for face in self._in_view())):
            self._looking = (self._tracker.grey, self._thread.submit(self._look, frame.copy()))
            self._since = 0
        if wait and not any(face.recognised for face in self._in_view()):
            self._take_found(wait=True)

    def _take_found(self, wait: bool = False) -> None:
        """Take what the second thread found, if it is done or is to be waited for."""
        if self._looking is None or not (wait or self._looking[1].done()):
            return
        (grey, looking), self._looking = self._looking, None
        boxes, encodings = looking.result()
        now = self._tracker.carry(grey, boxes)
        still = [i for i, box in enumerate(now) if box is not None]
        self._learn([now[i] for i in still], encodings[still])

    def _look(self, frame: np.ndarray) -> tuple[list[Box], np.ndarray]:
        """The boxes of a frame's faces, and their encodings (n, D)."""
        found: list[Detection] = detect_faces(frame, SURE, self.search_side, thorough=False)
        faces = [align_face(frame, face["keypoints"], self._info.side, self._info.template) for face in found]
        side = self._info.side
        encodings = faces_to_encodings(np.array(faces, np.uint8).reshape(-1, side, side, 3), self.model)
        return [face["box"] for face in found], encodings

    def _learn(self, boxes: list[Box], encodings: np.ndarray) -> None:
        """Correct the tracks by what was found, and name them again."""
        for track in self._tracker.correct(boxes, encodings, self.threshold):
            self._name(track)

    def _name(self, track: Track, at_once: bool = False) -> None:
        """Compare the encodings of a track with the database; ``at_once`` decides whatever the distance."""
        encodings = np.stack(track.encodings)  # (k, D)
        nearest, distance = self._gallery.nearest_to_track(encodings)
        clear = at_once or abs(distance - self.threshold) > DOUBT * self.threshold
        track.consider(nearest if distance < self.threshold else None, clear, self.looks)
        track.distance = distance
        if track.identity not in (None, nearest):
            try:
                track.distance = distance_from(self._gallery, track.identity, encodings)
            except UnknownIdentity:  # removed meanwhile
                track.identity = None

    def use_threshold(self, threshold: float) -> None:
        """Judge by another threshold from now on, also the faces in view: their last encodings decide at once.

        Raises:
            BadArgument: If it is not a distance.
        """
        self.threshold = threshold_for(self.model, threshold)
        for track in self._tracker.tracks:
            if track.encodings:
                track.recognised = False
                self._name(track, at_once=True)

    def forget(self) -> None:
        """Start a new film: all tracks are dropped."""
        self._tracker, self._looking, self._since = Tracker(), None, None

    def __enter__(self) -> LiveRecogniser:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait until the second thread is done, if there is one."""
        if self._thread is not None:
            self._thread.shutdown()
