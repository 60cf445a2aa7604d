"""The camera in a cell of a real JupyterLab, in a real Chromium whose fake camera shows our pictures.

`make test-browser` runs these; they need Chromium (if it is not on the path, CHROMIUM names it).
"""

import sys
import time
from pathlib import Path

import cv2
import nbformat
import pytest

from facerec._files import ROOT
from facerec.photos import load_image
from tests import chromium as chromium_here
from tests.chromium import CHROMIUM, FAKE_CAMERA, NEEDED, serving, write_film
from tools.ports import free_port

ELSEWHERE = "jupyter.example"  # another name for our server, so that its pages are not from this computer
QUIET = [*chromium_here.QUIET, f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"]

pytestmark = [pytest.mark.browser, NEEDED]

CELLS = [
    "from facerec.live.widget import CameraWidget\nme = CameraWidget()\nme",
    "print('photo', None if me.photo is None else (me.photo.shape, str(me.photo.dtype)), len(me.photos), me.problem)",
    "from fr_utils import build_database, load_facenet, who_is_it\nFRmodel = load_facenet()\n"
    "database, _ = build_database('images', FRmodel, progress=False)\n_ = who_is_it(me.photo, database, FRmodel)",
]


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A JupyterLab server with the notebook of CELLS: its port."""
    home = tmp_path_factory.mktemp("lab")
    cells = [nbformat.v4.new_code_cell(source) for source in ["import os\nos.chdir(os.environ['COURSE'])", *CELLS]]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), home / "me.ipynb")
    port = free_port()
    settings = {"COURSE": ROOT, "PYTHONPATH": ROOT, "JUPYTER_CONFIG_DIR": home / "config", "HOME": home}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
        f"--port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={home}", "--IdentityProvider.token=", "--ServerApp.allow_remote_access=True",
        "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    with serving(command, f"http://127.0.0.1:{port}/api", home / "lab.log", settings):
        yield port


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> Path:
    """What the fake camera shows: Lena at the camera, 640×480, again and again."""
    return write_film(load_image(ROOT / "images" / "camera_0.jpg"), tmp_path_factory.mktemp("film") / "lena.mjpeg")


@pytest.fixture
def chromium(request):
    """A function that starts Chromium and opens the notebook, with or without permission to use the camera."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = []

        def start(*options: str, host: str = "localhost", port: int, allowed: bool = True):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *options])
            started.append(browser)
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            if allowed:
                context.grant_permissions(["camera"], origin=f"http://{host}:{port}")
            page = context.new_page()
            page.goto(f"http://{host}:{port}/lab/tree/me.ipynb?reset")
            return Notebook(page)

        yield start
        for browser in started:
            browser.close()


class Notebook:
    """The open notebook: run a cell, read its output."""

    def __init__(self, page):
        self.page = page
        page.set_default_timeout(90_000)
        page.locator(".jp-Notebook .jp-Cell").nth(len(CELLS)).wait_for()
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
        self.run(0)

    def run(self, number: int) -> str:
        """Run a cell (0 changes the folder) and return what it printed."""
        cell = self.page.locator(".jp-Notebook .jp-Cell").nth(number)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.text_content()
        pressed, deadline = 0.0, time.monotonic() + 90
        while time.monotonic() < deadline:
            now = prompt.text_content()
            if now == before and time.monotonic() > pressed + 15:  # a server that has just started may miss a key
                cell.locator(".cm-content").click()
                self.page.keyboard.press("Control+Enter")
                pressed = time.monotonic()
            if now != before and "*" not in now:
                self.page.wait_for_timeout(300)
                return "\n".join(cell.locator(".jp-OutputArea-output pre").all_text_contents())
            time.sleep(0.1)
        self.look("stuck")
        raise AssertionError(f"cell {number} is not done: {prompt.text_content()}")

    def camera(self):
        """Show the widget and return its element in the page."""
        self.run(1)
        widget = self.page.locator(".camera-widget").last
        widget.wait_for()
        return widget

    def wait_for_status(self, widget, text: str) -> str:
        """Wait until the line below the camera contains this text; returns the whole line."""
        line = widget.locator(".camera-status")
        line.filter(has_text=text).wait_for()
        return line.text_content()

    def look(self, name: str) -> None:
        """Keep a picture of the page in ``build/``, for people to look at."""
        (ROOT / "build").mkdir(exist_ok=True)
        self.page.screenshot(path=ROOT / "build" / f"browser_{name}.png")


@pytest.fixture
def notebook(lab, film, chromium) -> Notebook:
    return chromium(FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}", port=lab)


def test_space_bar_takes_a_picture_that_python_recognises(notebook):
    widget = notebook.camera()
    assert notebook.run(2).strip() == "photo None 0"
    widget.get_by_role("button", name="Start the camera").click()
    notebook.wait_for_status(widget, "press the space bar")
    assert widget.locator("video").evaluate("v => [v.videoWidth, v.videoHeight, v.paused]") == [640, 480, False]
    notebook.page.keyboard.press("Space")  # the widget has the focus
    assert "640×480 pixels, one face" in notebook.wait_for_status(widget, "pixels")
    notebook.look("camera")
    assert notebook.run(2).strip() == "photo ((480, 640, 3), 'uint8') 1"
    assert "lena" in notebook.run(3)  # a mirrored face would be, too: the next test tells them apart
    widget.get_by_role("button", name="Take a picture").click()
    notebook.wait_for_status(widget, "Picture 2: 640×480")
    assert notebook.run(2).strip() == "photo ((480, 640, 3), 'uint8') 2"


