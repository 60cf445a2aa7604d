"""Every door through which a picture comes in: files that attack are refused there, before a decoder sees them."""

from __future__ import annotations

import hashlib
import re
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from apps.flask.app import create_app
from apps.streamlit import bulk, shared
from facerec.database import FaceDatabase
from facerec.errors import UnreadableImage
from facerec.live.widget import CameraWidget
from facerec.photos import load_image
from tests.apps.flask.clients import FREE, LENA, Visitor
from tests.attacks import ATTACKS
from tests.facerec.database.test_archive import rebuilt

SIZE = 300_000  # bytes of a file

ATTACKING = ("JPEG of thousands of scans", "PNG with private chunks", "GIF with comments", "TIFF of strips")


# ------------------------------------------------------------------------------------- the doors of the library
def by_path(data: bytes, here) -> str:
    """The command line and the notebooks: ``who``, ``verify``, ``enrol``."""
    (here / "door.jpg").write_bytes(data)
    return refusal(load_image, here / "door.jpg")


def by_a_page_of_a_notebook(data: bytes, here) -> str:
    """The camera in a notebook's cell."""
    said, widget = [], CameraWidget()
    widget.send = said.append
    widget._hear({"kind": "photo", "number": 1}, [memoryview(data)])
    return said[0]["text"]


def by_adding_a_photo(data: bytes, here) -> str:
    """``FaceDatabase.add`` with the bytes of a file."""
    with FaceDatabase(":memory:") as database:
        return refusal(lambda: database.add("lena", np.eye(12)[0], data))


def by_an_archive(data: bytes, here) -> str:
    """``import_from``, and the import of the Streamlit app."""
    with FaceDatabase(":memory:") as database:
        database.add("lena", np.eye(12)[0], LENA)
        database.export_to(here / "people.zip")
        digest = hashlib.sha256(data).hexdigest()
        changed = rebuilt(
            here / "people.zip",
            lambda manifest: manifest["people"][0]["photos"][0].update(sha256=digest),
            {"photos/1.jpg": data},
        )
        with pytest.warns(UserWarning) as warned:
            database.import_from(changed, "replace")
    return str(warned[0].message)


# ----------------------------------------------------------------------------------------- the doors of the apps
def by_the_flask_app(data: bytes, here) -> str:
    """Both pictures of a comparison, and the one that is looked at before."""
    visitor = Visitor(create_app({"COMPARER": SimpleNamespace(), **FREE}))
    answers = [visitor.detect(data), visitor.compare(data, data)]
    assert [answer.status_code for answer in answers] == [422, 422]
    return answers[0].json["detail"]


def by_an_upload_to_streamlit(data: bytes, here) -> str:
    """Verify, Recognise, Compare and People."""
    return refusal(shared.opened, data, "door.jpg")


def by_a_zip_for_streamlit(data: bytes, here) -> str:
    """Add many."""
    with zipfile.ZipFile(here / "many.zip", "w") as archive:
        archive.writestr("lena.jpg", data)
    with FaceDatabase(":memory:") as database:
        table = bulk.enrol_all(here / "many.zip", lambda: database, "skip", False, lambda done, of: None)
        assert len(database) == 0
    return table.remark[0]


def refusal(work, *args) -> str:
    """What the error says that refuses a picture."""
    with pytest.raises(UnreadableImage) as raised:
        work(*args)
    return str(raised.value)


DOORS = [
    by_path,
    by_a_page_of_a_notebook,
    by_adding_a_photo,
    by_an_archive,
    by_the_flask_app,
    by_an_upload_to_streamlit,
    by_a_zip_for_streamlit,
]


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """How many bytes each file has that Pillow was given."""
    given, open_ = [], Image.open

    def noted(stream, *args, **more):
        given.append(len(stream.read()))
        stream.seek(0)
        return open_(stream, *args, **more)

    monkeypatch.setattr(Image, "open", noted)
    return given


@pytest.mark.parametrize("label", ATTACKING)
@pytest.mark.parametrize("door", DOORS)
def test_attack_is_refused_at_the_door(door, label, decoded, toy_model, tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "model", lambda: toy_model)
    data = ATTACKS[label](np.random.default_rng(0), SIZE)
    said = door(data, tmp_path)
    assert re.search(f"{label[:3]}|takes too long|scans|chunks|notes|strips", said), said
    assert all(count < SIZE / 2 for count in decoded)


def test_attack_is_refused_by_every_path_of_the_api(toy, decoded):
    """Each path of the description that takes a picture."""
    paths = [path for path, ways in toy.openapi()["paths"].items() if "multipart/form-data" in str(ways)]
    assert len(paths) == 4
    with TestClient(toy) as client:
        client.headers["Authorization"] = f"Bearer {toy.state.keys.make('doors', write=True)}"
        toy.state.service.people["lena"] = np.eye(12)[0]
        for path in paths:
            for label in ATTACKING:
                files = {"photo": ("door.jpg", ATTACKS[label](np.random.default_rng(0), SIZE))}
                answer = client.post(path.format(identity="lena"), files=files, data={"identity": "lena"})
                assert (answer.status_code, answer.json()["reason"]) == (422, "unreadable"), (path, label)
        assert toy.state.service.people.people().encodings.tolist() == [1]
    assert decoded == []
