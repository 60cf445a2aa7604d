"""The Streamlit app: each page in this process with the real network, and all of it in a real Chromium.

`make test` runs the first part. `make test-apps` runs the second; it needs Chromium (CHROMIUM names it, where it is not
on the path), and with APPS_RESULTS=1 it writes what it measured into ``docs/results/apps.json``.
"""

from __future__ import annotations

import base64
import html
import io
import json
import multiprocessing
import os
import re
import signal
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from argon2 import PasswordHasher
from streamlit.testing.v1 import AppTest

from apps.streamlit.accounts import hashed
from facerec._files import ROOT, write_json
from facerec.database import FaceDatabase
from facerec.errors import FaceError
from facerec.networks import DEFAULT_NETWORK
from tests.chromium import NEEDED, SIZES, browser, free_port, look, serious_violations, serving, write_film
from tests.hostile import SIGN, hostile_uploads

APP = ROOT / "apps" / "streamlit"
if str(APP) not in sys.path:
    sys.path.append(str(APP))  # behind everything else: nothing there is meant to be found first

PASSWORD = "a long password for tests"
PAGES = ("verify", "recognise", "live", "people", "compare", "metrics")
ODD_NAMES = (
    "<script>document.title='x'</script> <b>bold</b> & <img src=x onerror=alert(1)> O'Brien \"Bo\" O’Neill 李小龍",
    "**bold** _italic_ `code` ~~gone~~ :red[red] :smile: :material/home: $x^2$ and $$y$$ [link](javascript:alert(1)) #",
)


def measured(**numbers: float) -> None:
    """Keep numbers in ``docs/results/apps.json``, if asked to."""
    if os.environ.get("APPS_RESULTS") != "1":
        return
    path = ROOT / "docs" / "results" / "apps.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_json(path, known | {f"streamlit_{name}": value for name, value in numbers.items()})


# ===================================================================================== in this process, quickly
@pytest.fixture(scope="module")
def people(tmp_path_factory, images, network):
    """A database with the people of ``images/``, as the app fills it; a test copies it. The network is loaded once."""
    from apps.streamlit import shared
    from facerec.enrol import build_database

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "load_facenet", lambda path: network)
        shared._model(DEFAULT_NETWORK)
    path = tmp_path_factory.mktemp("people") / "people.db"
    with FaceDatabase(path, network) as database:
        build_database(images, network, progress=False, into=database)
    return path


@pytest.fixture
def home(tmp_path, monkeypatch, people) -> Path:
    """The app's database, in a folder of its own."""
    path = tmp_path / "people.db"
    path.write_bytes(people.read_bytes())
    monkeypatch.setenv("FACES_DATABASE", str(path))
    monkeypatch.delenv("FACES_NETWORK", raising=False)
    monkeypatch.delenv("FACES_READING", raising=False)
    return path


@pytest.fixture
def secrets() -> dict:
    """An account, as the secrets file has it; each test's own, so that none counts the failures of another."""
    return {"accounts": {"keeper": PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)}}  # quickly made


def start(page: str = "verify", secrets: dict | None = None) -> AppTest:
    """The app in this process, at one of its pages."""
    app = AppTest.from_file(str(APP / "app.py"), default_timeout=90)
    for name, value in (secrets or {}).items():
        app.secrets[name] = value
    return app.run() if page == "verify" else app.run().switch_page(f"views/{page}.py").run()


def text_of(app: AppTest) -> str:
    """What the app's own parts of the page say."""
    assert not app.exception
    return "\n".join(part.proto.body for part in app.get("html") if not part.proto.body.startswith("<style"))


def file(name: str, folder: Path = ROOT / "images") -> tuple[str, bytes, str]:
    return name, (folder / name).read_bytes(), "image/jpeg"


def log_in(app: AppTest, password: str = PASSWORD) -> AppTest:
    app.text_input[-2].set_value("keeper")
    app.text_input[-1].set_value(password)
    return next(button for button in app.button if button.label == "Log in").click().run()


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


@pytest.mark.parametrize(
    ("claimed", "picture", "words"),
    [
        ("lena", "camera_0.jpg", "Welcome in"),
        ("otto", "camera_11.jpg", "Welcome in"),
        ("otto", "camera_0.jpg", "Go away"),
    ],
)
def test_verify_lets_in_who_it_is_and_nobody_else(home, claimed, picture, words):
    app = start()
    app.selectbox(key="verify_claimed").set_value(claimed)
    app.file_uploader(key="verify_file").set_value(file(picture)).run()
    said = text_of(app)
    assert words in said and {"Welcome in": "Go away", "Go away": "Welcome in"}[words] not in said
    distance = float(re.search(r"The distance from \w+ is (\d\.\d\d)", said)[1])
    assert (distance < 0.7) == (words == "Welcome in")
    assert said.count("<figure") == 2 and "threshold 0.70" in said
    assert "The probability that this is" in said and ("No offence" in said) == (words == "Go away")


