"""The Streamlit app's pages in this process, with the real network."""

from __future__ import annotations

import base64
import gc
import html
import re

import numpy as np

from apps.pictures import jpeg
from facerec._files import ROOT
from facerec.database import FaceDatabase
from facerec.networks import load_facenet, threshold_for
from facerec.photos import load_image
from tests.apps.streamlit.visiting import (
    Pressed,
    file,
    functions_of,
    log_in,
    press,
    start,
    text_of,
)

ODD_NAMES = (
    "<script>document.title='x'</script> <b>bold</b> & <img src=x onerror=alert(1)> O'Brien \"Bo\" O’Neill 李小龍",
    "**bold** _italic_ `code` ~~gone~~ :red[red] :smile: :material/home: $x^2$ and $$y$$ [link](javascript:alert(1)) #",
)


def test_verify_lets_in_the_claimed_person_only(home):
    app = start()
    for claimed, picture, words, others in (
        ("lena", "camera_0.jpg", "Welcome in", "Go away"),
        ("otto", "camera_11.jpg", "Welcome in", "Go away"),
        ("otto", "camera_0.jpg", "Go away", "Welcome in"),
    ):
        app.selectbox(key="verify_claimed").set_value(claimed)
        app.file_uploader(key="verify_file").set_value(file(picture)).run()
        said = text_of(app)
        assert words in said and others not in said
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

    monkeypatch.setattr(choose, "_all_kept", type(choose._all_kept)())  # the other tests' pictures may go at any time
    monkeypatch.setattr(choose, "KEPT", 1000)
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


def test_sideways_picture_is_shown_turned_or_as_it_was_taken(home, photos):
    app = start()
    app.selectbox(key="verify_claimed").set_value("lena")
    lying = jpeg(np.rot90(photos["camera_0"]))
    app.file_uploader(key="verify_file").set_value(("lying.jpg", lying, "image/jpeg")).run()
    assert "Welcome in" in text_of(app) and "The picture was turned by 90° to the right: no clear" in text_of(app)
    turned, taken = at_the_door(app), at_the_door(app.toggle[0].set_value(True).run())
    assert np.abs(np.rot90(turned) - taken).mean() < 10 < np.abs(turned - taken).mean()
    app.file_uploader(key="verify_file").set_value(file("camera_0.jpg")).run()
    assert "turned" not in text_of(app) and not app.toggle


def at_the_door(app) -> np.ndarray:
    """The picture on the Verify page."""
    return load_image(re.search(r'<img src="(data:[^"]+)" alt="The picture, with', text_of(app))[1]).astype(float)


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
    assert 'class="verdict bad"' in text_of(app) and "in 90 of 100 cases" in text_of(app)
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


