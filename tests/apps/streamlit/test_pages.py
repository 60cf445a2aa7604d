"""The Streamlit app's pages in this process, with the real network."""

from __future__ import annotations

import base64
import html
import io
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from argon2 import PasswordHasher
from streamlit.testing.v1 import AppTest

from facerec._files import ROOT
from facerec.database import FaceDatabase
from facerec.errors import FaceError
from facerec.networks import DEFAULT_NETWORK, load_facenet, threshold_for
from facerec.photos import load_image

APP = ROOT / "apps" / "streamlit"

PASSWORD = "a long password for tests"

ODD_NAMES = (
    "<script>document.title='x'</script> <b>bold</b> & <img src=x onerror=alert(1)> O'Brien \"Bo\" O’Neill 李小龍",
    "**bold** _italic_ `code` ~~gone~~ :red[red] :smile: :material/home: $x^2$ and $$y$$ [link](javascript:alert(1)) #",
)


@pytest.fixture(scope="module")
def people(tmp_path_factory, images, network):
    """A database with the people of ``images/``, as the app fills it, for tests to copy. The network is loaded once."""
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
    """An account, as the secrets file has it; each test's own, so that no test counts another's failures."""
    return {"accounts": {"keeper": PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)}}  # quickly made


def start(page: str = "verify", secrets: dict | None = None) -> AppTest:
    """The app in this process, at a page."""
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=90)
    for name, value in (secrets or {}).items():
        app.secrets[name] = value
    return app.run() if page == "verify" else app.run().switch_page(f"views/{page}.py").run()


def text_of(app: AppTest) -> str:
    """The text of the app's own parts of the page."""
    assert not app.exception
    return "\n".join(part.proto.body for part in app.get("html") if not part.proto.body.startswith("<style"))


def file(name: str, folder: Path = ROOT / "images") -> tuple[str, bytes, str]:
    return name, (folder / name).read_bytes(), "image/jpeg"


def field(app: AppTest, label: str):
    return next(each for each in app.text_input if each.label == label)


def log_in(app: AppTest, password: str = PASSWORD) -> AppTest:
    field(app, "Name").set_value("keeper")
    field(app, "Password").set_value(password)
    return press(app, "Log in")


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
def test_verify_lets_in_the_claimed_person_only(home, claimed, picture, words):
    app = start()
    app.selectbox(key="verify_claimed").set_value(claimed)
    app.file_uploader(key="verify_file").set_value(file(picture)).run()
    said = text_of(app)
    assert words in said and {"Welcome in": "Go away", "Go away": "Welcome in"}[words] not in said
    distance = float(re.search(r"distance from \w+ is (\d\.\d\d)", said)[1])
    assert (distance < 0.7) == (words == "Welcome in")
    assert said.count("<figure") == 2 and "threshold 0.70" in said
    assert "probability" in said and ("No offence" in said) == (words == "Go away")


def test_group_at_the_door_says_that_another_face_matches_and_compares_the_pressed_one(home):
    app = start()
    app.selectbox(key="verify_claimed").set_value("jun")
    app.file_uploader(key="verify_file").set_value(file("video_call.jpg")).run()
    said = text_of(app)
    number = int(re.search(r"Another face in this picture matches jun: face (\d)", said)[1])
    assert "Go away" in said and "No offence" not in said and "The picture shows 6 faces" in said
    assert said.index("It took") < said.index("The picture shows") < said.index("<figure"), "notes above the pictures"
    first = app.session_state["verify_face_kept"]
    app.session_state["verify_face_kept"] = f"{first.split()[0]} {number - 1}"  # as if the face had been pressed
    said = text_of(app.run())
    assert "Welcome in" in said and "Another face" not in said
    app.file_uploader(key="verify_file").set_value(file("camera_0.jpg")).run()
    assert "Go away" in text_of(app) and "faces" not in text_of(app), "another picture, another face"