def test_a_near_miss_at_the_door_is_told_to_try_another_picture(home):
    comfort = functions_of("verify", home)["comfort"]
    assert "That was close" in comfort(0.02) and "another picture" in comfort(0.02) and "close" not in comfort(0.3)


def test_verify_takes_an_example_and_says_what_is_wrong_with_a_picture(home):
    app = start()
    app.selectbox(key="verify_claimed").set_value("lena")
    app.session_state["verify_source"] = "An example"
    app.session_state["verify_example_kept"] = "camera_4.jpg"
    assert "Welcome in" in text_of(app.run())
    app.session_state["verify_source"] = "A file"
    app.run().file_uploader(key="verify_file").set_value(("me.jpg", b"Dear camera", "image/jpeg")).run()
    assert "me.jpg is not a picture that can be opened" in text_of(app)


def test_recognise_names_every_face_and_a_broken_picture_is_one_row(home):
    app = start("recognise")
    broken = ("=broken.jpg", b"\xff\xd8 no more", "image/jpeg")
    app.file_uploader(key="recognise_files").set_value([file("camera_0.jpg"), broken, file("video_call.jpg")]).run()
    said = text_of(app)
    assert "=broken.jpg is not a picture" in said
    table = app.dataframe[0].value
    assert table.who.tolist()[0] == "lena" and table.who.tolist()[2:] == [
        *("jun", "unknown", "ines", "sami", "unknown", "grace")
    ]
    assert table.problem.tolist()[1].startswith("=broken.jpg is not a picture")
    assert table["nearest five"][0].count(";") == 4 and 0.9 < table.confidence[0] <= 1
    csv = app.get("download_button")[0]
    assert csv.label == "Download as CSV"


def test_moving_the_threshold_looks_at_no_picture_again_and_counts_no_decision_twice(home):
    from apps.streamlit import shared

    app = start("recognise")
    app.file_uploader(key="recognise_files").set_value([file("camera_0.jpg"), file("video_call.jpg")]).run()
    last = shared.decisions().recent(1)[0].number
    unsure = [each for each in re.findall(r'<div class="face (.*?)</div>', text_of(app), re.S) if "Unknown" in each]
    assert len(unsure) == 2 and all("nearest: " in each and "sure" not in each for each in unsure)
    said = text_of(app.slider(key="threshold").set_value(0.3).run())
    assert app.dataframe[0].value.who.tolist() == ["unknown"] * 7 and said.count("nearest: ") == 7
    said = text_of(app.slider(key="threshold").set_value(1.2).run())
    assert "unknown" not in app.dataframe[0].value.who.tolist()
    assert said.count('class="icon warn"') == 2 and said.count(": have a look yourself") == 2
    assert shared.decisions().recent(1)[0].number == last


def test_compare_shows_both_opinions(home):
    app = start("compare")
    app.file_uploader(key="compare_1_file").set_value(file("lena.jpg"))
    app.file_uploader(key="compare_2_file").set_value(file("camera_0.jpg")).run()
    said = text_of(app)
    assert "They look like the same person: the distance is 0." in said and "The twins say" in said
    app.file_uploader(key="compare_2_file").set_value(file("otto.jpg")).run()
    assert "They look like two people" in text_of(app)


def test_metrics_count_and_marks_make_an_accuracy(home):
    from apps.streamlit import shared

    app = start()
    app.selectbox(key="verify_claimed").set_value("lena")
    app.file_uploader(key="verify_file").set_value(file("camera_0.jpg")).run()
    app.switch_page("views/metrics.py").run()
    last = shared.decisions().recent(1)[0]
    assert (last.kind, last.identity, last.decision) == ("verify", "lena", "Welcome in")
    app.button_group(key=f"mark_{last.number}").set_value("right").run()
    assert shared.decisions().recent(1)[0].right is True
    assert "100%" in text_of(app) and "MB" in text_of(app) and "fingerprint" in text_of(app)


def test_who_stood_at_the_door_is_shown_to_whoever_asked_or_has_logged_in(home, secrets):
    from apps.streamlit import shared

    app = start("metrics", secrets)
    shared.decisions().add("verify", "mei", 0.1, 0.7, "Welcome in", 0.1)
    number = shared.decisions().recent(1)[0].number
    said = text_of(app.run())
    assert "verify: (hidden)" in said and "mei" not in said
    marks = functions_of("metrics", home)
    marks["st"] = Pressed()
    marks["st"].session_state["mark"] = "wrong"
    marks["mark"](number, "mark")
    assert shared.decisions().recent(1)[0].right is None and not [
        each for each in app.button_group if each.key == f"mark_{number}"
    ]
    app.session_state["asked"] = [number]  # as the page that asks notes it
    assert "verify: mei" in text_of(app.run())
    app.session_state["asked"] = []
    assert "verify: mei" in text_of(log_in(app))
    page = functions_of("metrics", home)
    assert page["table"](shared.decisions().recent(1)).identity.tolist() == ["(hidden)"]


