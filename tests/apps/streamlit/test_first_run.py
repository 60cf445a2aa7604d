"""A new user's first minutes in a real Chromium, and logins that last: on a desktop and on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from facerec.photos import load_image
from tests.apps.streamlit.driving import (
    PASSWORD,
    claim,
    enter,
    give,
    go,
    image,
    notice,
    person,
    running,
    still,
    turn_to,
    verdict,
)
from tests.chromium import HANG, NEEDED, SIZES, browser, look, serious_violations, write_film
from tools.ports import free_port

ADA = "camera_5.jpg"  # who is not in the database


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(film=write_film(load_image(image(ADA)), tmp_path_factory.mktemp("film") / "ada.mjpeg")) as started:
        yield started


@pytest.fixture(scope="module", params=["desktop", "phone"])
def size(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def app(chromium, size, tmp_path_factory) -> Iterator[tuple]:
    """A browser in which the first account was just made in a new installation, and the address."""
    home, port = tmp_path_factory.mktemp("home"), free_port()
    with running(home, port, home / "secrets.toml"):
        context = chromium.new_context(viewport=SIZES[size], permissions=["camera"])
        context.set_default_timeout(HANG)
        first_account(context, (home / "app.log").read_text())
        yield context, f"http://localhost:{port}"
        context.close()
    assert "Traceback" not in (home / "app.log").read_text()


def first_account(context, terminal: str) -> None:
    """Follow the link that the terminal shows, and make the first account."""
    page = context.new_page()
    page.goto(re.search(r"http://\S+\?first=\S+", terminal)[0])
    page.get_by_role("textbox", name="Name").fill("keeper")
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.locator("h1").filter(has_text="People").wait_for()
    assert "first=" not in still(page).url


def open_sidebar(page) -> None:
    if (button := page.get_by_test_id("stExpandSidebarButton")).is_visible():
        button.click()
        page.wait_for_timeout(400)


def in_view(page) -> bool:
    """Whether the page's heading is what one sees, and could press, where it is."""
    return page.evaluate(
        """() => {
        const heading = document.querySelector("h1"), box = heading.getBoundingClientRect();
        return heading.contains(document.elementFromPoint(box.x + 5, box.y + box.height / 2));
    }"""
    )


@pytest.mark.apps
@NEEDED
def test_new_user_is_recognised_live_without_a_file_or_a_second_command(app, size):
    page = app[0].pages[0]  # where making the account has led
    page.get_by_role("tab", name="Add", exact=True).click()
    panel = page.get_by_role("tabpanel", name="Add", exact=True)
    panel.get_by_role("textbox", name="Name", exact=True).fill("Ada")
    page.keyboard.press("Enter")
    still(page)
    panel.get_by_text("The camera").click()
    still(page)
    panel.get_by_role("button", name="Take photo").scroll_into_view_if_needed()
    page.wait_for_timeout(3000)  # at first, the film is black
    panel.get_by_role("button", name="Take photo").click()
    panel.locator(".figures img").wait_for()
    still(page)
    page.get_by_role("button", name="Add", exact=True).click()
    notice(page, "good", "Ada has been added")
    open_sidebar(page)
    turn_to(page, "Live")
    page.get_by_role("button", name="Start the camera").click()
    page.locator(".status").filter(has_text="In view: Ada").wait_for()
    look(page, f"streamlit_first_live_{size}")


@pytest.mark.apps
@NEEDED
def test_login_lasts_through_a_reload_and_in_a_second_tab_until_it_is_ended(app):
    context, address = app
    page = context.pages[0]
    assert [each for each in context.cookies() if each["name"] == "faces_login" and each["httpOnly"]]
    assert "faces_login" not in page.evaluate("document.cookie")
    for each in (go(page, address, "people"), go(context.new_page(), address, "people")):
        each.get_by_role("tab", name="Export").wait_for()
    open_sidebar(page)
    page.get_by_role("button", name="Log out").click()
    page.get_by_text("Log in to add").wait_for()
    page.wait_for_timeout(1000)  # until the browser has dropped the cookie
    assert not [each for each in context.cookies() if each["name"] == "faces_login"]
    for each in context.pages:
        go(each, address, "people").get_by_text("Log in to add").wait_for()
    enter(page)
    page.get_by_role("tab", name="Export").wait_for()


@pytest.mark.apps
@NEEDED
def test_sidebar_covers_no_page_on_a_phone(app, size):
    page = go(app[0].new_page(), app[1], "verify")
    for name in ("Recognise", "Metrics", "People"):
        open_sidebar(page)
        turn_to(page, name)
        page.wait_for_timeout(700)
        assert in_view(page), name
        assert page.title() == f"{name} – Face recognition"
    open_sidebar(page)
    go(page, app[1], "people")
    page.wait_for_timeout(700)
    assert in_view(page), "after a reload"
    assert page.get_by_test_id("stSidebar").get_attribute("data-collapsed") == str(size == "phone").lower()


@pytest.mark.apps
@NEEDED
def test_pressed_person_is_in_view(app, size):
    page = go(app[0].new_page(), app[1], "people")
    person(page, "grace")
    box, height = page.get_by_role("dialog").bounding_box(), SIZES[size]["height"]
    assert box["y"] >= 0 and box["y"] + min(box["height"], 200) <= height
    look(page, f"streamlit_person_{size}")
    assert not serious_violations(page)
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    still(page)
    assert not page.get_by_role("dialog").count()


@pytest.mark.apps
@NEEDED
def test_work_is_there_again_and_another_face_can_be_pressed(app, size):
    page = go(app[0].new_page(), app[1], "verify")
    claim(page, "jun")
    give(page, image("video_call.jpg"))
    verdict(page, "Go away")
    text = page.locator(".notice").filter(has_text="Another face in this picture matches jun").text_content()
    look(page, f"streamlit_group_{size}")
    page.locator(".gallery button").nth(int(re.search(r"face (\d)", text)[1]) - 1).click()
    verdict(page, "Welcome in")
    for name in ("People", "Verify"):
        open_sidebar(page)
        turn_to(page, name)
    verdict(page, "Welcome in")
    page.get_by_text("Still here: video_call.jpg").wait_for()
    look(page, f"streamlit_kept_{size}")
    assert not serious_violations(page)


@pytest.mark.apps
@NEEDED
def test_name_of_two_hundred_letters_fits(app, size):
    page, long = go(app[0].new_page(), app[1], "people"), ("Wolfeschlegelsteinhausenbergerdorff" * 6)[:200]
    person(page, "lena")
    page.get_by_role("textbox", name="New name").fill(long)
    page.get_by_role("button", name="Rename", exact=True).click()
    notice(page, "good", f"lena is now called {long}.")
    look(page, f"streamlit_long_dialog_{size}")
    page.keyboard.press("Escape")
    go(page, app[1], "verify")
    claim(page, long)
    give(page, image("camera_0.jpg"))
    verdict(page, "Welcome in")
    for name in ("verify", "people"):
        if name == "people":
            go(page, app[1], name)
        look(page, f"streamlit_long_{name}_{size}")
        assert page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth") <= 0, name