def test_keys_do_not_reach_the_notebook_and_the_picture_is_not_mirrored(lab, chromium, tmp_path):
    halves = load_image(ROOT / "images" / "camera_0.jpg")[:240, :320].copy()
    halves[:, :160], halves[:, 160:] = (220, 20, 20), (20, 20, 220)  # red on the left
    (tmp_path / "halves.mjpeg").write_bytes(cv2.imencode(".jpg", halves[..., ::-1])[1].tobytes() * 30)
    notebook = chromium(FAKE_CAMERA, f"--use-file-for-fake-video-capture={tmp_path / 'halves.mjpeg'}", port=lab)
    widget = notebook.camera()
    cells = notebook.page.locator(".jp-Notebook .jp-Cell").count()
    widget.get_by_role("button", name="Start the camera").click()
    notebook.wait_for_status(widget, "press the space bar")
    for key in ("a", "b", "d", "d", "Space"):  # commands of the notebook: new cells, and one deleted
        notebook.page.keyboard.press(key)
    assert "no face found" in notebook.wait_for_status(widget, "pixels")
    assert notebook.page.locator(".jp-Notebook .jp-Cell").count() == cells
    cell = notebook.page.locator(".jp-Notebook .jp-Cell").nth(2)
    cell.locator(".cm-content").click()
    notebook.page.keyboard.press("Control+a")
    notebook.page.keyboard.insert_text("print(*(me.photo[120, [40, -40]] > 128).astype(int))")
    assert notebook.run(2).strip() == "[1 0 0] [0 0 1]"


def test_pictures_are_taken_every_second_until_the_box_is_cleared(notebook):
    widget = notebook.camera()
    widget.get_by_role("button", name="Start the camera").click()
    notebook.wait_for_status(widget, "press the space bar")
    widget.get_by_role("checkbox").check()
    notebook.wait_for_status(widget, "Picture 3: ")
    widget.get_by_role("checkbox").uncheck()
    counts = [notebook.run(2)]
    while len(counts) < 2 or (counts[-1] != counts[-2] and len(counts) < 20):  # the last one may still be on its way
        notebook.page.wait_for_timeout(2500)
        counts.append(notebook.run(2))
    assert counts[-1] == counts[-2] and int(counts[-1].split()[-1]) >= 3


def test_blocked_camera_is_explained_and_a_file_can_be_chosen(lab, film, chromium):
    options = [FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}", "--deny-permission-prompts"]
    notebook = chromium(*options, port=lab, allowed=False)
    widget = notebook.camera()
    widget.get_by_role("button", name="Start the camera").click()
    assert "choose a picture instead" in notebook.wait_for_status(widget, "The camera is blocked")
    notebook.look("refused")
    assert "The camera is blocked" in notebook.run(2)
    widget.locator("input[type=file]").set_input_files(ROOT / "images" / "camera_0.jpg")
    assert "one face" in notebook.wait_for_status(widget, "pixels")
    assert f"photo ({load_image(ROOT / 'images' / 'camera_0.jpg').shape}, 'uint8') 1" in notebook.run(2)
    assert "lena" in notebook.run(3)


def test_missing_camera_is_explained(lab, chromium):
    notebook = chromium(port=lab)
    widget = notebook.camera()
    widget.get_by_role("button", name="Start the camera").click()
    assert "choose a picture instead" in notebook.wait_for_status(widget, "This device has no camera.")
    assert "no camera" in notebook.run(2)


def test_file_that_is_not_a_picture_is_named(lab, chromium, tmp_path):
    notebook = chromium(port=lab)
    widget = notebook.camera()
    (tmp_path / "letter.jpg").write_text("Dear camera")
    widget.locator("input[type=file]").set_input_files(tmp_path / "letter.jpg")
    notebook.wait_for_status(widget, "letter.jpg is not a picture that this browser can open")
    assert "photo None 0" in notebook.run(2)


def test_jupyter_on_another_machine_works_over_https_only(lab, film, chromium):
    options = [FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}"]
    notebook = chromium(*options, host=ELSEWHERE, port=lab, allowed=False)
    widget = notebook.camera()
    widget.get_by_role("button", name="Start the camera").click()
    notebook.wait_for_status(widget, "only with pages from this computer (localhost) or over https")
    safe = f"--unsafely-treat-insecure-origin-as-secure=http://{ELSEWHERE}:{lab}"  # as if it came from https
    notebook = chromium(*options, safe, "--use-fake-ui-for-media-stream", host=ELSEWHERE, port=lab, allowed=False)
    widget = notebook.camera()
    widget.get_by_role("button", name="Start the camera").click()
    notebook.wait_for_status(widget, "press the space bar")
    notebook.page.keyboard.press("Space")
    assert "one face" in notebook.wait_for_status(widget, "pixels")