def test_live_has_its_component_and_says_where_a_camera_works(home):
    app = start("live")
    assert "localhost" in text_of(app) and len(app.get("bidi_component")) == 1


def test_without_an_account_nothing_can_be_changed_and_the_page_says_how_to_make_one(home):
    app = start("people")
    assert "python -m apps.streamlit.accounts NAME" in text_of(app)
    assert not [
        button for button in app.button if button.label in ("Add", "Remove", "Forget", "Make the file", "Log in")
    ]
    assert not app.file_uploader


def test_a_change_is_refused_by_the_server_whatever_the_page_shows(home, secrets):
    """Each change asks again: a login that has ended meanwhile is none."""
    app = start("people", secrets)
    assert "log in first" in text_of(app)
    app = log_in(app)
    app.session_state["people_gallery_kept"] = "otto"
    app.run().text_input(key="people_new_name").set_value("nobody")
    app.session_state["account"] = ("keeper", 0.0, secrets["accounts"]["keeper"])  # half an hour has passed
    rename = next(button for button in app.button if button.label == "Rename")
    app = rename.click().run()
    with FaceDatabase(home) as database:
        assert "otto" in database and "nobody" not in database
    app.session_state["account"] = ("somebody", time.monotonic() + 99, None)  # an account that is gone
    assert "log in first" in text_of(app.run())


def test_another_password_ends_the_logins_with_the_old_one(home, secrets):
    app = log_in(start("people", secrets))
    assert "Logged in as keeper" in text_of(app.run())
    app.secrets["accounts"] = {"keeper": PasswordHasher(time_cost=1, memory_cost=1024).hash("another long password")}
    assert "log in first" in text_of(app.run())


def test_changing_asks_for_a_login_each_time(home, monkeypatch):
    from apps.streamlit import login

    monkeypatch.setattr(login, "who", lambda: None)
    with pytest.raises(login.NotLoggedIn, match="Log in first"):
        login.changing()


def test_each_function_that_changes_people_asks_for_a_login_itself(home):
    """Without a page around them, and so without anything that hides their buttons."""
    from apps.streamlit import shared

    page = functions_of("people", home)
    known = {name: shared.database()[name].tobytes() for name in shared.database()}
    page["rename"]("otto", "nobody")
    page["remove"]("otto", True)
    page["forget"]("otto", True)
    with pytest.raises(page["login"].NotLoggedIn):
        page["keep"]("nobody", [None])
    page["st"] = Pressed()
    page["export"]()
    page["take_in"]()
    assert page["st"].downloads == []
    assert {name: shared.database()[name].tobytes() for name in shared.database()} == known


class Pressed:
    """Stands for Streamlit where every button has just been pressed, and a file is there."""

    def __init__(self) -> None:
        self.session_state, self.downloads = {}, []

    def button(self, *given, **named) -> bool:
        return True

    def file_uploader(self, *given, **named) -> io.BytesIO:
        file = io.BytesIO(b"PK no more")
        file.name = "people.zip"
        return file

    def selectbox(self, *given, **named) -> str:
        return "skip"

    def download_button(self, *given, **named) -> None:
        self.downloads.append(given)


def test_an_export_is_not_given_out_after_somebody_has_changed_or_logged_out(home, secrets):
    from apps.streamlit import login

    def downloads(app: AppTest) -> int:
        return len(app.get("download_button"))

    app = log_in(start("people", secrets))
    assert downloads(press(app, "Make the file")) == 1
    login.changed()  # in another browser
    assert downloads(app.run()) == 0
    assert downloads(press(app, "Make the file")) == 1
    assert "people_archive" not in press(app, "Log out").session_state


def test_somebody_who_has_logged_in_adds_renames_and_forgets(home, secrets):
    from apps.streamlit import shared

    app = log_in(start("people", secrets))
    assert "Logged in as keeper" in text_of(app)
    app.text_input(key="people_name").set_value("Ada")
    app.file_uploader(key="people_files_0").set_value([file("camera_5.jpg")]).run()
    app = press(app, "Add")
    assert "Ada is added, with 1 picture." in text_of(app) and [each.value for each in app.toast] == [
        "The pictures are added."
    ]
    assert app.text_input(key="people_name").value == "" and not app.file_uploader(key="people_files_1").value
    app.session_state["people_gallery_kept"] = "Ada"
    app.run().text_input(key="people_new_name").set_value("Ada L.")
    assert "Ada is called Ada L. now." in text_of(press(app, "Rename"))
    shared.decisions().add("verify", "Ada L.", 0.1, 0.7, "Welcome in", 0.1)
    app.session_state["people_gallery_kept"] = "Ada L."
    app.run().checkbox(key="people_sure_Ada L.").check().run()
    assert "is forgotten" in text_of(press(app, "Forget"))
    assert "Ada L." not in [each.identity for each in shared.decisions().recent()]
    assert not [each.value for each in app.text_input if each.value]
    with FaceDatabase(home) as database:
        assert len(database) == 12


