"""Collected faces are sharp and different, and no picture is ever lost or replaced."""

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter

import cv2
import numpy as np
import pytest

from facerec.errors import BadArgument, NoFaceFound
from facerec.learning.datasets import find_people
from facerec.live import collect
from facerec.live.collect import MARGIN, PICTURE_SIDE, Collector, Session, collect_from, write_new
from facerec.live.frames import Frames
from facerec.photos import load_image, save_picture
from tests.facerec.live.films import save_many, save_without_end

GREY = np.full((300, 300, 3), 90, np.uint8)


# -------------------------------------------------------------------------------------------------- collector
def test_saved_picture_has_the_face_in_its_middle(photos, tmp_path):
    collector = Collector(tmp_path / "lena")
    seen = collector.look(photos["lena"])
    assert seen.crop.shape == (PICTURE_SIDE, PICTURE_SIDE, 3) and seen.sharpness > 100
    x, y, width, height = collector.look(seen.crop).box
    assert abs(x + width / 2 - PICTURE_SIDE / 2) < 12 and abs(y + height / 2 - PICTURE_SIDE / 2) < 12
    assert max(width, height) == pytest.approx(PICTURE_SIDE / MARGIN, rel=0.2)


@pytest.mark.parametrize("detector", ["mtcnn", "haar"])
def test_objection_to_blurred_similar_and_missing_faces(photos, tmp_path, detector):
    collector = Collector(tmp_path / "lena", detector)
    seen = collector.look(photos["lena"])
    assert collector.objection(seen) == ""
    collector.save(seen, "anchor")
    darker = (photos["lena"] * 0.8).astype(np.uint8)
    assert collector.objection(collector.look(darker)) == "like a saved one"
    blurred = cv2.GaussianBlur(photos["camera_0"], (0, 0), 8)
    assert collector.objection(collector.look(blurred)) in ("blurred", "no face")
    assert collector.objection(collector.look(photos["camera_4"])) == ""
    assert collector.objection(collector.look(GREY)) == "no face"


def test_unknown_detector_kind_and_missing_face_are_refused(photos, tmp_path):
    with pytest.raises(BadArgument, match="detector='eyes': one of mtcnn, haar"):
        Collector(tmp_path, "eyes")
    collector = Collector(tmp_path, "haar")
    with pytest.raises(BadArgument, match="kind='negative': one of anchor, positive"):
        collector.save(collector.look(photos["lena"]), "negative")
    with pytest.raises(NoFaceFound):
        collector.save(collector.look(GREY), "anchor")


def test_film_becomes_different_pictures_in_equal_parts(lena_film, tmp_path):
    collector = Collector(tmp_path / "lena", "haar")
    results = collect_from(Frames(lena_film, per_second=4), collector, progress=False)
    assert results["saved"] >= 4 and results["blurred"] + results["no face"] >= 1
    assert sum(results.values()) == 12
    people = find_people(tmp_path)
    assert len(people) == results["saved"] and set(people.identity) == {"lena"}
    counts = collector.counts()
    assert abs(counts["anchor"] - counts["positive"]) <= 1 and sum(counts.values()) == results["saved"]
    saved = [Collector(tmp_path / "x", "haar").look(load_image(path)).small for path in people.picture]
    nearest = [np.abs(a - b).mean() for i, a in enumerate(saved) for b in saved[:i] if a is not None and b is not None]
    assert min(nearest) > 0.02


def test_pictures_under_any_name_are_counted(photos, tmp_path):
    for name in ("anchor_0001.jpg", "positive_0001.jpg", "IMG_2034.JPG", "holiday.png", ".hidden.jpg", "notes.txt"):
        save_picture(tmp_path / f"{name}.jpg", photos["lena"][:60, :20])  # portrait format: no square of ours
        (tmp_path / f"{name}.jpg").rename(tmp_path / name)
    assert Collector(tmp_path, "haar").counts() == {"anchor": 1, "positive": 3}


def test_pictures_of_another_day_are_remembered(lena_film, tmp_path):
    first, second = (
        collect_from(Frames(lena_film, per_second=4), Collector(tmp_path / "lena", "haar"), progress=False)
        for _ in range(2)
    )
    assert second["saved"] <= 1 and second["like a saved one"] >= first["saved"] - 1


# ------------------------------------------------------------------------------------------------------ files
def test_write_new_replaces_no_file(photos, tmp_path):
    folder = tmp_path / "lena"
    first = write_new(folder, "anchor", photos["lena"])
    (folder / "anchor_0007.jpg").write_bytes(b"another one")
    (folder / "anchor_old.jpg").write_bytes(b"and another")
    second = write_new(folder, "anchor", photos["kofi"])
    assert (first.name, second.name) == ("anchor_0001.jpg", "anchor_0008.jpg")
    assert write_new(folder, "positive", photos["kofi"]).name == "positive_0001.jpg"
    assert (folder / "anchor_0007.jpg").read_bytes() == b"another one"


