"""The Flask app in a real Chromium; `make test-apps` runs these tests."""

from __future__ import annotations

import base64
import itertools

import cv2
import numpy as np
import pytest

from facerec._files import ROOT
from facerec.photos import load_image
from tests.apps.flask.clients import BLANK, LENA
from tests.chromium import HANG, NEEDED, SIZES, browser, look, serious_violations
from tests.hostile import NAMES, SIGN

COMPARE, END = "#pictures [type=submit]", "form[action='/end'] [type=submit]"  # buttons


class Window:
    """A page of the app in Chromium, and the output of its console."""

    def __init__(self, chromium, port: int, size: str = "desktop", host: str = "localhost", **options):
        self.context = chromium.new_context(viewport=SIZES[size], **options)
        self.page, self.said = self.context.new_page(), []
        self.page.set_default_timeout(HANG)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(f"http://{host}:{port}/")

    def agree(self) -> None:
        self.page.check("#agree")
        self.page.check("#adult")
        self.page.click("form[action='/consent'] [type=submit]")
        self.page.wait_for_url("**/compare")

    def give(self, slot: str, file: str) -> None:
        self.page.set_input_files(f"#{slot}", str(ROOT / "images" / file))
        self.page.wait_for_selector(f"[data-slot={slot}].filled")

    def film(self, slot: str) -> None:
        self.page.click(f"[data-slot={slot}] .start")
        self.page.wait_for_selector(f"[data-slot={slot}].filming")
        self.page.click(f"[data-slot={slot}] .take")
        self.page.wait_for_selector(f"[data-slot={slot}].filled")

    def compare(self) -> str:
        self.page.click(COMPARE)
        self.page.wait_for_selector("#working:empty", state="attached")
        return self.page.inner_text("#verdict")

    def tab_to(self, selector: str, at_most: int = 40) -> None:
        """Press Tab until something has the focus."""
        for _ in range(at_most):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"the keyboard does not reach {selector}")


@pytest.mark.apps
@NEEDED
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_pages_work_by_mouse_without_accessibility_violations(port, film, size, scheme):
    with browser(film=film) as chromium:
        window = Window(chromium, port, size, color_scheme=scheme, permissions=["camera"], reduced_motion="reduce")
        page, seen = window.page, []

        def check(name: str) -> None:
            look(page, f"flask_{size}_{scheme}_{name}")
            assert serious_violations(page) == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name}: wider than the screen"
            seen.append(page.title())

        check("1_start")
        window.agree()
        check("2_pictures")
        window.give("first", "lena.jpg")
        page.click("[data-slot=second] .start")
        page.wait_for_selector("[data-slot=second].filming")
        check("3_camera")
        page.click("[data-slot=second] .take")
        page.wait_for_selector("[data-slot=second].filled")
        assert window.compare() == "The same person"
        check("4_same")
        window.give("second", "otto.jpg")
        assert page.locator("#verdict").count() == 0 and page.title() == seen[1]
        assert window.compare() == "Two different people"
        page.click("summary")
        check("5_two")
        page.goto(f"http://localhost:{port}/nowhere")
        check("6_nowhere")
        page.click(END)
        check("7_goodbye")
        page.goto(f"http://localhost:{port}/no")
        check("8_no")
        page.goto(f"http://localhost:{port}/compare")
        assert page.url.endswith(f":{port}/?agree=1")  # the session has ended
        assert len(set(seen)) == len(seen) - 1  # a title for every page; the camera shares that of the pictures
        assert [text for text in window.said if "404" not in text] == []


@pytest.mark.apps
@NEEDED
def test_pages_work_by_keyboard(port, film):
    with browser(film=film) as chromium:
        window = Window(chromium, port, permissions=["camera"])
        page = window.page
        page.on("filechooser", lambda chooser: chooser.set_files(str(ROOT / "images" / "lena.jpg")))
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        for box in ("#agree", "#adult"):
            window.tab_to(box)
            page.keyboard.press("Space")
        window.tab_to("form[action='/consent'] [type=submit]")
        page.keyboard.press("Enter")
        page.wait_for_url("**/compare")
        window.tab_to("#first")
        outline = page.evaluate("getComputedStyle(document.querySelector('#first + label')).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-slot=first].filled")
        window.tab_to("[data-slot=second] .start")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-slot=second].filming")
        assert page.evaluate("document.activeElement.matches('.take')")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-slot=second].filled")
        window.tab_to("#pictures [type=submit]")
        page.keyboard.press("Enter")
        page.wait_for_selector("#verdict")
        page.wait_for_function("document.activeElement.id === 'verdict'")
        assert page.inner_text("#verdict") == "The same person" and page.title().startswith("The same person")
        window.tab_to("summary")
        page.keyboard.press("Enter")
        assert page.is_visible(".previews img")
        assert window.said == []