def test_verify_searches_a_picture_once_and_counts_one_decision(home, monkeypatch):
    from apps.streamlit import looking, shared

    searched, search = [], looking.detect_faces
    monkeypatch.setattr(looking, "detect_faces", lambda photo: searched.append(1) or search(photo))
    app = start()
    app.selectbox(key="verify_claimed").set_value("lena")
    app.file_uploader(key="verify_file").set_value(file("camera_0.jpg")).run()
    last = shared.decisions().recent(1)[0].number
    assert "Go away" in text_of(app.sidebar.slider[0].set_value(0.3).run())
    assert "Welcome in" in text_of(app.sidebar.slider[0].set_value(0.9).run())
    assert shared.decisions().recent(1)[0].number == last
    assert "distance from otto" in text_of(app.selectbox(key="verify_claimed").set_value("otto").run())
    assert shared.decisions().recent(1)[0].number == last + 1 and len(searched) == 1


def test_work_is_kept_while_another_page_is_open(home):
    app = start()
    app.selectbox(key="verify_claimed").set_value("lena")
    app.file_uploader(key="verify_file").set_value(file("camera_0.jpg")).run()
    app.switch_page("views/recognise.py").run()
    app.file_uploader(key="recognise_files").set_value([file("camera_0.jpg"), file("camera_11.jpg")]).run()
    app.switch_page("views/verify.py").run()
    said = text_of(app)
    assert "Welcome in" in said and "Still here: camera_0.jpg" in said
    said = text_of(app.file_uploader(key="verify_file").set_value(file("camera_11.jpg")).run())
    assert "Go away" in said and "Still here" not in said, "a new file takes the place of the one before"
    app.switch_page("views/recognise.py").run()
    assert "Still here: 2 pictures" in text_of(app) and app.dataframe[0].value.who.tolist() == ["lena", "otto"]
    app.file_uploader(key="recognise_files").set_value([file("camera_8.jpg")]).run()
    assert app.dataframe[0].value.who.tolist() == ["lena", "otto", "mei"]
    assert press(app, "Remove").dataframe[0].value.who.tolist() == ["mei"]
    app.file_uploader(key="recognise_files").set_value([]).run()
    assert not app.dataframe and "Still here" not in text_of(app), "removed files do not come back"


def test_pictures_are_kept_while_there_is_room(home, monkeypatch):
    from apps.streamlit import choose

    monkeypatch.setattr(choose, "KEPT", sum(len(each.data) for each in choose._all_kept.values()) + 1000)
    app = start()
    app.file_uploader(key="verify_file").set_value(file("camera_0.jpg")).run()
    assert len(app.session_state["verify_now"]) == 0
    assert "Still here" not in text_of(app.switch_page("views/metrics.py").run().switch_page("views/verify.py").run())


def test_person_who_was_removed_in_another_window_is_noticed(home, secrets):
    app = start()
    app.selectbox(key="verify_claimed").set_value("otto").run()
    people = log_in(start("people", secrets))
    people.session_state["people_gallery_kept"] = "otto"
    people.run().text_input(key="people_new_name").set_value("Otto")
    with FaceDatabase(home) as database:
        database.remove("otto")
    assert "otto is no longer known" in text_of(app.run()) and app.selectbox(key="verify_claimed").value is None
    assert "otto is no longer known" in text_of(press(people, "Rename"))


def test_claim_fails_if_the_face_is_nearer_to_someone_else(home):
    app = start()
    app.selectbox(key="verify_claimed").set_value("lena")
    app.file_uploader(key="verify_file").set_value(file("mei.jpg")).run()
    said = text_of(app)
    assert "Go away" in said and "the face is much nearer to mei (0.00)" in said and "less than 1 %" in said


def test_near_miss_is_told_to_try_another_picture(home):
    comfort = functions_of("verify", home)["comfort"]
    assert "try another picture" in comfort(0.02) and comfort(0.3) != comfort(0.02)


def test_verify_takes_an_example_and_explains_a_broken_picture(home):
    app = start()
    app.selectbox(key="verify_claimed").set_value("lena")
    app.session_state["verify_source"] = "An example"
    app.session_state["verify_example_kept"] = "camera_4.jpg"
    assert "Welcome in" in text_of(app.run())
    app.session_state["verify_source"] = "A file"
    app.run().file_uploader(key="verify_file").set_value(("me.jpg", b"Dear camera", "image/jpeg")).run()
    assert "me.jpg is not a picture that can be opened" in text_of(app)


