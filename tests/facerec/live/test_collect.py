"""Frames come from wherever they come, and what is collected is sharp, new, and never lost or written over."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from facerec import __main__ as camera
from facerec._files import ROOT
from facerec.errors import BadArgument, NoCamera, NoFaceFound, NoScreen, UnreadableImage
from facerec.learning.datasets import find_people
from facerec.live.collect import KEYS, MARGIN, Collector, FaceInFrame, Session, collect_from, write_new
from facerec.live.frames import Frames
from facerec.live.widget import CameraWidget
from facerec.live.window import collect_in_window
from facerec.photos import load_image, save_picture


def write_video(path: Path, photos: list[np.ndarray], seconds: float = 1.5, fps: int = 15) -> Path:
    """Each person sways in front of the camera for a while; every tenth frame is blurred, the others are in pairs."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (640, 480))
    for photo in photos:
        for i in range(int(seconds * fps)):
            matrix = cv2.getRotationMatrix2D((160, 160), 6 * np.sin(i / 9), 1.2 + 0.25 * np.sin(i / 6))
            matrix[:, 2] += (160 + 20 * np.sin(i / 5), 80)
            frame = cv2.warpAffine(photo[..., ::-1], matrix, (640, 480), borderMode=cv2.BORDER_REPLICATE)
            writer.write(cv2.GaussianBlur(frame, (0, 0), 9) if i % 10 == 9 else frame)
    writer.release()
    return path


@pytest.fixture(scope="module")
def video(photos, tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "lena.mp4", [photos["lena"], photos["camera_4"]])


# --------------------------------------------------------------------------------------------------- frames
def test_every_frame_of_a_video_or_some_of_every_second(video):
    frames = list(Frames(video))
    assert len(frames) == len(Frames(video)) == 44
    assert frames[0].shape == (480, 640, 3) and frames[0].dtype == np.uint8
    some = list(Frames(video, per_second=5))
    assert len(some) == 15
    np.testing.assert_array_equal(some[1], frames[3])


def test_frames_are_rgb(photos, tmp_path):
    red = np.zeros((320, 320, 3), np.uint8)
    red[..., 0] = 250
    frame = next(iter(Frames(write_video(tmp_path / "red.mp4", [red]))))
    assert frame[240, 320, 0] > 200 > 60 > frame[240, 320, 2]


def test_a_folder_gives_its_pictures_and_says_which_could_not_be_opened(tmp_path, images):
    (tmp_path / "a.jpg").write_bytes((images / "lena.jpg").read_bytes())
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes((images / "kofi.jpg").read_bytes())
    frames = Frames(tmp_path)
    assert [frame.shape for frame in frames] == [(320, 320, 3)] * 2
    assert [name for name, _ in frames.problems] == ["b.jpg"]


