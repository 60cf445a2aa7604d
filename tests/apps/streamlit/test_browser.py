"""The Streamlit app as a whole: in a real Chromium, with hostile uploads, and killed.

`make test-apps` runs these tests. With APPS_RESULTS=1 they write their measurements into ``docs/results/apps.json``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from apps.streamlit.accounts import hashed
from facerec._files import ROOT, write_json
from facerec.database import FaceDatabase
from facerec.errors import FaceError
from tests.apps.streamlit.driving import (
    APP,
    PASSWORD,
    add,
    claim,
    drop,
    enter,
    export,
    forget,
    give,
    go,
    image,
    known_names,
    notice,
    portraits,
    remove,
    rename,
    running,
    source,
    still,
    take_in,
    turn_to,
    verdict,
)
from tests.chromium import NEEDED, SIZES, browser, look, serious_violations, write_film
from tests.hostile import SIGN, hostile_uploads
from tools.ports import free_port

PAGES = ("verify", "recognise", "live", "people", "compare", "metrics")


def measured(**numbers: float) -> None:
    """Store numbers in ``docs/results/apps.json``, if APPS_RESULTS asks for it."""
    if os.environ.get("APPS_RESULTS") != "1":
        return
    path = ROOT / "docs" / "results" / "apps.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_json(path, known | {f"streamlit_{name}": value for name, value in numbers.items()})


@pytest.fixture(scope="module")
def secrets_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("secrets") / "secrets.toml"
    path.write_text(f'[accounts]\nkeeper = "{hashed(PASSWORD)}"\n')
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory, secrets_file):
    """The app, with the people of ``images/``: its address, its process, and its log file."""
    home, port = tmp_path_factory.mktemp("app"), free_port()
    with running(home, port, secrets_file) as process:
        yield f"http://localhost:{port}", process, home / "app.log"
    assert "Traceback" not in (home / "app.log").read_text()


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """The film of the fake camera: Lena."""
    from facerec.photos import load_image

    return write_film(load_image(ROOT / "images" / "camera_0.jpg"), tmp_path_factory.mktemp("film") / "lena.mjpeg")


@pytest.fixture(scope="module")
def chromium(film):
    with browser(film=film) as started:
        yield started


@pytest.fixture
def visit(chromium, server):
    """Opens a page of the app in a new browser session."""
    contexts = []

    def open_page(page: str = "verify", size: str = "desktop", scheme: str = "light", camera: bool = True):
        context = chromium.new_context(viewport=SIZES[size], color_scheme=scheme, accept_downloads=True)
        contexts.append(context)
        if camera:
            context.grant_permissions(["camera"], origin=server[0])
        return go(context.new_page(), server[0], page)

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.apps
@NEEDED
def test_verify_by_file_camera_and_example(visit):
    page = visit()
    claim(page, "lena")
    give(page, image("camera_0.jpg"))
    verdict(page, "Welcome in")
    assert page.locator(".figures img").count() == 2
    assert page.locator(".scale").get_attribute("aria-label").startswith("distance 0.")
    source(page, "The camera")
    page.get_by_role("button", name="Take photo").click()
    verdict(page, "Welcome in")
    source(page, "An example")
    page.locator("button[data-id='camera_11.jpg']").click()
    verdict(page, "Go away")
    claim(page, "otto")
    verdict(page, "Welcome in")


@pytest.mark.apps
@NEEDED
def test_first_picture_of_a_new_session_is_answered(visit):
    page = visit()
    claim(page, "lena")
    give(page, image("camera_4.jpg"))
    verdict(page, "Welcome in")
    page, took = visit(), []  # another visitor
    claim(page, "lena")
    for number in range(20):
        began = time.perf_counter()
        page.locator("input[type=file]").first.set_input_files(image(f"camera_{number}.jpg"))
        page.locator(".verdict").wait_for()
        took.append(time.perf_counter() - began)
        still(page)
        drop(page)
        page.locator(".verdict").wait_for(state="detached")
    times = {"first": took[0], "median": np.median(took), "slowest": max(took)}
    measured(**{f"picture_to_answer_{name}_s": round(float(seconds), 3) for name, seconds in times.items()})


@pytest.mark.apps
@NEEDED
def test_recognise_a_batch_and_download_the_table(visit, tmp_path):
    page = visit("recognise")
    (tmp_path / "=broken.jpg").write_bytes(b"\xff\xd8 no more")
    (tmp_path / "=lena.jpg").write_bytes(image("camera_0.jpg").read_bytes())
    give(page, image("video_call.jpg"), tmp_path / "=broken.jpg", tmp_path / "=lena.jpg")
    page.get_by_role("button", name="Download as CSV").wait_for()
    still(page)
    notice(page, "bad", "=broken.jpg is not a picture")
    names = page.locator(".face b").all_text_contents()
    seen = ("1 · jun", "2 · Unknown", "3 · ines", "4 · sami", "5 · Unknown", "6 · grace", "1 · lena")
    assert names == list(seen)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 1 + 6 + 1 + 1
    assert lines[7].startswith('"\'=broken.jpg"') and lines[8].startswith('"\'=lena.jpg",1')


FILM = """() => document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot
    .querySelector('video').srcObject"""


@pytest.mark.apps
@NEEDED
def test_live_names_lena_and_stops_when_the_page_is_left(visit):
    page = visit("live")
    began = time.perf_counter()
    page.get_by_role("button", name="Start the camera").click()
    page.locator(".status").filter(has_text="In view: lena").wait_for()
    measured(live_first_name_s=round(time.perf_counter() - began, 2))
    page.locator(".rate").filter(has_text="frames per second").wait_for()
    page.wait_for_timeout(5000)  # for a steady rate
    measured(live_frames_per_second=float(page.locator(".rate").text_content().split()[0]))
    film = page.evaluate_handle(FILM)
    assert film.evaluate("film => film.active")
    turn_to(page, "Metrics")
    page.wait_for_function("film => !film.active", arg=film)


SECOND_CAMERA = """  // the fake camera once more, and chosen: one that shows a film is the only one
    const devices = navigator.mediaDevices, list = devices.enumerateDevices.bind(devices);
    devices.enumerateDevices = async () => (await list()).flatMap((each) => [each, each]);"""


@pytest.mark.apps
@NEEDED
def test_face_in_view_of_the_other_camera_is_named_and_a_folder_is_added(chromium, secrets_file, tmp_path):
    port = free_port()
    (tmp_path / "friends" / "zoe").mkdir(parents=True)
    for name in ("camera_5.jpg", "camera_6.jpg"):
        (tmp_path / "friends" / "zoe" / name).write_bytes(image(name).read_bytes())
    context = chromium.new_context(viewport=SIZES["phone"], permissions=["camera"])
    with running(tmp_path, port, secrets_file):
        page = context.new_page()
        page.add_init_script(SECOND_CAMERA)
        enter(go(page, f"http://localhost:{port}", "people"))
        page.get_by_role("tab", name="Add many").click()
        panel = page.get_by_role("tabpanel", name="Add many")
        panel.get_by_text("A folder", exact=True).click()
        still(page)
        panel.locator("input[type=file]").set_input_files(tmp_path / "friends")
        still(page)
        page.get_by_role("button", name="Add everyone").click()
        notice(page, "warn", "2 of 2 files were added, for 1 person. Please check: 2.")  # they show two people
        assert "zoe" in known_names(page)
        go(page, f"http://localhost:{port}", "live").get_by_role("button", name="Start the camera").click()
        page.locator(".status").filter(has_text="In view: lena").wait_for()
        first = page.evaluate_handle(FILM)
        page.locator("select").select_option(index=0)
        page.wait_for_function("film => !film.active", arg=first)
        for _ in range(60):  # the status is still that of the first camera, until a face of the other has been seen
            page.get_by_role("button", name="Name a face in view").click()
            still(page)
            if page.locator(".gallery button").filter(has_text="lena?").count():
                break
        page.locator(".gallery button").filter(has_text="lena?").click()
        page.get_by_role("button", name="Add", exact=True).click()
        notice(page, "good", "lena now has 1 more picture.")
        page.locator(".status").filter(has_text="In view: lena").wait_for()  # the camera is still on
    context.close()


@pytest.mark.apps
@NEEDED
def test_live_explains_a_camera_refusal(visit):
    page = visit("live", camera=False)
    for broken, words in {
        "getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') }": "is blocked",
        "getUserMedia = async () => { throw new DOMException('', 'NotFoundError') }": "has no camera",
    }.items():
        page.evaluate(f"() => {{ navigator.mediaDevices.{broken} }}")
        page.get_by_role("button", name="Start the camera").click()
        page.locator(".status.problem").filter(has_text=words).wait_for()
    page.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', { get: () => undefined })")  # as over http
    page.get_by_role("button", name="Start the camera").click()
    page.locator(".status.problem").filter(has_text="over https").wait_for()


@pytest.mark.apps
@NEEDED
def test_compare_by_example_and_file(visit):
    page = visit("compare")
    source(page, "An example", 0)
    page.locator("button[data-id='lena.jpg']").first.click()
    still(page)
    give(page, image("camera_0.jpg"))
    verdict(page, "The same person")
    assert page.locator(".scale").count() == 2 and page.locator(".figures img").count() == 2
    page.locator("button[data-id='otto.jpg']").first.click()
    verdict(page, "Two different people")


@pytest.mark.apps
@NEEDED
def test_metrics_take_marks(chromium, secrets_file, tmp_path):
    port = free_port()
    with running(tmp_path, port, secrets_file):
        page = go(chromium.new_page(), f"http://localhost:{port}", "verify")
        claim(page, "lena")
        give(page, image("camera_0.jpg"))
        verdict(page, "Welcome in")
        drop(page)
        give(page, image("camera_11.jpg"))
        verdict(page, "Go away")
        turn_to(page, "Metrics")
        for number, word in ((0, "wrong"), (1, "right")):  # the newest first: sent away, and let in
            page.get_by_test_id("stButtonGroup").nth(number).get_by_text(word, exact=True).click()
            still(page)
        tile = page.locator(".tiles > div").filter(has_text="False rejects")
        assert "1 of 2 that should have been let in; 95 % interval: 9 to 91 %" in tile.inner_text()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download as CSV").click()
        assert Path(download.value.path()).read_text(encoding="utf-8-sig").count("verify") == 2
        page.context.close()


@pytest.mark.apps
@NEEDED
def test_changes_of_people_last_after_a_restart(chromium, secrets_file, tmp_path):
    port, odd = free_port(), "<b>Ada</b> :red[x] $y$"
    address, context = f"http://localhost:{port}", chromium.new_context(viewport=SIZES["desktop"])
    with running(tmp_path, port, secrets_file):
        page = go(context.new_page(), address, "people")
        assert page.get_by_role("button", name="Add", exact=True).count() == 0
        assert known_names(page) and not page.locator(".gallery button").count()
        for _ in range(4):
            enter(page, "not the password")
            notice(page, "bad", "The name or the password is wrong")
        enter(page)
        page.get_by_text("Logged in as keeper").wait_for()
        add(page, odd, image("camera_5.jpg"), image("camera_6.jpg"))
        notice(page, "good", f"{odd} has been added, with 2 pictures.")
        add(page, "Otto's double", image("camera_11.jpg"), but="this looks like otto")
        rename(page, odd, "Ada")
        forget(page, "mei")
        remove(page, "jun")
        archive = export(page, tmp_path / "people.zip")
    names = sorted({"Ada", "Otto's double", *(path.stem for path in portraits())} - {"mei", "jun"})
    assert not [path for path in tmp_path.glob("people.db*") if b"mei" in path.read_bytes()]
    with running(tmp_path, port, secrets_file):
        page = go(context.new_page(), address, "people")
        assert known_names(page) == names
        enter(page)
        remove(page, "Ada")
        take_in(page, archive)
        notice(page, "good", "1 person imported; 11 were already known")
        assert known_names(page) == names
        (tmp_path / "no.zip").write_bytes(b"PK no more")
        take_in(page, tmp_path / "no.zip")
        notice(page, "bad", "not a file from Export: no.zip is not a ZIP file")
        assert known_names(page) == names
    context.close()


#: Starts Streamlit with a lock that lasts an hour, so that the sixth attempt comes in time on any machine.
LONG_LOCK = """
from apps.streamlit import accounts
from streamlit.web.cli import main

