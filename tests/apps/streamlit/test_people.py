"""The People page and its accounts in this process, with the real network: who may change people, and how."""

from __future__ import annotations

import re
import time
import zipfile

import pytest
from argon2 import PasswordHasher
from streamlit.testing.v1 import AppTest

from facerec._files import ROOT
from facerec.database import FaceDatabase
from facerec.errors import FaceError
from tests.apps.streamlit.visiting import (
    APP,
    PASSWORD,
    Pressed,
    asks_for_a_login,
    field,
    file,
    functions_of,
    log_in,
    press,
    scripts_of,
    start,
    text_of,
)


def test_people_page_without_an_account_offers_no_change(home):
    app = start("people")
    assert "make account NAME=" in text_of(app)
    assert not [
        button for button in app.button if button.label in ("Add", "Remove", "Forget", "Create the file", "Log in")
    ]
    assert not app.file_uploader


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
    ticket = re.search(r"fetch\('/keep-login', .*'X-Login-Ticket': '([\w-]+)'", scripts_of(app))[1]
    key = sessions.logins().exchange(ticket)  # as the browser does
    assert key and key not in scripts_of(app) + text_of(app)
    monkeypatch.setattr(login, "cookie", lambda: key)
    tab = start("people", secrets)
    assert "Logged in as keeper" in text_of(tab) and "keep-login" not in scripts_of(tab)
    left = press(tab, "Log out")
    assert asks_for_a_login(left) and "'X-Login-Ticket': ''" in scripts_of(left)  # the browser drops its cookie
    assert asks_for_a_login(app.run()) and asks_for_a_login(start("people", secrets))
    assert "Logged in as keeper" in text_of(log_in(left))  # although the browser still sends the old cookie


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
    assert "Create your account" in text_of(app) and not app.selectbox
    for name, password, again, problem in (
        ("ada", "short", "short", "at least 10 characters"),
        ("ada", PASSWORD, f"{PASSWORD}!", "The two passwords differ"),
        (" ", PASSWORD, PASSWORD, "needs a name"),
    ):
        for label, value in (("Name", name), (app.text_input[1].label, password), (app.text_input[2].label, again)):
            field(app, label).set_value(value)
        app = press(app, "Create account")
        assert problem in text_of(app) and not secrets_file.exists()
    field(app, "Name").set_value("ada ")
    field(app, app.text_input[2].label).set_value(PASSWORD)
    app = press(app, "Create account")
    assert "Logged in as ada" in text_of(app) and PASSWORD not in secrets_file.read_text()
    said = text_of(visit())  # the same link again
    assert "This link has been used" in said and "Create your account" not in said
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
    person.remove("otto")
    person.forget("otto")
    person.make_one("otto", "lena")
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


def test_removal_can_be_undone_for_a_minute_only(home, monkeypatch):
    from apps.streamlit import person

    monkeypatch.setattr(person, "st", pressed := Pressed())
    monkeypatch.setattr(person, "put_back", lambda *given: pytest.fail("put back too late"))
    monkeypatch.setattr(person.login, "who", lambda: "keeper")
    for late in (person.offer_undo, person.undo):
        pressed.session_state["people_removed"] = ("someone", time.monotonic() - 1)
        late()
        assert "people_removed" not in pressed.session_state


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
    app.session_state["recognised"] = {"a digest": "a picture, perhaps of her"}
    app.run().checkbox(key="people_sure_Ada L.").check().run()
    assert "has been forgotten" in text_of(press(app, "Forget"))
    assert "Ada L." not in [each.identity for each in shared.decisions().recent()]
    assert "recognised" not in app.session_state
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
    from apps.streamlit import looking, shared

    shared.decisions().add("verify", "otto’s double", 0.1, 0.7, "Welcome in", 0.1)
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
    assert "otto’s double" not in [each.identity for each in shared.decisions().recent()]
    app.checkbox(key="people_sure_remove_otto").check().run()
    assert "otto has been removed." in text_of(press(app, "Remove"))
    assert "otto is back." in text_of(press(app, "Undo the removal"))
    with FaceDatabase(home) as database:
        assert [jpeg for jpeg, _ in database._pictures("otto")] == [second, first] and len(database) == 12


def test_many_are_added_from_a_zip_with_a_row_for_each_file(home, secrets, tmp_path):
    hostile = ("../../otto.jpg", "/etc/passwd.jpg")
    with zipfile.ZipFile(tmp_path / "friends.zip", "w") as made:
        for name, picture in {
            "ada.jpg": "grace",
            "lena.jpg": "lena",
            "bo/1.jpg": "jun",
            "di/1.jpg": "otto",
            "di/2.jpg": "mei",
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
        "di/1.jpg": "added, please check", "di/2.jpg": "added, please check",
        **dict.fromkeys(hostile, "not used"),
    }  # fmt: skip
    assert "not a picture" in rows.remark["cy.jpg"] and all("points outside" in rows.remark[name] for name in hostile)
    assert all("look like different people" in rows.remark[name] for name in ("di/1.jpg", "di/2.jpg"))
    assert "4 of 8 files were added, for 3 people. Known already: 1. Please check: 2. Not used: 3" in said
    with FaceDatabase(home) as database:
        assert {"ada", "bo"} < set(database) and len(database) == 15


def test_zip_of_too_many_files_or_too_large_pictures_is_refused(tmp_path, monkeypatch):
    from apps.streamlit import bulk
    from facerec.portraits import find_portraits

    path = tmp_path / "friends.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name in ("ada.jpg", "bo.jpg"):
            made.write(ROOT / "images" / "lena.jpg", name)
    (portrait, _), archive = find_portraits(path).portraits, zipfile.ZipFile(path)
    bulk.check_zip(path, "friends.zip")
    assert bulk._too_large(archive, path, portrait) == ""
    for limit, most, words in (("MOST_PIXELS", 10**5, "0 million pixels"), ("MOST_BYTES", 10**4, "larger than 0 MB")):
        monkeypatch.setattr(bulk, limit, most)
        assert words in bulk._too_large(archive, path, portrait)
    monkeypatch.setattr(bulk, "MOST_FILES", 1)
    with pytest.raises(FaceError, match="friends.zip holds 2 files; 1 at most"):
        bulk.check_zip(path, "friends.zip")


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