def test_what_gives_no_frames_is_named(tmp_path):
    with pytest.raises(NoCamera, match="there is no camera 63"):
        Frames(63)
    with pytest.raises(NoCamera, match="there is no camera 63"):
        Frames("63")
    with pytest.raises(BadArgument, match="nowhere.mp4 does not exist"):
        Frames(tmp_path / "nowhere.mp4")
    (tmp_path / "notes.mp4").write_bytes(b"no video")
    with pytest.raises(UnreadableImage, match="notes.mp4 is no video that can be read"):
        Frames(tmp_path / "notes.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadArgument, match="empty holds no pictures"):
        Frames(tmp_path / "empty")


# ----------------------------------------------------------------------------------------------- collecting
def test_a_picture_has_the_face_in_its_middle(photos, tmp_path):
    seen = Collector(tmp_path / "lena").look(photos["lena"])
    assert seen.crop.shape == (250, 250, 3) and seen.sharpness > 100
    again = Collector(tmp_path / "lena").look(seen.crop)
    x, y, width, height = again.box
    assert abs(x + width / 2 - 125) < 12 and abs(y + height / 2 - 125) < 12
    assert max(width, height) == pytest.approx(250 / MARGIN, rel=0.2)


@pytest.mark.parametrize("detector", ["mtcnn", "haar"])
def test_automatic_capture_skips_what_is_blurred_or_nearly_the_same(photos, tmp_path, detector):
    collector = Collector(tmp_path / "lena", detector)
    seen = collector.look(photos["lena"])
    assert collector.objection(seen) == ""
    collector.save(seen, "anchor")
    darker = (photos["lena"] * 0.8).astype(np.uint8)
    assert collector.objection(collector.look(darker)) == "like one that is saved"
    blurred = cv2.GaussianBlur(photos["camera_0"], (0, 0), 8)
    assert collector.objection(collector.look(blurred)) in ("blurred", "no face")
    assert collector.objection(collector.look(photos["camera_4"])) == ""
    assert collector.objection(collector.look(np.full((300, 300, 3), 90, np.uint8))) == "no face"


def test_a_video_becomes_pictures_that_are_all_different_no_slower_than_it_runs(video, tmp_path):
    collector = Collector(tmp_path / "lena", "haar")
    collector.look(next(iter(Frames(video))))  # loads the detector
    frames, start = Frames(video, per_second=4), time.perf_counter()
    results = collect_from(frames, collector, progress=False)
    took = time.perf_counter() - start
    assert results["saved"] >= 4 and results["blurred"] + results["no face"] >= 1
    assert sum(results.values()) == 12
    people = find_people(tmp_path)
    assert len(people) == results["saved"] and set(people.identity) == {"lena"}
    counts = collector.counts()
    assert abs(counts["anchor"] - counts["positive"]) <= 1 and sum(counts.values()) == results["saved"]
    saved = [Collector(tmp_path / "x", "haar").look(load_image(path)).small for path in people.picture]
    nearest = [np.abs(a - b).mean() for i, a in enumerate(saved) for b in saved[:i] if a is not None and b is not None]
    assert min(nearest) > 0.02
    again = collect_from(Frames(video, per_second=4), Collector(tmp_path / "lena", "haar"), progress=False)
    assert again["saved"] <= 1 and again["like one that is saved"] >= results["saved"] - 1  # another day, the same film
    assert took < 2 * 3.0  # the video runs three seconds; twice that is for a machine that is busy with other tests


def test_nothing_is_written_over(photos, tmp_path):
    folder = tmp_path / "lena"
    first = write_new(folder, "anchor", photos["lena"])
    (folder / "anchor_0007.jpg").write_bytes(b"somebody's own")
    (folder / "anchor_old.jpg").write_bytes(b"somebody's own, too")
    second = write_new(folder, "anchor", photos["kofi"])
    assert (first.name, second.name) == ("anchor_0001.jpg", "anchor_0008.jpg")
    assert write_new(folder, "positive", photos["kofi"]).name == "positive_0001.jpg"
    assert (folder / "anchor_0007.jpg").read_bytes() == b"somebody's own"


def test_a_number_that_another_process_has_just_taken_is_left_to_it(photos, tmp_path, monkeypatch):
    def takes_the_number_meanwhile(*args, save=save_picture):
        (tmp_path / "anchor_0001.jpg").write_bytes(b"the other one's")
        save(*args)

    monkeypatch.setattr(camera, "save_picture", takes_the_number_meanwhile)
    assert write_new(tmp_path, "anchor", photos["lena"]).name == "anchor_0002.jpg"
    assert (tmp_path / "anchor_0001.jpg").read_bytes() == b"the other one's"


def save_many(folder: str, photo: np.ndarray) -> None:
    for _ in range(20):
        write_new(Path(folder), "anchor", photo)


def save_for_ever(folder: str, photo: np.ndarray) -> None:
    while True:
        write_new(Path(folder), "anchor", photo)


def test_two_collectors_at_once_lose_nothing(photos, tmp_path):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=save_many, args=(str(tmp_path), np.array(photos["lena"]))) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert sorted(path.name for path in tmp_path.glob("*.jpg")) == [f"anchor_{i:04d}.jpg" for i in range(1, 41)]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_it_leaves_whole_pictures(photos, tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=save_for_ever, args=(str(tmp_path), np.array(photos["lena"]))
    )
    process.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(tmp_path.glob("*.jpg"))) < 5:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    pictures = sorted(tmp_path.glob("*.jpg"))
    assert len(pictures) >= 5
    assert Counter(load_image(path).shape for path in pictures) == {(320, 320, 3): len(pictures)}