def test_recognise_names_every_face_and_lists_a_broken_picture(home):
    app = start("recognise")
    broken = ("=broken.jpg", b"\xff\xd8 no more", "image/jpeg")
    app.file_uploader(key="recognise_files").set_value([file("camera_0.jpg"), broken, file("video_call.jpg")]).run()
    said = text_of(app)
    assert "=broken.jpg is not a picture" in said and "1 unreadable or without a face" in said
    table = app.dataframe[0].value
    assert table.who.tolist()[0] == "lena" and table.who.tolist()[2:] == [
        *("jun", "unknown", "ines", "sami", "unknown", "grace")
    ]
    assert table.problem.tolist()[1].startswith("=broken.jpg is not a picture")
    assert table["nearest 5"][0].count(";") == 4 and 0.9 < table.confidence[0] <= 1
    assert re.findall(r"</span>(\d) · ", said) == ["1", *"123456"]
    shown = app.button_group(key="recognise_show").set_value("Unknown").run()
    assert shown.dataframe[0].value.who.tolist() == ["unknown"] * 2 and text_of(shown).count("<figure") == 1
    shown = app.button_group(key="recognise_show").set_value("Without a face").run()
    assert shown.dataframe[0].value.picture.tolist() == ["=broken.jpg"]
    cleared = press(app, "Clear all")
    assert "Choose one or more pictures" in text_of(cleared) and "recognised" not in cleared.session_state


def test_moving_the_threshold_searches_no_picture_again(home):
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
    assert said.count('class="icon warn"') == 2 and said.count("please check") == 3  # one of them in the tile
    assert shared.decisions().recent(1)[0].number == last


def test_compare_shows_both_opinions(home):
    from apps.streamlit import shared

    app = start("compare")
    app.file_uploader(key="compare_1_file").set_value(file("lena.jpg"))
    app.file_uploader(key="compare_2_file").set_value(file("camera_0.jpg")).run()
    said = text_of(app)
    assert 'class="verdict good"' in said and said.count('class="scale"') == 2 and "The twins see" in said
    app.file_uploader(key="compare_2_file").set_value(file("otto.jpg")).run()
    assert 'class="verdict bad"' in text_of(app) and "in 91 of 100 cases" in text_of(app)
    number = shared.decisions().recent(1)[0].number
    assert "The same person, at this threshold only" in text_of(app.slider(key="threshold").set_value(1.2).run())
    (last,) = shared.decisions().recent(1)
    assert (last.number, last.threshold, last.decision, last.accepted) == (number, 1.2, "the same person", True)


def test_metrics_show_how_marked_decisions_turned_out(home):
    from apps.streamlit import shared

    app = start()
    app.selectbox(key="verify_claimed").set_value("lena")
    app.file_uploader(key="verify_file").set_value(file("camera_0.jpg")).run()
    app.switch_page("views/metrics.py").run()
    last = shared.decisions().recent(1)[0]
    assert (last.kind, last.identity, last.decision) == ("verify", "lena", "Welcome in")
    app.button_group(key=f"mark_{last.number}").set_value("right").run()
    assert shared.decisions().recent(1)[0].right is True
    said = text_of(app)
    assert "0 of 1 that should have been let in" in said and "mark faces below that should be sent away" in said
    assert "MB" in said and "fingerprint" in said


def test_names_in_decisions_are_hidden_from_other_visitors(home, secrets):
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
    app = log_in(app.run().switch_page("views/people.py").run())
    assert "verify: mei" in text_of(app.switch_page("views/metrics.py").run())
    page = functions_of("metrics", home)
    assert page["table"](shared.decisions().recent(1)).identity.tolist() == ["(hidden)"]


def test_live_page_has_its_component(home):
    app = start("live")
    assert text_of(app) and len(app.get("bidi_component")) == 1


def test_people_page_without_an_account_offers_no_change(home):
    app = start("people")
    assert "make account NAME=" in text_of(app)
    assert not [
        button for button in app.button if button.label in ("Add", "Remove", "Forget", "Create the file", "Log in")
    ]
    assert not app.file_uploader


def asks_for_a_login(app: AppTest) -> bool:
    assert not app.exception
    return any(button.label == "Log in" for button in app.button)