def test_two_people_under_one_name_are_added_only_by_whoever_has_looked(home, secrets):
    app = log_in(start("people", secrets))
    app.text_input(key="people_name").set_value("Ada")
    app.file_uploader(key="people_files_0").set_value([file("camera_0.jpg"), file("camera_11.jpg")]).run()
    said = text_of(app)
    assert "camera_0.jpg and camera_11.jpg look like two people (distance" in said and "a good picture" not in said
    add, tick = app.button(key="people_add"), next(box for box in app.checkbox if "they are one person" in box.label)
    assert add.disabled and not app.button(key="people_add").value
    assert not tick.check().run().button(key="people_add").disabled
    app.text_input(key="people_name").set_value("lena").run()  # other doubts: the tick is gone
    said = text_of(app)
    assert "camera_11.jpg and lena, as known here, look like two people" in said
    assert "camera_0.jpg and lena, as" not in said and app.button(key="people_add").disabled
    with pytest.raises(FaceError, match="Look at the pictures first"):
        functions_of("people", home)["keep"]("Ada", [None], False)


def test_what_is_wrong_with_a_name_or_a_file_is_said_in_plain_words(home, secrets, tmp_path):
    app = log_in(start("people", secrets))
    app.file_uploader(key="people_files_0").set_value([file("camera_5.jpg")]).run()
    assert "Give a name first." in text_of(press(app, "Add"))
    app.session_state["people_gallery_kept"] = "otto"
    app.run().text_input(key="people_new_name").set_value("lena")
    assert "“lena” is taken: choose another name." in text_of(press(app, "Rename"))
    page = functions_of("people", home)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("letter.txt", "Dear camera")
    with pytest.raises(FaceError, match="This file was not made by Export: other.zip has no manifest.json"):
        page["check_export"](tmp_path / "other.zip", "other.zip")
    assert page["counted"](1, 13, "skip") == "1 person taken in, 12 were known already and stayed as they were."


def test_five_wrong_passwords_close_the_door(home, secrets):
    app = start("people", secrets)
    for _ in range(5):
        assert "The name or the password is wrong" in text_of(log_in(app, "not the password"))
    assert "Too many failed attempts" in text_of(log_in(app))


def test_reading_can_be_for_those_who_have_logged_in_only(home, secrets):
    closed = start("verify", secrets | {"reading": "login"})
    assert "Please log in" in text_of(closed) and not closed.file_uploader
    assert not closed.selectbox and not closed.button_group
    opened = log_in(closed)
    assert opened.selectbox(key="verify_claimed")
    wrong = start("verify", secrets | {"reading": "perhaps"})
    assert "reading=&#x27;perhaps&#x27;" in text_of(wrong) and not wrong.file_uploader
    below = start("verify", {"accounts": secrets["accounts"] | {"reading": "login"}})  # under [accounts], by mistake
    assert "Please log in" in text_of(below) and not below.file_uploader


def test_a_secrets_file_that_cannot_be_read_opens_nothing(home, tmp_path, monkeypatch):
    """Whoever closed the pages and then mistyped a line has not opened them."""
    import streamlit

    from apps.streamlit import login

    (tmp_path / "secrets.toml").write_text('reading = "login"\n[accounts\n')
    config = streamlit.get_option("secrets.files")
    streamlit.config.set_option("secrets.files", [str(tmp_path / "secrets.toml")])
    try:
        with pytest.raises(FaceError, match="secrets.toml can't be read"):
            login.reading()
    finally:
        streamlit.config.set_option("secrets.files", config)


def test_frames_are_not_answered_after_the_login_is_over(home, monkeypatch):
    live = functions_of("live", home)
    monkeypatch.setenv("FACES_READING", "login")
    frame = base64.b64encode((ROOT / "images" / "camera_0.jpg").read_bytes()).decode()
    assert "log in again" in live["answered"]({"number": 1, "jpeg": frame})["problem"]
    monkeypatch.setenv("FACES_READING", "open")
    assert live["answered"]({"number": 2, "jpeg": frame})["problem"] == ""
    live["shared"].end_live()