def test_what_can_not_be_collected_is_refused(photos, tmp_path):
    with pytest.raises(BadArgument, match="detector='eyes': one of mtcnn, haar"):
        Collector(tmp_path, "eyes")
    collector = Collector(tmp_path)
    with pytest.raises(BadArgument, match="kind='negative': one of anchor, positive"):
        collector.save(collector.look(photos["lena"]), "negative")
    with pytest.raises(NoFaceFound):
        collector.save(collector.look(np.full((100, 100, 3), 90, np.uint8)), "anchor")


def test_the_command(images, tmp_path, capsys):
    for name in ("lena", "camera_0"):
        (tmp_path / f"{name}.jpg").write_bytes((images / f"{name}.jpg").read_bytes())
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    camera.main(["collect", "--person", "lena", "--source", str(tmp_path), "--to", str(tmp_path / "people")])
    out = capsys.readouterr().out
    assert (
        "not opened: x.jpg" in out
        and "2 saved" in out
        and "1 anchor, 1 positive" in out
        and "prepare_people.py preprocess" in out
    )
    for wrong in (["--person", "../me"], ["--person", "me", "--rate", "0"]):
        with pytest.raises(BadArgument, match=wrong[-2]):
            camera.main(["collect", "--source", str(tmp_path), *wrong])


# ---------------------------------------------------------------------------------------- keys and the window
def look(session: Session, frame: np.ndarray, now: float = 0.0) -> np.ndarray:
    """Show a frame until it has been looked at."""
    session.seen = None
    session.show(frame, now)
    session._looking.result()
    shown = session.show(frame, now)
    session._looking.result()
    return shown


@pytest.fixture
def session(tmp_path):
    session = Session(Collector(tmp_path / "lena", detector="haar"), rate=2.0)
    yield session
    session.close()


def saved(session: Session) -> list[str]:
    return sorted(path.name for path in session.collector.folder.glob("*"))


def test_keys_save_what_is_seen_and_say_so(session, photos):
    session.press("a")
    assert session.message == "not saved: no face to be seen" and saved(session) == []
    look(session, photos["lena"])
    for key in "ap?p":
        session.press(key)
    assert saved(session) == ["anchor_0001.jpg", "positive_0001.jpg", "positive_0002.jpg"]
    assert session.message == "saved positive_0002.jpg" and session.last.shape == (250, 250, 3)
    assert session.status() == "1 anchor, 2 positive\nautomatic: off"
    assert not session.ended
    session.press("q")
    assert session.ended


def test_automatic_capture_keeps_to_its_rate_and_takes_no_picture_twice(session, photos):
    session.press("c")
    look(session, photos["lena"], now=10.0)
    assert saved(session) == ["anchor_0001.jpg"]
    look(session, photos["lena"], now=20.0)
    assert saved(session) == ["anchor_0001.jpg"] and session.message == "automatic: not saved, like one that is saved"
    look(session, photos["camera_4"], now=20.1)
    assert saved(session) == ["anchor_0001.jpg", "positive_0001.jpg"]  # half a second after the last saved one
    look(session, photos["kofi"], now=20.4)
    assert len(saved(session)) == 2
    look(session, photos["kofi"], now=20.7)
    assert len(saved(session)) == 3
    session.press("c")
    look(session, photos["mei"], now=30.0)
    assert len(saved(session)) == 3 and "automatic: off" in session.status()


def test_the_rate_is_adjusted_by_keys(session):
    for key, rate in (("+", 4), ("+", 8), ("-", 4)):
        session.press(key)
        assert session.rate == rate and session.message == f"automatic: at most {rate} per second"


def test_the_film_is_shown_as_in_a_mirror_with_a_box_that_says_whether_it_is_sharp(session, photos):
    def yellow(shown):
        return (np.abs(shown.astype(int) - (255, 214, 0)).sum(axis=2) < 30).sum()

    plain = session.show(photos["lena"], 0.0)
    np.testing.assert_array_equal(plain, photos["lena"][:, ::-1])
    session._looking.result()
    sharp = yellow(look(session, photos["lena"]))
    session.collector.sharp_enough = 1e9
    assert sharp > 2 * yellow(look(session, photos["lena"])) > 0


def test_without_a_screen_the_window_says_what_else_there_is(session, video, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":77")  # nobody is there
    with pytest.raises(NoScreen, match="no window can be opened here .*CameraWidget in a notebook"):
        collect_in_window(Frames(video), session)
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(NoScreen, match="this Python has no tkinter"):
        collect_in_window(Frames(video), session)