def test_change_after_the_login_ended_is_refused(home, secrets, monkeypatch):
    from apps.streamlit import sessions

    app = start("people", secrets)
    assert asks_for_a_login(app)
    app = log_in(app)
    app.session_state["people_gallery_kept"] = "otto"
    app.run().text_input(key="people_new_name").set_value("other")
    monkeypatch.setattr(sessions.logins(), "clock", lambda: time.monotonic() + sessions.IDLE + 1)
    assert asks_for_a_login(press(app, "Rename"))
    with FaceDatabase(home) as database:
        assert "otto" in database and "other" not in database


def test_new_password_or_a_lost_account_ends_logins(home, secrets):
    app = log_in(start("people", secrets))
    assert "Logged in as keeper" in text_of(app.run())
    app.secrets["accounts"] = {"keeper": PasswordHasher(time_cost=1, memory_cost=1024).hash("another long password")}
    assert asks_for_a_login(app.run())
    app = log_in(start("people", secrets))
    app.secrets["accounts"] = {"other": secrets["accounts"]["keeper"]}
    assert asks_for_a_login(app.run())


def test_login_lasts_through_a_reload_and_logging_out_ends_it_in_every_tab(home, secrets, monkeypatch):
    from apps.streamlit import login, sessions

    app = log_in(start("people", secrets))
    ticket = re.search(r"fetch\('/keep-login', .*'X-Login-Ticket': '([\w-]+)'", text_of(app))[1]
    key = sessions.logins().exchange(ticket)  # as the browser does
    assert key and key not in text_of(app)
    monkeypatch.setattr(login, "cookie", lambda: key)
    tab = start("people", secrets)
    assert "Logged in as keeper" in text_of(tab) and "keep-login" not in text_of(tab)
    left = press(tab, "Log out")
    assert asks_for_a_login(left) and "'X-Login-Ticket': ''" in text_of(left)  # the browser drops its cookie
    assert asks_for_a_login(app.run()) and asks_for_a_login(start("people", secrets))
    assert "Logged in as keeper" in text_of(log_in(left))  # although the browser still sends the old cookie


@pytest.fixture
def secrets_file(tmp_path, monkeypatch):
    """The path of a secrets file, which is not there yet."""
    import streamlit

    before, path = streamlit.get_option("secrets.files"), tmp_path / ".streamlit" / "secrets.toml"
    streamlit.config.set_option("secrets.files", [str(path)])
    monkeypatch.setattr(streamlit, "secrets", type(streamlit.secrets)())
    yield path
    streamlit.config.set_option("secrets.files", before)


def test_link_of_the_first_start_makes_the_first_account_once(home, secrets_file, monkeypatch):
    from apps.streamlit import accounts, first, login

    monkeypatch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=1024))
    monkeypatch.setattr(login.st, "switch_page", lambda page: login.st.rerun())  # AppTest has no address to leave
    link = {"first": first.key()}

    def visit() -> AppTest:
        app = AppTest.from_file(str(APP / "main.py"), default_timeout=90)
        app.query_params.update(link)
        return app.run()

    app = visit()
    assert "Make your account" in text_of(app) and not app.selectbox
    for name, password, again, problem in (
        ("ada", "short", "short", "at least 10 characters"),
        ("ada", PASSWORD, f"{PASSWORD}!", "The two passwords differ"),
        (" ", PASSWORD, PASSWORD, "needs a name"),
    ):
        for label, value in (("Name", name), (app.text_input[1].label, password), (app.text_input[2].label, again)):
            field(app, label).set_value(value)
        app = press(app, "Make the account")
        assert problem in text_of(app) and not secrets_file.exists()
    field(app, "Name").set_value("ada ")
    field(app, app.text_input[2].label).set_value(PASSWORD)
    app = press(app, "Make the account")
    assert "Logged in as ada" in text_of(app) and PASSWORD not in secrets_file.read_text()
    said = text_of(visit())  # the same link again
    assert "This link has been used" in said and "Make your account" not in said
    app = start("people")
    field(app, "Name").set_value("ada")
    field(app, "Password").set_value(PASSWORD)
    assert "Logged in as ada" in text_of(press(app, "Log in"))


def test_changing_needs_a_login(home, monkeypatch):
    from apps.streamlit import login

    monkeypatch.setattr(login, "who", lambda: None)
    with pytest.raises(login.NotLoggedIn, match="(?i)log in first"):
        login.changing()