def test_what_comes_from_a_page_that_was_left_meanwhile_is_no_error(home):
    functions_of("live", home)["see"]()
    functions_of("metrics", home)["mark"](1, "mark_1")


def test_names_are_shown_as_they_were_typed(home, network, photos, secrets):
    from apps.streamlit import looking

    with FaceDatabase(home, network) as database:
        seen = looking.look(photos["camera_5"], network)
        for name in ODD_NAMES:
            database.add(name, seen.encoding, photos["camera_5"])
    app = start()
    app.file_uploader(key="verify_file").set_value(file("camera_5.jpg"))
    for name in ODD_NAMES:
        said = text_of(app.selectbox(key="verify_claimed").set_value(name).run())
        assert f"The distance from {html.escape(name)} is 0.00" in said
        assert f"{html.escape(name)}, as known here" in said
    app = start("recognise")
    app.file_uploader(key="recognise_files").set_value([file("camera_5.jpg")]).run()
    said = text_of(app)
    assert "<script" not in said and "<img src=x" not in said
    assert not app.markdown and not app.error and not app.warning  # nothing of a user's goes where markdown is read


def test_the_first_start_fills_a_new_database_and_no_later_one(tmp_path, monkeypatch):
    from apps.streamlit import shared

    path = tmp_path / "deep" / "people.db"
    monkeypatch.setenv("FACES_DATABASE", str(path))
    assert len(shared.database()) == 12 and [p.name for p in path.parent.glob("*.filling")] == []
    with FaceDatabase(path) as database:
        database.remove("otto")
    shared._database.clear()
    assert "otto" not in shared.database() and len(shared.database()) == 11
    (path.parent / "people.db.filling").touch()  # as if the first start had been killed
    shared._database.clear()
    assert len(shared.database()) == 12


def test_what_the_threshold_costs_is_what_was_measured():
    from apps.streamlit import sidebar

    said = sidebar.meaning(0.7)
    assert "let in who are somebody else, 0.97 %; people kept out although it is them, 0.91 %" in said
    said = sidebar.meaning(0.99)
    assert re.search(r"somebody else, (69|70)\.\d\d %; people kept out although it is them, less than 0.01 %", said)
    assert "5.9 million pairs" in sidebar.meaning(0.7)


def test_it_is_said_that_strangers_get_a_name_more_often_among_many(home):
    assert "with all 12 people: a stranger is given a name up to 12 times as often" in text_of(start())


@pytest.mark.parametrize(
    "message", [None, 7, {}, {"number": 1}, {"number": 1, "jpeg": "!"}, {"number": 1, "jpeg": "AA=="}]
)
def test_a_frame_that_is_none_is_answered_with_a_sentence(message, home, monkeypatch):
    live = functions_of("live", home)
    answer = live["answered"](message)
    assert answer["faces"] == [] and "pictur" in answer["problem"]
    assert live["answered"]({"number": 2, "jpeg": "A" * 800_000})["problem"].startswith("the browser sent")


def functions_of(page: str, home: Path) -> dict:
    """What a page defines, without the page."""
    source = (APP / "views" / f"{page}.py").read_text(encoding="utf-8").split("\nshow.title(")[0]
    names: dict = {"__name__": f"views_{page}"}
    exec(compile(source, page, "exec", dont_inherit=True), names)
    return names


def test_nothing_in_the_app_hides_a_module_of_ours_or_of_others():
    ours = {path.stem for path in ROOT.glob("*.py")}
    mine = {path.stem for path in APP.glob("*.py")}
    assert not mine & (ours | set(sys.stdlib_module_names))
    assert not (APP / "streamlit").exists() and not (APP / "pages").exists()


@pytest.mark.apps
def test_every_hostile_upload_is_a_photo_or_an_error_that_says_so():
    """All that is ever done with what somebody sends begins here."""
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


# ============================================================================================ in a real browser
def running(home: Path, port: int, secrets: Path, **environment: str):
    """The app as a server of its own, until the block ends."""
    command = [
        sys.executable, "-m", "streamlit", "run", str(APP / "app.py"),
        f"--server.port={port}", "--server.headless=true", f"--secrets.files={secrets}",
    ]  # fmt: skip
    settings = {"FACES_DATABASE": home / "people.db", "TF_CPP_MIN_LOG_LEVEL": "3", "FACES_READING": "open"}
    return serving(command, f"http://localhost:{port}/_stcore/health", home / "app.log", settings | environment)


@pytest.fixture(scope="module")
def secrets_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("secrets") / "secrets.toml"
    path.write_text(f'[accounts]\nkeeper = "{hashed(PASSWORD)}"\n')
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory, secrets_file):
    """The app, with the people of ``images/``: its address, its process, and where its log is."""
    home, port = tmp_path_factory.mktemp("app"), free_port()
    with running(home, port, secrets_file) as process:
        yield f"http://localhost:{port}", process, home / "app.log"
    assert "Traceback" not in (home / "app.log").read_text()


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """What the fake camera shows: Lena."""
    from facerec.photos import load_image

    return write_film(load_image(ROOT / "images" / "camera_0.jpg"), tmp_path_factory.mktemp("film") / "lena.mjpeg")