def test_write_new_takes_the_next_number_if_another_process_was_first(photos, tmp_path, monkeypatch):
    def save_while_another_process_takes_the_number(*args):
        (tmp_path / "anchor_0001.jpg").write_bytes(b"the other one's")
        save_picture(*args)

    monkeypatch.setattr(collect, "save_picture", save_while_another_process_takes_the_number)
    assert write_new(tmp_path, "anchor", photos["lena"]).name == "anchor_0002.jpg"
    assert (tmp_path / "anchor_0001.jpg").read_bytes() == b"the other one's"


def test_write_new_works_on_disks_without_links(photos, tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError("no links here")

    monkeypatch.setattr(collect.os, "link", refuse)
    names = [write_new(tmp_path, "anchor", photos[name]).name for name in ("lena", "kofi")]
    assert names == ["anchor_0001.jpg", "anchor_0002.jpg"]
    assert all(load_image(tmp_path / name).shape == (320, 320, 3) for name in names)

    def save_while_another_process_takes_the_number(*args):
        (tmp_path / "anchor_0003.jpg").write_bytes(b"the other one's")
        save_picture(*args)

    monkeypatch.setattr(collect, "save_picture", save_while_another_process_takes_the_number)
    assert write_new(tmp_path, "anchor", photos["lena"]).name == "anchor_0004.jpg"
    assert (tmp_path / "anchor_0003.jpg").read_bytes() == b"the other one's"


def test_two_processes_collect_into_one_folder(photos, tmp_path):
    context = multiprocessing.get_context("spawn")
    both_ready = context.Barrier(2)
    arguments = (str(tmp_path), np.array(photos["lena"]), both_ready)
    both = [context.Process(target=save_many, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert sorted(path.name for path in tmp_path.glob("*.jpg")) == [f"anchor_{i:04d}.jpg" for i in range(1, 41)]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_process_leaves_only_complete_pictures(photos, tmp_path):
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=save_without_end, args=(str(tmp_path), np.array(photos["lena"])))
    process.start()
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and len(list(tmp_path.glob("*.jpg"))) < 5:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    pictures = sorted(tmp_path.glob("*.jpg"))
    assert len(pictures) >= 5
    assert Counter(load_image(path).shape for path in pictures) == {(320, 320, 3): len(pictures)}


# ---------------------------------------------------------------------------------------------------- session
def look(session: Session, frame: np.ndarray, now: float = 0.0) -> np.ndarray:
    """Show a frame until it has been searched; the picture shown then."""
    session.show(frame, now)
    session._looking.result()
    session.seen = None
    shown = session.show(frame, now)
    session._looking.result()
    return shown


def saved(session: Session) -> list[str]:
    return sorted(path.name for path in session.collector.folder.glob("*"))


def test_keys_save_the_face_and_report_it(session, photos):
    session.press("a")
    assert session.message == "not saved: no face found" and saved(session) == []
    look(session, photos["lena"])
    for key in "ap?p":
        session.press(key)
    assert saved(session) == ["anchor_0001.jpg", "positive_0001.jpg", "positive_0002.jpg"]
    assert session.message == "saved positive_0002.jpg" and session.last.shape == (PICTURE_SIDE, PICTURE_SIDE, 3)
    assert session.status() == "1 anchor, 2 positive\nautomatic: off"
    assert not session.ended
    session.press("q")
    assert session.ended and set(session.keys) == set("apc+-q")


def test_automatic_capture_keeps_its_rate_and_saves_no_face_twice(session, photos):
    session.press("c")
    look(session, photos["lena"], now=10.0)
    assert saved(session) == ["anchor_0001.jpg"]
    look(session, photos["lena"], now=20.0)
    assert saved(session) == ["anchor_0001.jpg"] and session.message == "automatic: not saved, like a saved one"
    look(session, photos["camera_4"], now=20.1)
    assert saved(session) == ["anchor_0001.jpg", "positive_0001.jpg"]
    look(session, photos["kofi"], now=20.4)
    assert len(saved(session)) == 2  # less than half a second after the last one
    look(session, photos["kofi"], now=20.7)
    assert len(saved(session)) == 3
    session.press("c")
    look(session, photos["mei"], now=30.0)
    assert len(saved(session)) == 3 and "automatic: off" in session.status()


def test_keys_change_the_rate(session):
    for key, rate in (("+", 4), ("+", 8), ("-", 4)):
        session.press(key)
        assert session.rate == rate and session.message == f"automatic: at most {rate} per second"


def test_film_is_shown_mirrored_and_its_box_tells_whether_the_face_is_sharp(session, photos):
    def yellow(shown):
        return (np.abs(shown.astype(int) - (255, 214, 0)).sum(axis=2) < 30).sum()

    plain = session.show(photos["lena"], 0.0)
    np.testing.assert_array_equal(plain, photos["lena"][:, ::-1])
    session._looking.result()
    sharp = yellow(look(session, photos["lena"]))
    session.collector.sharp_enough = 1e9
    assert sharp > 2 * yellow(look(session, photos["lena"])) > 0


def test_error_of_the_search_thread_is_raised(session, photos, monkeypatch):
    def fail(frame):
        raise MemoryError("too much")

    monkeypatch.setitem(collect.DETECTORS, "haar", fail)
    session.show(photos["lena"], 0.0)
    assert session._looking.exception()
    with pytest.raises(MemoryError, match="too much"):
        session.show(photos["lena"], 0.1)