def test_every_changing_function_needs_a_login(home, monkeypatch):
    """Called directly, without the page that hides their buttons."""
    from apps.streamlit import archive, bulk, naming, person, shared

    known = {name: shared.database()[name].tobytes() for name in shared.database()}
    person.rename("otto", "other")
    person.remove("otto", True)
    person.forget("otto", True)
    person.make_one("otto", "lena", True)
    person.change_pictures("otto", [0], "", "")
    person.undo()
    with pytest.raises(person.login.NotLoggedIn):
        functions_of("people", home)["keep"]("other", [None])
    with pytest.raises(person.login.NotLoggedIn):
        naming.keep("live", "other", [], True)
    with pytest.raises(person.login.NotLoggedIn):
        bulk.run([], True, "skip", True)
    monkeypatch.setattr(archive, "st", pressed := Pressed())
    archive.export()
    archive.take_in()
    assert pressed.downloads == []
    assert {name: shared.database()[name].tobytes() for name in shared.database()} == known


class Pressed:
    """A Streamlit in which every button has just been pressed, and a file is there."""

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


def test_export_is_dropped_after_a_change_or_a_logout(home, secrets):
    from apps.streamlit import login

    def downloads(app: AppTest) -> int:
        return len(app.get("download_button"))

    app = log_in(start("people", secrets))
    assert downloads(press(app, "Create the file")) == 1
    login.changed()  # in another browser
    assert downloads(app.run()) == 0
    assert downloads(press(app, "Create the file")) == 1
    assert "people_archive" not in press(app, "Log out").session_state


def test_login_allows_adding_renaming_and_forgetting(home, secrets):
    from apps.streamlit import shared

    app = log_in(start("people", secrets))
    assert "Logged in as keeper" in text_of(app)
    app.text_input(key="people_name").set_value("Ada")
    app.file_uploader(key="people_files_0").set_value([file("camera_5.jpg")]).run()
    app = press(app, "Add")
    said = text_of(app)
    assert "Ada has been added, with 1 picture." in said and app.toast and "Ada" not in app.toast[0].value
    assert app.text_input(key="people_name").value == "" and not app.file_uploader(key="people_files_1").value
    app.session_state["people_gallery_kept"] = "Ada"
    app.run().text_input(key="people_new_name").set_value("Ada L.")
    assert "Ada is now called Ada L." in text_of(press(app, "Rename"))
    shared.decisions().add("verify", "Ada L.", 0.1, 0.7, "Welcome in", 0.1)
    app.session_state["people_gallery_kept"] = "Ada L."
    app.run().checkbox(key="people_sure_Ada L.").check().run()
    assert "has been forgotten" in text_of(press(app, "Forget"))
    assert "Ada L." not in [each.identity for each in shared.decisions().recent()]
    assert not [each.value for each in app.text_input if each.value]
    with FaceDatabase(home) as database:
        assert len(database) == 12


def test_doubtful_pictures_need_a_confirmation(home, secrets):
    app = log_in(start("people", secrets))
    app.text_input(key="people_name").set_value("Ada")
    app.file_uploader(key="people_files_0").set_value([file("camera_0.jpg"), file("camera_11.jpg")]).run()
    said = text_of(app)
    assert "camera_0.jpg and camera_11.jpg look like two people (distance" in said and "a good picture" not in said
    add, tick = app.button(key="people_add"), next(box for box in app.checkbox if box.key.startswith("people_looked_"))
    assert add.disabled and not app.button(key="people_add").value
    assert not tick.check().run().button(key="people_add").disabled
    app.text_input(key="people_name").set_value("lena").run()  # other doubts: the tick is gone
    said = text_of(app)
    assert "camera_11.jpg and the known lena look like two people" in said
    assert "camera_0.jpg and the known lena" not in said and app.button(key="people_add").disabled
    with pytest.raises(FaceError, match="Check the pictures first"):
        functions_of("people", home)["keep"]("Ada", [None], False)


def test_same_picture_is_added_once(home, secrets):
    app, again = log_in(start("people", secrets)), ("again.jpg", *file("camera_5.jpg")[1:])
    app.text_input(key="people_name").set_value("Ada")
    app.file_uploader(key="people_files_0").set_value([file("camera_5.jpg"), again]).run()
    assert "again.jpg is the same picture as camera_5.jpg" in text_of(app)
    assert "added, with 1 picture." in text_of(press(app, "Add"))
    app.text_input(key="people_name").set_value("Ada")
    app.file_uploader(key="people_files_1").set_value([again]).run()
    assert "again.jpg is a picture of Ada that is already known" in text_of(app)
    assert not [button for button in app.button if button.key == "people_add"]
    app.file_uploader(key="people_files_1").set_value([again, file("camera_6.jpg")]).run()
    assert app.button(key="people_add").label == "Add to the known person"