@pytest.fixture(scope="module")
def chromium(film):
    with browser(film=film) as started:
        yield started


@pytest.fixture
def visit(chromium, server):
    """Opens a page of the app in a browser session of its own."""
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


def go(page, address: str, name: str):
    """To one of the pages, until it stands still."""
    page.set_default_timeout(20_000)
    page.goto(address if name == "verify" else f"{address}/{name}")  # the first page has no name of its own
    page.locator("h1").filter(has_text=name.capitalize()).wait_for()
    return still(page)


def still(page):
    """Wait until the page is not being drawn."""
    page.wait_for_timeout(250)
    page.locator('.stApp[data-test-script-state="notRunning"]').wait_for()
    return page


def turn_to(page, name: str):
    """To another page, in the same session."""
    page.get_by_test_id("stSidebarNavLink").filter(has_text=name).click()
    page.locator("h1").filter(has_text=name).wait_for()
    return still(page)


def give(page, *files: Path | dict, number: int = 0) -> None:
    """Choose files, as if they had been dropped."""
    page.locator("input[type=file]").nth(number).set_input_files(list(files) if len(files) > 1 else files[0])
    still(page)


def drop(page) -> None:
    """Take back what was given."""
    page.get_by_role("button", name=re.compile("^Remove .")).first.click()
    still(page)


def claim(page, name: str) -> None:
    page.get_by_role("combobox").first.fill(name)
    page.get_by_role("option", name=name, exact=True).first.click()
    still(page)


def source(page, name: str, number: int = 0) -> None:
    page.get_by_test_id("stButtonGroup").nth(number).get_by_text(name, exact=True).click()
    still(page)


def verdict(page, words: str) -> None:
    page.locator(".verdict strong").filter(has_text=words).wait_for()


def notice(page, kind: str, words: str) -> None:
    page.locator(f".notice.{kind}").filter(has_text=words).first.wait_for()
    still(page)


def enter(page, password: str = PASSWORD) -> None:
    page.get_by_test_id("stSidebar").get_by_role("textbox", name="Name").fill("keeper")
    page.locator("input[type=password]").fill(password)
    page.get_by_role("button", name="Log in").click()
    still(page)


def image(name: str) -> Path:
    return ROOT / "images" / name


@pytest.mark.apps
@NEEDED
def test_verify_by_file_by_camera_and_by_example(visit):
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
def test_the_first_picture_is_answered_within_a_second_once_the_app_is_warm(visit):
    page = visit()
    claim(page, "lena")
    give(page, image("camera_4.jpg"))
    verdict(page, "Welcome in")
    page, took = visit(), []  # somebody else comes
    claim(page, "lena")
    for name in ("camera_0.jpg", "camera_4.jpg", "lena.jpg", "camera_0.jpg", "camera_4.jpg"):
        began = time.perf_counter()
        page.locator("input[type=file]").first.set_input_files(image(name))
        verdict(page, "Welcome in")
        took.append(time.perf_counter() - began)
        still(page)
        drop(page)
        page.locator(".verdict").wait_for(state="detached")
    measured(first_picture_to_answer_s=round(took[0], 3), picture_to_answer_median_s=round(float(np.median(took)), 3))
    assert took[0] < 1, took


@pytest.mark.apps
@NEEDED
def test_recognise_a_batch_with_a_broken_picture_and_download_the_table(visit, tmp_path):
    page = visit("recognise")
    (tmp_path / "=broken.jpg").write_bytes(b"\xff\xd8 no more")
    (tmp_path / "=lena.jpg").write_bytes(image("camera_0.jpg").read_bytes())
    give(page, image("video_call.jpg"), tmp_path / "=broken.jpg", tmp_path / "=lena.jpg")
    page.get_by_text("All of it as a table").wait_for()
    still(page)
    notice(page, "bad", "=broken.jpg is not a picture")
    names = page.locator(".face b").all_text_contents()
    assert names == ["jun", "Unknown", "ines", "sami", "Unknown", "grace", "lena"]
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
    page.get_by_role("button", name="Start the camera").click()
    page.locator(".status").filter(has_text="In view: lena").wait_for()
    page.wait_for_timeout(5000)
    found = re.fullmatch(r"(\d+\.\d) frames per second", page.locator(".rate").text_content())
    measured(live_frames_per_second=float(found[1]))
    film = page.evaluate_handle(FILM)
    assert film.evaluate("film => film.active")
    turn_to(page, "Metrics")
    page.wait_for_function("film => !film.active", arg=film)


