"""Who is in a film: every frame's faces, followed and named."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from facerec._quiet import quietly
from facerec.detection import Detection, align_face, check_photo, detect_faces
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument, UnknownIdentity
from facerec.gallery import distance_from, open_gallery
from facerec.live.tracking import Box, Track, Tracker
from facerec.networks import info_of, threshold_for

with quietly():
    import keras


#: A face in a film counts if the detector is at least so sure of it (0..1): a ghost would stay for several frames.
SURE = 0.9


#: The first look decides unless its distance differs from the threshold by less than this part of it.
DOUBT = 0.15


class LiveRecogniser:
    """Says of every frame of a film where the faces are and who they are, quickly and without flicker.

    Every n-th frame is searched for faces, and what is found is encoded; in between, boxes follow the pixels
    (``tracking``). A name is decided from the last eight encodings of a track together: the root mean square of their
    distances counts, so that strangers don't come nearer than in single photos. And it takes several looks in a row to
    replace a name once it stands.

    Args:
        model: The network that made the database's encodings.
        database: Identity → encoding, K of them.
        threshold: Whoever is not nearer than this is unknown. None takes the network's own (0.7).
        every: Search every n-th frame; besides, at once when a face can't be followed.
        search_side: Search in a copy of this longest side, in pixels: smaller is quicker, and misses small faces.
        looks: A face whose distance is near the threshold is named after so many looks, any other at once; and so many
            looks in a row must agree before a name changes.
        background: True searches in a second thread, so that ``see`` never waits: for a camera. What is seen then
            depends on how quick the machine is; with False, the same film gives the same tracks.

    Raises:
        EmptyDatabase: If there is nobody to compare with.
        BadArgument: If a number makes no sense.

    Example:
        >>> from facerec.encoding import img_to_encoding
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
        self.threshold = threshold_for(model, threshold)
        self._gallery = open_gallery(database, model)
        self._info, self._tracker = info_of(model), Tracker()
        self._thread = ThreadPoolExecutor(1) if background else None
        self._looking: tuple[np.ndarray, Future] | None = None
        self._since: int | None = None  # the last search: None if it is time for another one

    def see(self, frame: np.ndarray) -> list[Track]:
        """Take the next frame, (H, W, 3) uint8 RGB.

        Returns:
            The faces that are in it, the oldest track first; a copy of each track, which will not change any more.

        Raises:
            BadArgument: If the frame is no (H, W, 3) array of uint8.
        """
        before = [track for track in self._tracker.tracks if not track.lost]
        self._tracker.follow(check_photo(frame))
        lost = any(track.lost for track in before) or not self._tracker.tracks and before
        self._since = None if lost or self._since is None or self._since + 1 >= self.every else self._since + 1
        self._search(frame) if self._thread is None else self._search_meanwhile(frame)
        return [track.copy() for track in self._tracker.tracks if not track.lost]

    def _search(self, frame: np.ndarray) -> None:
        """Search this frame, if it is time to."""
        if self._since is None:
            self._learn(*self._look(frame))
            self._since = 0

    def _search_meanwhile(self, frame: np.ndarray) -> None:
        """Take what the other thread found in an earlier frame, and give it this one if it is time to."""
        if self._looking is not None and self._looking[1].done():
            grey, (boxes, encodings) = self._looking[0], self._looking[1].result()
            self._looking = None
            now = self._tracker.carry(grey, boxes)
            still = [i for i, box in enumerate(now) if box is not None]
            self._learn([now[i] for i in still], encodings[still])
        if self._looking is None and self._since is None:
            self._looking = (self._tracker.grey, self._thread.submit(self._look, frame.copy()))
            self._since = 0

    def _look(self, frame: np.ndarray) -> tuple[list[Box], np.ndarray]:
        """The boxes of a frame's faces, and their encodings (n, D)."""
        found: list[Detection] = detect_faces(frame, SURE, self.search_side)
        faces = [align_face(frame, face["keypoints"], self._info.side, self._info.template) for face in found]
        side = self._info.side
        encodings = faces_to_encodings(np.array(faces, np.uint8).reshape(-1, side, side, 3), self.model)
        return [face["box"] for face in found], encodings

    def _learn(self, boxes: list[Box], encodings: np.ndarray) -> None:
        """Correct the tracks by what was found, and decide anew who they are."""
        for track in self._tracker.correct(boxes, encodings, self.threshold):
            self._name(track)

    def _name(self, track: Track) -> None:
        """Compare what a track remembers with everybody."""
        encodings = np.stack(track.encodings)  # (k, D)
        nearest, distance = self._gallery.nearest_to_track(encodings)
        clear = abs(distance - self.threshold) > DOUBT * self.threshold
        track.consider(nearest if distance < self.threshold else None, clear, self.looks)
        track.distance = distance
        if track.identity not in (None, nearest):
            try:
                track.distance = distance_from(self._gallery, track.identity, encodings)
            except UnknownIdentity:  # removed meanwhile
                track.identity = None

    def forget(self) -> None:
        """Begin a new film: the next frame has nothing to do with the last."""
        self._tracker, self._looking, self._since = Tracker(), None, None

    def __enter__(self) -> LiveRecogniser:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait until the second thread is done, if there is one."""
        if self._thread is not None:
            self._thread.shutdown()