accounts.FIRST_WAIT = 3600.0
main()
"""


@pytest.mark.apps
@NEEDED
def test_five_wrong_passwords_lock_the_account_in_every_browser(chromium, secrets_file, tmp_path):
    port = free_port()
    with running(tmp_path, port, secrets_file, start=("-c", LONG_LOCK)):
        for attempt in range(6):
            context = chromium.new_context()
            page = go(context.new_page(), f"http://localhost:{port}", "people")
            enter(page, PASSWORD if attempt == 5 else "not the password")
            notice(page, "bad", "Too many failed attempts" if attempt == 5 else "The name or the password is wrong")
            context.close()


@pytest.mark.apps
@NEEDED
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_pages_fit_and_have_no_accessibility_violations(visit, server, size, scheme):
    page, found = visit("verify", size, scheme), {}
    for name in PAGES:
        go(page, server[0], name)
        fill(page, name)
        page.set_viewport_size({"width": SIZES[size]["width"], "height": 1500})
        still(page)
        look(page, f"streamlit_{name}_{size}_{scheme}")
        wide = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide"
        if serious := serious_violations(page):
            found[name] = serious
        page.set_viewport_size(SIZES[size])
    assert not found, found


def fill(page, name: str) -> None:
    """Give a page something to show."""
    if name == "verify":
        claim(page, "lena")
        give(page, image("camera_0.jpg"))
        verdict(page, "Welcome in")
    elif name == "recognise":
        give(page, image("video_call.jpg"), image("camera_5.jpg"))
        page.get_by_role("button", name="Download as CSV").wait_for()
    elif name == "live":
        page.get_by_role("button", name="Start the camera").click()
        page.locator(".status").filter(has_text="In view: lena").wait_for()
    elif name == "compare":
        for number, picture in enumerate(("lena.jpg", "otto.jpg")):
            give(page, image(picture), number=number)
        verdict(page, "Two different people")
    still(page)


QUESTIONS = [
    ("lena", "camera_0.jpg", "Welcome in"),
    ("otto", "camera_11.jpg", "Welcome in"),
    ("mei", "camera_8.jpg", "Welcome in"),
    ("kofi", "camera_12.jpg", "Welcome in"),
    ("otto", "camera_0.jpg", "Go away"),
]


@pytest.mark.apps
@NEEDED
def test_five_sessions_at_once_get_right_answers(visit):
    pages = [visit() for _ in QUESTIONS]
    for page, (name, _, _) in zip(pages, QUESTIONS, strict=True):
        claim(page, name)
    began, took = time.perf_counter(), []
    for page, (_, picture, _) in zip(pages, QUESTIONS, strict=True):
        page.locator("input[type=file]").first.set_input_files(image(picture))  # does not wait for the answer
    for page, (name, _, words) in zip(pages, QUESTIONS, strict=True):
        verdict(page, words)
        assert f"distance from {name} is" in page.locator(".verdict").inner_text()
        took.append(time.perf_counter() - began)
    measured(five_browsers_slowest_s=round(max(took), 2))


@pytest.mark.apps
@NEEDED
def test_three_hundred_verifications_leak_no_memory(visit, server):
    import psutil

    page, process = visit(), psutil.Process(server[1].pid)
    claim(page, "lena")
    source(page, "An example")
    names = [f"camera_{number}.jpg" for number in range(20)]

    def verify(times: int) -> None:
        for number in range(times):
            page.locator(f"button[data-id='{names[number % 20]}']").click()
            page.locator("figcaption").filter(has_text=f"At the door: {names[number % 20]}").wait_for()

    verify(60)
    before, began = process.memory_info().rss, time.perf_counter()
    verify(300)
    grown = (process.memory_info().rss - before) / 1e6
    measured(memory_growth_mb=round(grown, 1), verifications_per_s=round(300 / (time.perf_counter() - began), 1))
    assert grown < 50, f"{grown:.0f} MB more"


@pytest.mark.apps
@NEEDED
def test_hostile_uploads_are_refused_and_leave_no_trace(visit, server):
    page, alarms = visit("recognise"), []
    page.on("dialog", lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    uploads = [each for each in hostile_uploads(120, 5) if len(each[2]) < 5_000_000][::3][:30]
    for label, name, data, kind in uploads:
        ending = Path(name).suffix if Path(name).suffix in (".jpg", ".png") else ".jpg"
        kept = name.replace("\x00", "").encode("utf-8", "ignore").decode()[:180].removesuffix(ending) + ending
        give(page, {"name": kept, "mimeType": kind.encode("ascii", "ignore").decode(), "buffer": data})
        page.get_by_role("button", name="Download as CSV").or_(
            page.get_by_test_id("stFileUploaderErrorMessage")
        ).first.wait_for()
        body = page.locator("body").inner_text()
        assert "Traceback" not in body and "went wrong" not in body, label
        assert SIGN not in page.title() and not alarms, label
        drop(page)
    assert "Traceback" not in server[2].read_text()
    assert not [*ROOT.glob(f"*{SIGN}*"), *APP.rglob(f"*{SIGN}*"), *Path("/tmp").glob(f"{SIGN}*")]
    claim(turn_to(page, "Verify"), "lena")  # and the app is as it was
    give(page, image("camera_0.jpg"))
    verdict(page, "Welcome in")
    measured(hostile_in_browser=len(uploads))


@pytest.mark.apps
def test_every_hostile_upload_is_opened_or_refused_in_words():
    """Every upload goes through this function first."""
    from apps.streamlit import shared

    began, refused = time.perf_counter(), 0
    uploads = hostile_uploads(500, 1)
    for label, name, data, _ in uploads:
        try:
            photo = shared.opened(data, name)
        except FaceError as error:
            refused += 1
            assert len(str(error)) < 400 and "\n" not in str(error) and "Traceback" not in str(error), label
        else:
            assert photo.dtype == np.uint8 and photo.ndim == 3 and max(photo.shape[:2]) <= shared.LONGEST_SIDE, label
    assert refused > 250
    measured(
        hostile_uploads=len(uploads), hostile_refused=refused, hostile_seconds=round(time.perf_counter() - began, 1)
    )


def add_people(path: str, confirmed: str) -> None:
    """Add people with the page's function, and log each confirmed picture, until the process is killed."""
    from apps.streamlit import looking
    from facerec.networks import load_facenet
    from facerec.photos import load_image

    model = load_facenet()
    seen = looking.look(load_image(ROOT / "images" / "lena.jpg"), model)
    with FaceDatabase(path, model) as database, Path(confirmed).open("a", buffering=1) as notes:
        for number in range(100_000):
            for safe in looking.enrol(f"person {number}", [seen, seen], database):
                notes.write(f"{number} {safe}\n")


@pytest.mark.apps
def test_confirmed_additions_last_after_a_kill(tmp_path):
    rng, checked = np.random.default_rng(), 0
    for attempt in range(3):
        path, notes = tmp_path / f"{attempt}.db", tmp_path / f"{attempt}.txt"
        process = multiprocessing.get_context("spawn").Process(target=add_people, args=(str(path), str(notes)))
        process.start()
        while not notes.exists() or notes.stat().st_size < 200:
            assert process.is_alive()
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 1))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        lines = [line for line in notes.read_text().splitlines(keepends=True) if line.endswith("\n")]
        with FaceDatabase(path) as database:
            for number, safe in (line.split() for line in lines[-500:]):
                assert len(database.encodings(f"person {number}")) >= int(safe)
                checked += 1
    assert checked > 100
    measured(killed_while_adding=3, confirmed_and_there=checked)
