"""Two pictures, two networks: the answers of each network alone, and errors that name the picture."""

import threading

import numpy as np
import pytest

from apps.comparison import Comparer, Comparison
from facerec.encoding import img_to_encoding
from facerec.errors import BadArgument, NoFaceFound, UnreadableImage
from facerec.learning.siamese import verify_faces

BLANK = np.full((120, 160, 3), 200, np.uint8)


@pytest.fixture(scope="module")
def compare(network, twins) -> Comparer:
    return Comparer(network, twins)


@pytest.mark.parametrize(("first", "second"), [("lena", "camera_0"), ("lena", "otto"), ("jun", "camera_5")])
def test_comparison_gives_the_answers_of_each_network_alone(compare, network, twins, images, first, second):
    files = [images / f"{name}.jpg" for name in (first, second)]
    both = compare(*files)
    encodings = [img_to_encoding(file, network) for file in files]
    assert both.distance == pytest.approx(np.linalg.norm(encodings[0] - encodings[1]), abs=1e-4)
    model, threshold = twins
    alone = verify_faces(*files, model, threshold)
    assert both.score == pytest.approx(alone["score"], abs=1e-4) and both.score_threshold == threshold
    assert (both.score >= threshold) == alone["is_match"]
    assert both.faces.shape == (2, 150, 150, 3) and both.faces.dtype == np.uint8


def test_comparison_in_words_follows_the_numbers(compare, images):
    same = compare(images / "lena.jpg", images / "camera_0.jpg")
    assert same.is_same and same.probability > 0.9
    assert "the same person" in same.verdict and f"{same.distance:.2f}, below" in same.verdict
    other = compare(images / "lena.jpg", images / "otto.jpg")
    assert not other.is_same and other.probability < 0.1
    assert "two people" in other.verdict and f"{other.distance:.2f}, not below" in other.verdict
    for both in (same, other):
        assert both.twins_agree == ((both.score >= both.score_threshold) == both.is_same)
        assert ("see two people" in both.second_opinion) == (both.score < both.score_threshold)
        assert f"{both.score:.2f}" in both.second_opinion


@pytest.mark.parametrize(
    ("distance", "score", "objects"), [(0.3, 0.19, True), (0.3, 0.21, False), (0.9, 0.71, True), (0.9, 0.69, False)]
)
def test_twins_object_only_if_they_disagree_strongly(distance, score, objects):
    both = Comparison((), np.empty(0), (), (1, 1), distance, 0.7, 0.5, score, score_threshold=0.4)
    assert not both.twins_agree and both.twins_object == objects


def test_largest_of_several_faces_is_compared(compare, images, detections):
    both = compare(images / "video_call.jpg", images / "lena.jpg")
    assert both.counts == (len(detections["video_call"]), 1) and both.counts[0] > 4
    areas = [face["box"][2] * face["box"][3] for face in detections["video_call"]]
    assert both.detections[0]["box"][2] * both.detections[0]["box"][3] == max(areas)


def test_error_names_the_picture(compare, images):
    good = images / "lena.jpg"
    with pytest.raises(NoFaceFound, match=r"no face in the second picture \(160×120\)"):
        compare(good, BLANK)
    with pytest.raises(UnreadableImage, match="the first picture can't be used: .* is empty"):
        compare(b"", good)
    with pytest.raises(NoFaceFound, match="no face in door.jpg"):
        compare(BLANK, good, names=("door.jpg", "b"))
    with pytest.raises(BadArgument, match="threshold=-1"):
        Comparer(compare.FRmodel, (compare.twins, compare.score_threshold), threshold=-1)


def test_threshold_decides_the_verdict(compare, images):
    files = images / "lena.jpg", images / "camera_0.jpg"
    strict = Comparer(compare.FRmodel, (compare.twins, compare.score_threshold), threshold=0.01)
    assert compare(*files).is_same and not strict(*files).is_same


def test_threads_get_their_own_answers(compare, images):
    pairs = [("lena", "camera_0"), ("lena", "otto")]
    alone = [compare(*(images / f"{name}.jpg" for name in pair)).distance for pair in pairs]
    said = [0.0] * 8

    def ask(i: int) -> None:
        said[i] = compare(*(images / f"{name}.jpg" for name in pairs[i % 2])).distance

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(said, alone * 4, atol=1e-4)