@pytest.fixture(scope="session")
def screen():
    """A screen that nobody looks at; one for all tests, since Xlib ends a process whose screen goes away."""
    pytest.importorskip("tkinter")
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1100x700x24"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", f":{os.read(reading, 20).decode().strip()}")
        yield
    server.terminate()
    server.wait()


@pytest.mark.browser
def test_the_window_shows_the_film_and_hears_the_keys(screen, session, video):
    import tkinter

    from PIL import ImageGrab

    def with_a_person_at_the_keys(frames):
        for number, frame in enumerate([*frames, *frames]):
            window = tkinter._default_root
            session.seen is None and session._looking and session._looking.result()
            if number in (20, 30, 40):
                window.focus_force()
                window.event_generate("<Key>", keysym={20: "a", 30: "p", 40: "c"}[number])
            if number == 60:
                window.update()
                ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).save(build / "window_collect.png")
                window.event_generate("<Key>", keysym="q")
            yield frame
        raise AssertionError("q did not end it")

    build = Path(ROOT) / "build"
    build.mkdir(exist_ok=True)
    collect_in_window(with_a_person_at_the_keys(list(Frames(video))), session)
    counts = session.collector.counts()
    assert counts["anchor"] >= 1 and counts["positive"] >= 1 and session.automatic and session.ended
    picture = load_image(build / "window_collect.png")
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000  # the film is in it


@pytest.mark.browser
def test_a_camera_that_goes_away_closes_the_window_and_is_said(screen, session, photos):
    def unplugged():
        yield photos["lena"]
        raise NoCamera("the camera gives no more pictures: was it unplugged?")

    with pytest.raises(NoCamera, match="unplugged"):
        collect_in_window(unplugged(), session)


# ------------------------------------------------------------------------------------------- the browser's half
class Heard(CameraWidget):
    """A widget whose answers are kept."""

    def send(self, content, buffers=None):
        self.__dict__.setdefault("answers", []).append(content)


def sent(widget: CameraWidget, data: bytes, number: int = 1) -> dict:
    """What the widget answers to a picture."""
    widget._hear({"kind": "picture", "name": "camera", "number": number}, [memoryview(data)])
    return widget.answers[-1]


def test_a_picture_from_the_browser_becomes_a_photo(images, photos):
    widget = Heard()
    assert widget.photo is None and widget.photos == []
    answer = sent(widget, (images / "camera_0.jpg").read_bytes(), 3)
    height, width = photos["camera_0"].shape[:2]
    assert answer == {"kind": "seen", "number": 3, "text": f"{width}×{height} pixels, one face"}
    np.testing.assert_array_equal(widget.photo, photos["camera_0"])
    assert "no face found" in sent(widget, cv2.imencode(".png", np.zeros((60, 80, 3), np.uint8))[1].tobytes())["text"]
    assert len(widget.photos) == 2


def test_what_the_browser_sends_amiss_is_answered_and_lost_on_nobody(photos):
    widget = Heard(on_photo=lambda photo: Collector(Path("x")).save(FaceInFrame(photo, None), "anchor"))
    assert "not a picture" in sent(widget, b"nonsense")["text"] or widget.photos == []
    assert "no face" in sent(widget, cv2.imencode(".png", photos["lena"])[1].tobytes())["text"]
    widget._hear({"kind": "camera", "problem": "This device has no camera."}, [])
    assert widget.problem == "This device has no camera."
    widget._hear({"kind": "camera", "problem": ""}, [])
    assert widget.problem == ""
    own = Heard(on_photo=lambda photo: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sent(own, cv2.imencode(".png", photos["lena"])[1].tobytes())
    assert own.answers[-1]["text"] == "ZeroDivisionError: division by zero" and len(own.photos) == 1


def test_where_there_are_no_links_nothing_is_written_over_either(photos, tmp_path, monkeypatch):
    def refuses(*args):
        raise PermissionError("no links here")

    monkeypatch.setattr(camera.os, "link", refuses)
    assert [write_new(tmp_path, "anchor", photos[name]).name for name in ("lena", "kofi")] == [
        "anchor_0001.jpg", "anchor_0002.jpg"
    ]  # fmt: skip
    assert len(find_people(tmp_path.parent)) >= 2


def test_the_keys_of_the_page_say_what_they_do():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in readme for key in KEYS)