def test_likely_known_person_is_shown_and_offered_instead(home, secrets):
    app = log_in(start("people", secrets))
    app.text_input(key="people_name").set_value("LÉNA ")
    app.file_uploader(key="people_files_0").set_value([file("camera_11.jpg")]).run()
    said = text_of(app)
    assert "lena is already known. Is LÉNA the same person?" in said and "this looks like otto" in said
    assert said.count('alt="The photo of ') == 2 and app.button(key="people_add").disabled
    assert [button.key for button in app.button if button.label.endswith("instead")] == [
        "people_instead_1",
        "people_instead_2",
    ]
    app = app.button(key="people_instead_2").click().run()
    assert app.text_input(key="people_name").value == "otto"
    assert app.button(key="people_add").label == "Add to the known person" and not app.button(key="people_add").disabled


def test_bad_names_and_files_are_refused_in_words(home, secrets, tmp_path):
    from apps.streamlit import archive

    app = log_in(start("people", secrets))
    app.file_uploader(key="people_files_0").set_value([file("camera_5.jpg")]).run()
    assert "Enter a name first." in text_of(press(app, "Add"))
    app.session_state["people_gallery_kept"] = "otto"
    app.run().text_input(key="people_new_name").set_value("lena")
    assert "“lena” is taken." in text_of(press(app, "Rename"))
    app.text_input(key="people_new_name").set_value("o\tto")
    said = text_of(press(app, "Rename"))
    assert "This name can’t be used: line breaks and control characters" in said and "identity=" not in said
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("letter.txt", "Dear camera")
    with pytest.raises(FaceError, match="not a file from Export: other.zip contains no manifest.json"):
        archive.check_export(tmp_path / "other.zip", "other.zip")
    assert archive.counted(1, 13, "skip") == "1 person imported; 12 were already known and stayed unchanged."


def test_person_page_changes_pictures_merges_and_undoes_a_removal(home, secrets, network, photos):
    from apps.streamlit import looking

    with FaceDatabase(home, network) as database:
        seen = looking.look(photos["camera_11"], network)  # otto again
        database.add("otto", seen.encoding, photos["camera_11"])
        database.add("otto’s double", seen.encoding, photos["camera_11"])
        first, second = (jpeg for jpeg, _ in database._pictures("otto"))
    app = log_in(start("people", secrets))
    app.session_state["people_gallery_kept"] = "otto"
    app.session_state["person_picture_otto_kept"] = "0"
    assert "otto has another portrait." in text_of(press(app.run(), "Make it the portrait"))
    app.session_state["person_picture_otto_kept"] = "0"
    assert "The picture of otto has been removed." in text_of(press(app.run(), "Remove this picture"))
    with FaceDatabase(home) as database:
        assert [jpeg for jpeg, _ in database._pictures("otto")] == [first] != [second]
    app.selectbox(key="people_merge").set_value("otto’s double").run()
    assert "they look like one person" in text_of(app)
    app.checkbox(key="people_sure_merge_otto_otto’s double").check().run()
    assert "The pictures of otto’s double now belong to otto." in text_of(press(app, "Merge"))
    app.checkbox(key="people_sure_remove_otto").check().run()
    assert "otto has been removed." in text_of(press(app, "Remove"))
    assert "otto is back." in text_of(press(app, "Undo the removal"))
    with FaceDatabase(home) as database:
        assert [jpeg for jpeg, _ in database._pictures("otto")] == [second, first] and len(database) == 12


