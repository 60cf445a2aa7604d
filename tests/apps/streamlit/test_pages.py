"""The Streamlit app's pages in this process, with the real network."""

from __future__ import annotations

import base64
import html
import io
import re
import time
import zipfile
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from streamlit.testing.v1 import AppTest

from facerec._files import ROOT
from facerec.database import FaceDatabase
from facerec.errors import FaceError
from facerec.networks import DEFAULT_NETWORK, load_facenet, threshold_for

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
    assert "=broken.jpg is not a picture" in said
    table = app.dataframe[0].value
    assert table.who.tolist()[0] == "lena" and table.who.tolist()[2:] == [
        *("jun", "unknown", "ines", "sami", "unknown", "grace")
    ]
    assert table.problem.tolist()[1].startswith("=broken.jpg is not a picture")
    assert table["nearest five"][0].count(";") == 4 and 0.9 < table.confidence[0] <= 1
    csv = app.get("download_button")[0]
    assert csv.label == "Download as CSV"


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
    assert said.count('class="icon warn"') == 2 and said.count("please check") == 2
    assert shared.decisions().recent(1)[0].number == last


def test_compare_shows_both_opinions(home):
    app = start("compare")
    app.file_uploader(key="compare_1_file").set_value(file("lena.jpg"))
    app.file_uploader(key="compare_2_file").set_value(file("camera_0.jpg")).run()
    said = text_of(app)
    assert 'class="verdict good"' in said and said.count('class="scale"') == 2 and "The twins see" in said
    app.file_uploader(key="compare_2_file").set_value(file("otto.jpg")).run()
    assert 'class="verdict bad"' in text_of(app)


def test_metrics_show_the_accuracy_of_marked_decisions(home):
    from apps.streamlit import shared

    app = start()
    app.selectbox(key="verify_claimed").set_value("lena")
    app.file_uploader(key="verify_file").set_value(file("camera_0.jpg")).run()
    app.switch_page("views/metrics.py").run()
    last = shared.decisions().recent(1)[0]
    assert (last.kind, last.identity, last.decision) == ("verify", "lena", "Welcome in")
    app.button_group(key=f"mark_{last.number}").set_value("right").run()
    assert shared.decisions().recent(1)[0].right is True
    assert "100 %" in text_of(app) and "MB" in text_of(app) and "fingerprint" in text_of(app)


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
    assert "verify: mei" in text_of(log_in(app))
    page = functions_of("metrics", home)
    assert page["table"](shared.decisions().recent(1)).identity.tolist() == ["(hidden)"]


def test_live_page_has_its_component(home):
    app = start("live")
    assert text_of(app) and len(app.get("bidi_component")) == 1


def test_people_page_without_an_account_offers_no_change(home):
    app = start("people")
    assert "python -m apps.streamlit.accounts NAME" in text_of(app)
    assert not [
        button for button in app.button if button.label in ("Add", "Remove", "Forget", "Create the file", "Log in")
    ]
    assert not app.file_uploader


def test_change_after_the_login_ended_is_refused(home, secrets):
    app = start("people", secrets)
    assert "log in first" in text_of(app)
    app = log_in(app)
    app.session_state["people_gallery_kept"] = "otto"
    app.run().text_input(key="people_new_name").set_value("other")
    app.session_state["account"] = ("keeper", 0.0, secrets["accounts"]["keeper"])  # half an hour has passed
    rename = next(button for button in app.button if button.label == "Rename")
    app = rename.click().run()
    with FaceDatabase(home) as database:
        assert "otto" in database and "other" not in database
    app.session_state["account"] = ("gone", time.monotonic() + 99, None)  # an account that is gone
    assert "log in first" in text_of(app.run())


def test_new_password_ends_old_logins(home, secrets):
    app = log_in(start("people", secrets))
    assert "Logged in as keeper" in text_of(app.run())
    app.secrets["accounts"] = {"keeper": PasswordHasher(time_cost=1, memory_cost=1024).hash("another long password")}
    assert "log in first" in text_of(app.run())


def test_changing_needs_a_login(home, monkeypatch):
    from apps.streamlit import login

    monkeypatch.setattr(login, "who", lambda: None)
    with pytest.raises(login.NotLoggedIn, match="log in first"):
        login.changing()


def test_every_changing_function_needs_a_login(home):
    """Called directly, without the page that hides their buttons."""
    from apps.streamlit import shared

    page = functions_of("people", home)
    known = {name: shared.database()[name].tobytes() for name in shared.database()}
    page["rename"]("otto", "other")
    page["remove"]("otto", True)
    page["forget"]("otto", True)
    with pytest.raises(page["login"].NotLoggedIn):
        page["keep"]("other", [None])
    page["st"] = Pressed()
    page["export"]()
    page["take_in"]()
    assert page["st"].downloads == []
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
    assert functions_of("people", home)["name_doubts"]("Lena") == [
        "The name Lena is easily taken for lena, who is known, too."
    ]


def test_bad_names_and_files_are_refused_in_words(home, secrets, tmp_path):
    app = log_in(start("people", secrets))
    app.file_uploader(key="people_files_0").set_value([file("camera_5.jpg")]).run()
    assert "Enter a name first." in text_of(press(app, "Add"))
    app.session_state["people_gallery_kept"] = "otto"
    app.run().text_input(key="people_new_name").set_value("lena")
    assert "“lena” is taken." in text_of(press(app, "Rename"))
    page = functions_of("people", home)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("letter.txt", "Dear camera")
    with pytest.raises(FaceError, match="not a file from Export: other.zip contains no manifest.json"):
        page["check_export"](tmp_path / "other.zip", "other.zip")
    assert page["counted"](1, 13, "skip") == "1 person imported; 12 were already known and stayed unchanged."


def test_five_wrong_passwords_lock_the_account(home, secrets):
    app = start("people", secrets)
    for _ in range(5):
        assert "The name or the password is wrong" in text_of(log_in(app, "not the password"))
    assert "Too many failed attempts" in text_of(log_in(app))


def test_reading_can_need_a_login(home, secrets):
    closed = start("verify", secrets | {"reading": "login"})
    assert "Please log in" in text_of(closed) and not closed.file_uploader
    assert not closed.selectbox and not closed.button_group
    opened = log_in(closed)
    assert opened.selectbox(key="verify_claimed")
    wrong = start("verify", secrets | {"reading": "perhaps"})
    assert "reading=&#x27;perhaps&#x27;" in text_of(wrong) and not wrong.file_uploader
    below = start("verify", {"accounts": secrets["accounts"] | {"reading": "login"}})  # under [accounts], by mistake
    assert "Please log in" in text_of(below) and not below.file_uploader


def test_unreadable_secrets_file_closes_every_page(home, tmp_path, monkeypatch):
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
    assert live["recogniser"]().threshold == 0.01
    live["shared"].end_live()


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