@pytest.mark.apps
@NEEDED
def test_live_says_what_is_missing(visit):
    page = visit("live", camera=False)
    for broken, words in {
        "getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') }": "was not allowed",
        "getUserMedia = async () => { throw new DOMException('', 'NotFoundError') }": "has no camera",
    }.items():
        page.evaluate(f"() => {{ navigator.mediaDevices.{broken} }}")
        page.get_by_role("button", name="Start the camera").click()
        page.locator(".status.problem").filter(has_text=words).wait_for()
    page.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', { get: () => undefined })")  # as over http
    page.get_by_role("button", name="Start the camera").click()
    page.locator(".status.problem").filter(has_text="only to pages of its own computer (localhost)").wait_for()


@pytest.mark.apps
@NEEDED
def test_compare_by_example_and_by_file(visit):
    page = visit("compare")
    source(page, "An example", 0)
    page.locator("button[data-id='lena.jpg']").first.click()
    still(page)
    give(page, image("camera_0.jpg"))
    verdict(page, "The same person")
    assert page.locator(".scale").count() == 2 and page.locator(".figures img").count() == 2
    assert "The twins say" in page.locator(".stMain").inner_text()
    page.locator("button[data-id='otto.jpg']").first.click()
    verdict(page, "Two people")


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
        for number, word in ((0, "right"), (1, "wrong")):
            page.get_by_test_id("stButtonGroup").nth(number).get_by_text(word, exact=True).click()
            still(page)
        tile = page.locator(".tiles > div").filter(has_text="of 2 marked")
        assert "50%" in tile.inner_text() and "9% to 91%" in tile.inner_text()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download as CSV").click()
        assert Path(download.value.path()).read_text(encoding="utf-8-sig").count("verify") == 2
        page.context.close()


@pytest.mark.apps
@NEEDED
def test_people_are_changed_by_whoever_has_logged_in_and_are_there_after_a_restart(chromium, secrets_file, tmp_path):
    port, odd = free_port(), "<b>Ada</b> :red[x] $y$"
    address, context = f"http://localhost:{port}", chromium.new_context(viewport=SIZES["desktop"])
    with running(tmp_path, port, secrets_file):
        page = go(context.new_page(), address, "people")
        assert page.get_by_role("button", name="Add", exact=True).count() == 0
        assert page.locator(".gallery .name").count() and not page.locator(".gallery button").count()
        for _ in range(4):
            enter(page, "not the password")
            notice(page, "bad", "The name or the password is wrong")
        enter(page)
        page.get_by_text("Logged in as keeper").wait_for()
        add(page, odd, image("camera_5.jpg"), image("camera_6.jpg"))
        notice(page, "good", f"{odd} is added, with 2 pictures.")
        add(page, "Otto's double", image("camera_11.jpg"), but="this looks like otto, who is known already")
        rename(page, odd, "Ada")
        forget(page, "mei")
        remove(page, "jun")
        archive = export(page, tmp_path / "people.zip")
    names = sorted({"Ada", "Otto's double", *(path.stem for path in portraits())} - {"mei", "jun"})
    assert not [path for path in tmp_path.glob("people.db*") if b"mei" in path.read_bytes()]
    with running(tmp_path, port, secrets_file):
        page = go(context.new_page(), address, "people")
        assert everybody(page) == names
        enter(page)
        remove(page, "Ada")
        take_in(page, archive)
        notice(page, "good", "1 person taken in, 11 were known already and stayed as they were.")
        assert everybody(page) == names
        (tmp_path / "no.zip").write_bytes(b"PK no more")
        take_in(page, tmp_path / "no.zip")
        notice(page, "bad", "This file was not made by Export: no.zip is no ZIP file")
        assert everybody(page) == names
    context.close()


def portraits() -> list[Path]:
    return [path for path in image("").glob("*.jpg") if not path.stem.startswith(("camera_", "video", "look"))]


def everybody(page) -> list[str]:
    page.locator(".gallery .name").first.wait_for()
    return sorted(page.locator(".gallery .name").all_text_contents())


def add(page, name: str, *pictures: Path, but: str = "") -> None:
    page.get_by_role("tab", name="Add").click()
    panel = page.get_by_role("tabpanel", name="Add")
    panel.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.keyboard.press("Enter")
    still(page)
    panel.locator("input[type=file]").set_input_files(list(pictures))
    panel.locator(".figures img").nth(len(pictures) - 1).wait_for()
    if but:
        notice(page, "warn", but)
    still(page)
    if (tick := panel.get_by_text("I have looked")).count():
        look(page, "streamlit_people_doubts")
        tick.click()
        still(page)
    page.get_by_role("button", name="Add", exact=True).click()
    notice(page, "good", "is added")
    assert panel.get_by_role("textbox", name="Name", exact=True).input_value() == ""