def test_unknown_face_is_named_where_it_was_found(home, secrets):
    app = log_in(start("people", secrets)).switch_page("views/recognise.py").run()
    app.file_uploader(key="recognise_files").set_value([file("camera_5.jpg")]).run()
    assert app.dataframe[0].value.who.tolist() == ["unknown"] and "Who is this?" in text_of(app)
    page = functions_of("recognise", home)
    searched = list(app.session_state["recognised"].values())
    known = page["shared"].database(), page["shared"].model(), page["shared"].threshold_among()
    unnamed = page["unnamed"](searched, page["recognise"](searched, *known))
    app.session_state["recognise_unnamed_kept"] = next(iter(unnamed))
    app.run().text_input(key="recognise_name").set_value("lena")
    assert "“lena” is already known" in text_of(press(app, "Add"))
    app.text_input(key="recognise_name").set_value("Ada")
    assert "Ada has been added" in text_of(press(app, "Add"))
    assert app.dataframe[0].value.who.tolist() == ["Ada"]
    with FaceDatabase(home) as database:
        assert len(database) == 13 and database.thumbnail("Ada") is not None


def test_many_are_added_from_a_zip_with_a_row_for_each_file(home, secrets, tmp_path):
    hostile = ("../../otto.jpg", "/etc/passwd.jpg")
    with zipfile.ZipFile(tmp_path / "friends.zip", "w") as made:
        for name, picture in {
            "ada.jpg": "grace",
            "lena.jpg": "lena",
            "bo/1.jpg": "jun",
            hostile[0]: "otto",
            hostile[1]: "otto",
        }.items():
            made.writestr(name, (ROOT / "images" / f"{picture}.jpg").read_bytes())
        made.writestr("cy.jpg", b"Dear camera")
    app = log_in(start("people", secrets))
    data = (tmp_path / "friends.zip").read_bytes()
    app.file_uploader(key="people_many_zip_0").set_value(("friends.zip", data, "application/zip")).run()
    said = text_of(press(app, "Add everyone"))
    rows = app.dataframe[0].value.set_index("file")
    assert rows.result.to_dict() == {
        "ada.jpg": "added", "lena.jpg": "known already", "bo/1.jpg": "added", "cy.jpg": "not used",
        **dict.fromkeys(hostile, "not used"),
    }  # fmt: skip
    assert "not a picture" in rows.remark["cy.jpg"] and all("leads out" in rows.remark[name] for name in hostile)
    assert "2 of 6 files were added, for 2 people. Known already: 1. Not used: 3" in said
    with FaceDatabase(home) as database:
        assert {"ada", "bo"} < set(database) and len(database) == 14


def test_five_wrong_passwords_lock_the_account(home, secrets):
    app = start("people", secrets)
    for _ in range(5):
        assert "The name or the password is wrong" in text_of(log_in(app, "not the password"))
    assert "Too many failed attempts" in text_of(log_in(app))


def test_reading_can_need_a_login(home, secrets):
    closed = start("verify", secrets | {"reading": "login"})
    assert "Please log in" in text_of(closed) and not closed.file_uploader
    assert not closed.selectbox and not closed.button_group
    assert not closed.slider and "12 people" not in text_of(closed), "strangers are not told how many there are"
    opened = log_in(closed)
    assert opened.selectbox(key="verify_claimed")
    wrong = start("verify", secrets | {"reading": "perhaps"})
    assert "reading=&#x27;perhaps&#x27;" in text_of(wrong) and not wrong.file_uploader
    below = start("verify", {"accounts": secrets["accounts"] | {"reading": "login"}})  # under [accounts], by mistake
    assert "Please log in" in text_of(below) and not below.file_uploader


def test_unreadable_secrets_file_closes_every_page(home, secrets_file):
    from apps.streamlit import settings

    secrets_file.parent.mkdir()
    secrets_file.write_text('reading = "login"\n[accounts\n')
    with pytest.raises(FaceError, match="secrets.toml can't be read"):
        settings.reading()


def test_frames_are_refused_after_the_login_ended(home, monkeypatch):
    live = functions_of("live", home)
    monkeypatch.setenv("FACES_READING", "login")
    frame = base64.b64encode((ROOT / "images" / "camera_0.jpg").read_bytes()).decode()
    assert "Log in again" in live["answered"]({"number": 1, "jpeg": frame})["problem"]
    monkeypatch.setenv("FACES_READING", "open")
    assert live["answered"]({"number": 2, "jpeg": frame})["problem"] == ""
    live["shared"].end_live()


def test_late_events_of_a_left_page_are_ignored(home):
    functions_of("live", home)["see"]()
    functions_of("metrics", home)["mark"](1, "mark_1")