@pytest.mark.apps
@NEEDED
def test_camera_is_mirrored_only_on_screen(port, film):
    with browser(film=film) as chromium:
        window = Window(chromium, port, permissions=["camera"])
        window.agree()
        window.page.click("[data-slot=first] .start")
        window.page.wait_for_selector("[data-slot=first].filming")
        assert window.page.evaluate("getComputedStyle(document.querySelector('video')).transform").startswith(
            "matrix(-1,"
        )
        window.page.click("[data-slot=first] .take")
        window.page.wait_for_selector("[data-slot=first].filled")
        source = window.page.get_attribute("[data-slot=first] .preview", "src")
        assert "Take another" in window.page.inner_text("[data-slot=first] .start")
        assert not window.page.evaluate("document.querySelector('video').srcObject")  # the camera is off
        window.give("first", "otto.jpg")
        assert "Use the camera" in window.page.inner_text("[data-slot=first] .start")
    taken = load_image(base64.b64decode(source.split(",")[1]))
    frame = load_image(film.read_bytes()[: len(film.read_bytes()) // 30])
    frame = cv2.resize(frame, taken.shape[1::-1], interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(frame - taken).mean() < 0.5 * np.abs(frame[:, ::-1] - taken).mean()


@pytest.mark.apps
@NEEDED
@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("refused", "The camera is blocked"),
        ("none", "This device has no camera"),
        ("not https", "over https"),
    ],
)
def test_camera_refusal_is_explained(port, film, why, words):
    elsewhere = "--host-resolver-rules=MAP faces.example 127.0.0.1"
    with browser(elsewhere, film=None if why == "none" else film) as chromium:
        host, leave = (
            ("faces.example", []) if why == "not https" else ("localhost", ["camera"] if why == "none" else [])
        )
        window = Window(chromium, port, host=host, permissions=leave)
        window.agree()
        window.page.click("[data-slot=second] .start")
        window.page.wait_for_selector("[data-slot=second] .status.problem")
        said = window.page.inner_text("[data-slot=second] .status")
        assert words in said and "You can choose a picture instead" in said
        window.give("second", "camera_0.jpg")
        window.give("first", "lena.jpg")
        assert window.compare() == "The same person"


@pytest.mark.apps
@NEEDED
def test_pages_work_without_javascript(port):
    with browser() as chromium:
        window = Window(chromium, port, "phone", java_script_enabled=False)
        page = window.page
        page.check("#agree")
        page.check("#adult")
        page.click("form[action='/consent'] [type=submit]")
        assert not page.is_visible(".start") and not page.is_visible(".frame")
        for other, verdict in (("camera_0.jpg", "The same person"), ("otto.jpg", "Two different people")):
            page.set_input_files("#first", str(ROOT / "images" / "lena.jpg"))
            page.set_input_files("#second", str(ROOT / "images" / other))
            page.click(COMPARE)
            assert page.inner_text("#verdict") == verdict and page.title().startswith(verdict)
        look(page, "flask_phone_light_9_without_script")
        page.set_input_files("#first", {"name": "<b>.jpg", "mimeType": "image/jpeg", "buffer": BLANK})
        page.set_input_files("#second", str(ROOT / "images" / "lena.jpg"))
        page.click(COMPARE)
        assert "No face in the first picture" in page.inner_text("[role=alert]")
        look(page, "flask_phone_light_9_problem_without_script")
        page.click(END)
        assert page.url.endswith("/goodbye")


@pytest.mark.apps
@NEEDED
def test_session_ended_in_another_tab_is_noticed(port):
    with browser() as chromium:
        window = Window(chromium, port)
        window.agree()
        window.give("first", "lena.jpg")
        elsewhere = window.context.new_page()
        elsewhere.goto(f"http://localhost:{port}/compare")
        elsewhere.click(END)
        window.page.set_input_files("#second", str(ROOT / "images" / "otto.jpg"))
        window.page.wait_for_selector("[role=alert]")
        assert window.page.url.endswith("/?ended=1")
        look(window.page, "flask_desktop_light_11_ended")
        window.agree()


@pytest.mark.apps
@NEEDED
def test_answer_about_replaced_pictures_is_not_shown(port):
    with browser() as chromium:
        window = Window(chromium, port)
        window.agree()
        window.give("first", "lena.jpg")
        window.give("second", "camera_0.jpg")
        held: list = []
        window.page.route("**/compare", lambda route: route.continue_() if held else held.append(route))
        with window.page.expect_request("**/compare"):
            window.page.click(COMPARE)
        window.give("second", "otto.jpg")  # while the answer is on its way
        held[0].continue_()
        window.page.wait_for_selector("#working:empty", state="attached")
        assert window.page.inner_text("#result") == ""
        assert window.compare() == "Two different people"


@pytest.mark.apps
@NEEDED
def test_pages_fit_a_small_phone(port):
    with browser() as chromium:
        window = Window(chromium, port)
        page = window.page
        page.set_viewport_size({"width": 320, "height": 568})

        def check(name: str) -> None:
            look(page, f"flask_small_{name}")
            assert page.evaluate("document.documentElement.scrollWidth") == 320, name

        check("start")
        window.agree()
        window.give("first", "lena.jpg")
        window.give("second", "otto.jpg")
        window.compare()
        page.click("summary")
        check("answer")
        words = page.eval_on_selector_all(".word", "all => all.map(each => each.getBoundingClientRect().toJSON())")
        for left, right in itertools.pairwise(words):
            assert left["right"] + 24 < right["left"] or abs(left["top"] - right["top"]) >= left["height"]
        end = page.locator(END)
        assert (
            end.evaluate(
                "each => { const all = document.createRange(); all.selectNodeContents(each);"
                "return all.getClientRects().length }"
            )
            == 1
        )  # line


@pytest.mark.apps
@NEEDED
def test_page_explains_unusable_pictures(port, tmp_path):
    with browser() as chromium:
        window = Window(chromium, port)
        window.agree()
        page = window.page
        page.click(COMPARE)
        assert page.inner_text("#working") == "Both pictures are missing."
        assert page.evaluate("document.activeElement.id") == "first"
        for data, words in ((BLANK, "No face in the picture"), (b"nonsense", "The picture can't be opened")):
            page.set_input_files("#first", {"name": f"{NAMES[6]}", "mimeType": "image/png", "buffer": data})
            page.wait_for_selector(f'#first-status:has-text("{words}")')
        assert SIGN not in page.title() and SIGN not in page.content()
        assert not page.is_visible("[data-slot=first] .preview")  # no picture at all
        page.set_input_files("#first", {"name": "a.png", "mimeType": "image/png", "buffer": BLANK})
        page.wait_for_selector("[data-slot=first].refused .preview")  # greyed, but there
        assert "No face in the picture" in page.inner_text("#first-status")
        page.click(COMPARE)
        said = page.inner_text("#working")
        assert said.startswith("The first picture did not work") and said.endswith("The second picture is missing.")
        look(page, "flask_desktop_light_10_refused")
        window.give("first", "video_call.jpg")
        assert page.inner_text("#working") == "" and page.locator(".refused").count() == 0
        sides = [page.locator(f"[data-slot=first] .{kind}").bounding_box()["width"] for kind in ("face", "preview")]
        assert sides[0] < sides[1] / 3 and page.is_visible(".inset figcaption")
        assert "The largest one is compared" in page.inner_text("#first-status")
        dropped = page.evaluate_handle(
            """data => { const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], "lena.jpg", { type: "image/jpeg" }));
            return transfer; }""",
            base64.b64encode(LENA).decode(),
        )
        page.dispatch_event("[data-slot=second]", "drop", {"dataTransfer": dropped})
        page.wait_for_selector("[data-slot=second].filled")
        look(page, "flask_desktop_light_10_pictures")
        page.click(END)
        assert [text for text in window.said if "422" not in text] == []