def person(page, name: str) -> None:
    page.locator(".gallery button").filter(has=page.get_by_text(name, exact=True)).click()
    page.locator("h2").filter(has_text=name).wait_for()
    still(page)


def rename(page, old: str, new: str) -> None:
    person(page, old)
    page.get_by_role("textbox", name="New name").fill(new)
    page.get_by_role("button", name="Rename", exact=True).click()
    notice(page, "good", f"{old} is called {new} now.")
    look(page, "streamlit_people_renamed")


def remove(page, name: str) -> None:
    person(page, name)
    page.get_by_role("tab", name="Remove").click()
    page.get_by_text("I mean it: know this person no more").click()
    still(page)
    page.get_by_role("button", name="Remove", exact=True).click()
    notice(page, "good", f"{name} is removed.")


def forget(page, name: str) -> None:
    person(page, name)
    page.get_by_role("tab", name="Forget").click()
    assert page.get_by_role("button", name="Forget", exact=True).is_disabled()
    page.get_by_text("I mean it: leave no trace").click()
    still(page)
    page.get_by_role("button", name="Forget", exact=True).click()
    notice(page, "good", "is forgotten")


def export(page, to: Path) -> Path:
    page.get_by_role("tab", name="Export").click()
    page.get_by_role("button", name="Make the file").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download people.zip").click()
    download.value.save_as(to)
    still(page)
    assert zipfile.is_zipfile(to)
    return to


def take_in(page, archive: Path) -> None:
    page.get_by_role("tab", name="Import").click()
    page.get_by_role("tabpanel", name="Import").locator("input[type=file]").set_input_files(archive)
    page.get_by_role("button", name="Import", exact=True).click()
    still(page)


@pytest.mark.apps
@NEEDED
def test_five_wrong_passwords_close_the_door_in_every_browser(chromium, secrets_file, tmp_path):
    port = free_port()
    with running(tmp_path, port, secrets_file):
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
def test_every_page_is_readable_on_phone_and_desktop_in_light_and_dark(visit, server, size, scheme):
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
    """Bring a page to where it shows something."""
    if name == "verify":
        claim(page, "lena")
        give(page, image("camera_0.jpg"))
        verdict(page, "Welcome in")
    elif name == "recognise":
        give(page, image("video_call.jpg"), image("camera_5.jpg"))
        page.get_by_text("All of it as a table").wait_for()
    elif name == "live":
        page.get_by_role("button", name="Start the camera").click()
        page.locator(".status").filter(has_text="In view: lena").wait_for()
    elif name == "compare":
        for number, picture in enumerate(("lena.jpg", "otto.jpg")):
            give(page, image(picture), number=number)
        verdict(page, "Two people")
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
def test_five_browsers_at_once_each_get_the_right_answer(visit):
    pages = [visit() for _ in QUESTIONS]
    for page, (name, _, _) in zip(pages, QUESTIONS, strict=True):
        claim(page, name)
    began, took = time.perf_counter(), []
    for page, (_, picture, _) in zip(pages, QUESTIONS, strict=True):
        page.locator("input[type=file]").first.set_input_files(image(picture))  # does not wait for the answer
    for page, (name, _, words) in zip(pages, QUESTIONS, strict=True):
        verdict(page, words)
        assert f"The distance from {name} is" in page.locator(".verdict").inner_text()
        took.append(time.perf_counter() - began)
    measured(five_browsers_slowest_s=round(max(took), 2))


@pytest.mark.apps
@NEEDED
def test_three_hundred_verifications_leave_no_memory_behind(visit, server):
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
def test_hostile_files_through_the_uploader_are_refused_and_leave_no_trace(visit, server):
    page, alarms = visit("recognise"), []
    page.on("dialog", lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    uploads = [each for each in hostile_uploads(120, 5) if len(each[2]) < 5_000_000][::3][:30]
    for label, name, data, kind in uploads:
        ending = Path(name).suffix if Path(name).suffix in (".jpg", ".png") else ".jpg"
        kept = name.replace("\x00", "").encode("utf-8", "ignore").decode()[:180].removesuffix(ending) + ending
        give(page, {"name": kept, "mimeType": kind.encode("ascii", "ignore").decode(), "buffer": data})
        page.get_by_text("All of it as a table").or_(page.get_by_test_id("stFileUploaderErrorMessage")).first.wait_for()
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


# ====================================================================================================== killed
def add_people(path: str, confirmed: str) -> None:
    """Add people by the function of the page, and note whoever is said to be added. Runs until it is killed."""
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
def test_whoever_was_said_to_be_added_is_there_after_a_kill(tmp_path):
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