def test_names_are_shown_as_typed(home, network, photos, secrets):
    from apps.streamlit import looking

    with FaceDatabase(home, network) as database:
        seen = looking.look(photos["camera_5"], network)
        for name in ODD_NAMES:
            database.add(name, seen.encoding, photos["camera_5"])
    app = start()
    app.file_uploader(key="verify_file").set_value(file("camera_5.jpg"))
    for name in ODD_NAMES:
        said = text_of(app.selectbox(key="verify_claimed").set_value(name).run())
        assert f"distance from {html.escape(name)} is 0.00" in said
        assert f"{html.escape(name)} in the database" in said
    app = start("recognise")
    app.file_uploader(key="recognise_files").set_value([file("camera_5.jpg")]).run()
    said = text_of(app)
    assert "<script" not in said and "<img src=x" not in said
    assert not app.markdown and not app.error and not app.warning  # nothing of a user's goes where markdown is read


def test_only_the_first_start_fills_the_database(tmp_path, monkeypatch):
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


def test_sidebar_shows_the_measured_error_rates():
    from apps.streamlit import sidebar

    said = sidebar.meaning(0.7)
    assert re.findall(r"(?:less than )?\d+\.\d\d %", said) == ["0.97 %", "0.91 %"]
    said = sidebar.meaning(0.99)
    assert re.search(r" (69|70)\.\d\d %.* less than 0.01 %", said)
    assert "5.9 million pairs" in sidebar.meaning(0.7)


def test_searches_use_the_threshold_for_so_many_people_until_the_slider_is_moved(home):
    app = start("recognise")
    strict = threshold_for(load_facenet(), people=12)
    assert f"all 12 people, so they use {strict:.2f}" in text_of(app)
    app.sidebar.slider[0].set_value(0.65).run()
    assert "up to 12 times as often" in text_of(app) and f"{strict:.2f}" not in text_of(app)


def test_pages_that_search_take_the_threshold_among_everyone(home, monkeypatch):
    from apps.streamlit import shared

    monkeypatch.setattr(shared, "threshold_among", lambda: 0.01)
    app = start("recognise")
    app.file_uploader(key="recognise_files").set_value([file("camera_0.jpg")]).run()
    assert app.dataframe[0].value.who.tolist() == ["unknown"]
    live = functions_of("live", home)
    recogniser = live["recogniser"]()
    assert recogniser.threshold == 0.01
    monkeypatch.setattr(shared, "threshold_among", lambda: 0.6)
    assert live["recogniser"]() is recogniser and recogniser.threshold == 0.6  # the faces in view stay
    live["shared"].end_live()


def test_faces_in_view_can_be_named(home, photos):
    live = functions_of("live", home)
    frame = base64.b64encode((ROOT / "images" / "camera_5.jpg").read_bytes()).decode()
    recogniser = live["LiveRecogniser"](live["shared"].model(), live["shared"].database())
    recogniser.see(live["frame_of"](frame))
    recogniser.use_threshold(0.3)  # decides at once
    tracks = recogniser.see(live["frame_of"](frame))
    ((faces, who),) = live["in_view"](live["frame_of"](frame), tracks).values()
    assert who is None and abs(np.linalg.norm(faces[0].encoding) - 1) < 1e-4
    shown = load_image(faces[0].picture)
    assert shown.shape[0] == shown.shape[1] > faces[0].box[2]


@pytest.mark.parametrize(
    "message", [None, 7, {}, {"number": 1}, {"number": 1, "jpeg": "!"}, {"number": 1, "jpeg": "AA=="}]
)
def test_bad_frame_is_answered_with_a_sentence(message, home, monkeypatch):
    live = functions_of("live", home)
    answer = live["answered"](message)
    assert answer["faces"] == [] and "pictur" in answer["problem"]
    assert "small picture" in live["answered"]({"number": 2, "jpeg": "A" * 800_000})["problem"]


def functions_of(page: str, home: Path) -> dict:
    """The functions of a page, without drawing it."""
    source = (APP / "views" / f"{page}.py").read_text(encoding="utf-8").split("\nshow.title(")[0]
    names: dict = {"__name__": f"views_{page}"}
    exec(compile(source, page, "exec", dont_inherit=True), names)
    return names