class Closing:
    """Stands in for a recogniser, and notes that it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_live_page_has_its_component_and_is_closed_when_it_is_left(home):
    app, recogniser = start("live"), Closing()
    assert text_of(app) and len(app.get("bidi_component")) == 1
    app.session_state["live_recogniser"] = recogniser
    assert app.run().session_state["live_recogniser"] is recogniser and not recogniser.closed
    app.switch_page("views/metrics.py").run()
    assert "live_recogniser" not in app.session_state and recogniser.closed == 1


def test_another_film_gets_another_recogniser(home):
    live, recogniser = functions_of("live", home), Closing()
    live["st"].session_state["live_recogniser"] = recogniser
    live["answered"]({"number": 1, "jpeg": "!", "begins": False})
    assert not recogniser.closed
    live["answered"]({"number": 2, "jpeg": "!", "begins": True})
    assert recogniser.closed == 1


def test_unknown_faces_of_one_person_are_named_where_they_were_found(home, secrets, photos):
    app = log_in(start("people", secrets)).switch_page("views/recognise.py").run()
    mirrored = ("mirrored.jpg", jpeg(photos["camera_5"][:, ::-1]), "image/jpeg")
    app.file_uploader(key="recognise_files").set_value([file("camera_5.jpg"), mirrored]).run()
    assert app.dataframe[0].value.who.tolist() == ["unknown"] * 2 and "Who is this?" in text_of(app)
    page = functions_of("recognise", home)
    searched = list(app.session_state["recognised"].values())
    known = page["shared"].database(), page["shared"].model(), page["shared"].threshold_among()
    (group,) = page["unnamed"](searched, page["recognise"](searched, *known))
    app.session_state["recognise_unnamed_kept"] = group
    app.run().text_input(key="recognise_name").set_value("lena")
    assert "“lena” is already known" in text_of(press(app, "Add"))
    app.text_input(key="recognise_name").set_value("Ada")
    app.button_group(key="recognise_which_2").set_value([1]).run()
    assert "Ada has been added, with 1 picture." in text_of(press(app, "Add"))
    assert app.dataframe[0].value.who.tolist() == ["Ada"] * 2
    with FaceDatabase(home) as database:
        assert len(database) == 13 and len(database.encodings("Ada")) == len(database.photos("Ada")) == 1


def test_frames_are_refused_after_the_login_ended(home, monkeypatch):
    live = functions_of("live", home)
    monkeypatch.setenv("FACES_READING", "login")
    frame = base64.b64encode((ROOT / "images" / "camera_0.jpg").read_bytes()).decode()
    assert "Log in again" in live["answered"]({"number": 1, "jpeg": frame})["problem"]
    monkeypatch.setenv("FACES_READING", "open")
    answer = live["answered"]({"number": 2, "jpeg": frame})
    assert answer["problem"] == "" and [face["label"] for face in answer["faces"]] == ["lena"], "named at once"
    live["shared"].end_live()


def test_start_of_the_server_looks_at_a_portrait_and_leaves_nothing_to_the_collector(home, monkeypatch):
    from apps.streamlit import first, looking

    looked, look, before = [], looking.look, gc.get_freeze_count()
    monkeypatch.setattr(looking, "look", lambda *given: looked.append(look(*given)) or looked[-1])
    first.warm_up()
    assert len(looked) == 1 and gc.get_freeze_count() > before


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
    assert re.findall(r"(?:less than )?\d+\.\d\d %", said) == ["0.97 %", "0.82 %"]
    said = sidebar.meaning(0.99)
    assert re.search(r" (69|70)\.\d\d %.* less than 0.01 %", said)
    assert "5.9 million pairs" in sidebar.meaning(0.7)


def test_searches_use_the_threshold_for_so_many_people_until_the_slider_is_moved(home):
    app = start("recognise")
    strict = threshold_for(load_facenet(), people=12)
    assert f"all 12 people, so they use {strict:.2f}" in text_of(app)
    app.sidebar.slider[0].set_value(0.65).run()
    assert "up to 12 times as often" in text_of(app) and f"{strict:.2f}" not in text_of(app)
    assert press(app, "Reset to 0.70").sidebar.slider[0].value == 0.7 and f"{strict:.2f}" in text_of(app)


def test_among_many_people_a_name_is_searched_first(home, monkeypatch):
    from apps.streamlit import choose

    monkeypatch.setattr(choose, "LISTED", 11)
    app = start()
    assert "12 people are known. Type part of the name." in text_of(app) and not app.selectbox
    app.text_input(key="verify_claimed_search").set_value("EN").run()
    assert app.selectbox(key="verify_claimed").options == ["lena"]
    assert "No name contains “zz”" in text_of(app.text_input(key="verify_claimed_search").set_value("zz").run())


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


def test_bad_frame_is_answered_with_a_sentence(home):
    live = functions_of("live", home)
    for message in (None, 7, {}, {"number": 1}, {"number": 1, "jpeg": "!"}, {"number": 1, "jpeg": "AA=="}):
        answer = live["answered"](message)
        assert answer["faces"] == [] and "pictur" in answer["problem"], message
    assert "small picture" in live["answered"]({"number": 2, "jpeg": "A" * 800_000})["problem"]
