"""Searched pictures: who is in them at any threshold, what is doubtful, and which unknown faces are one person."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from apps import certainty
from apps.pictures import jpeg
from apps.streamlit import searching
from apps.streamlit.cards import card
from apps.streamlit.decisions import spreadsheet_csv
from apps.streamlit.searching import Face, Searched, recognise, strangers
from facerec.database import FaceDatabase
from facerec.gallery import LastingGallery
from facerec.photos import load_image


def at(degrees: float) -> np.ndarray:
    """An encoding at an angle: two of them are 2 sin(half the angle between) apart."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0], np.float32)


def face(degrees: float, *hints: str) -> Face:
    return Face((10, 10, 20, 20), at(degrees), b"", hints)


@pytest.fixture
def people(monkeypatch) -> FaceDatabase:
    """Two people, 90 degrees apart, and a network that holds 30 degrees (0.52) for even odds."""
    database = FaceDatabase(":memory:")
    database["lena"], database["otto"] = at(0), at(90)
    monkeypatch.setattr(searching, "open_gallery", lambda database, model: LastingGallery(database))
    monkeypatch.setattr(searching, "info_of", lambda model: SimpleNamespace(cluster_threshold=0.4))
    monkeypatch.setattr(certainty, "confidence", lambda d, model: 1 / (1 + np.exp(40 * (np.asarray(d) - 0.52))))
    return database


PHOTO = jpeg(np.zeros((60, 80, 3), np.uint8))

BATCH = [
    Searched("a.jpg", PHOTO, (face(10), face(-40, "the face is small"), face(28.5))),
    Searched("b.jpg", None, (), "b.jpg is damaged"),
    Searched("c.jpg", PHOTO, (face(-45), face(-130))),
]


def test_each_face_has_a_row_and_a_picture_without_one_too(people):
    table = recognise(BATCH, people, None, 0.5)
    assert table.index.tolist() == [0, 0, 0, 1, 2, 2]
    assert table.who.tolist() == ["lena", "unknown", "lena", "", "unknown", "unknown"]
    assert table.status.tolist() == ["known", "unknown", "doubtful", "", "unknown", "unknown"]
    assert table.problem.tolist() == ["", "", "", "b.jpg is damaged", "", ""]
    assert table.others.tolist()[0] == "lena 0.17; otto 1.29"


def test_threshold_alone_changes_who_is_known(people):
    assert recognise(BATCH, people, None, 0.1).who.tolist().count("unknown") == 5
    forced = recognise(BATCH, people, None, 0.8)
    assert forced.who[0].tolist()[1] == "lena" and forced.status[0].tolist()[1] == "doubtful"  # against the network


def test_table_as_csv_has_whole_numbers_and_few_digits(people):
    data = spreadsheet_csv(recognise(BATCH, people, None, 0.5)).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(data)))
    assert [row["face"] for row in rows] == ["1", "2", "3", "", "1", "2"]
    assert rows[0]["distance"] == "0.174" and len(rows[1]["confidence"]) <= 5 and rows[3]["distance"] == ""


def test_unknown_faces_of_one_person_are_one_group(people):
    table = recognise(BATCH, people, None, 0.5)
    groups = strangers(BATCH, table, None)
    assert [len(group) for group in groups] == [2, 1]
    assert groups[0][0] in (BATCH[0].faces[1], BATCH[2].faces[0]) and groups[1][0] is BATCH[2].faces[1]
    assert strangers(BATCH[1:2], table.loc[[1]], None) == []


def test_card_lists_the_chosen_faces_and_numbers_all(people, monkeypatch):
    table, labels = recognise(BATCH, people, None, 0.5), []
    monkeypatch.setattr(searching, "annotate", lambda photo, tracks: labels.extend(t.label for t in tracks) or photo)
    rows = table.loc[[0]]
    shown = card(BATCH[0], rows, rows[rows.who == "unknown"])
    assert labels == ["1 lena", "2 unknown", "3 lena"]
    assert "2 · Unknown" in shown and "1 · lena" not in shown and "the face is small" in shown
    shown = card(BATCH[0], rows, rows)
    assert "3 · lena?" in shown and "please check" in shown
    assert "b.jpg is damaged" in card(BATCH[1], table.loc[[1]], table.loc[[1]])


def test_sideways_photo_of_a_phone_is_opened_turned_and_searched(network, photos, database):
    from apps.streamlit import shared

    file = io.BytesIO()
    lying = Image.fromarray(np.rot90(photos["camera_0"]).copy())
    pillow_heif.from_pillow(lying).save(file, quality=90)
    found = searching.search(shared.opened(file.getvalue(), "IMG_1.HEIC"), "IMG_1.HEIC", network)
    table = recognise([found], database, network, 0.62)
    assert table.who.tolist() == ["lena"] and table.status.tolist() == ["known"]
    assert "the picture was turned by 90° to the right: no clear face was upright in it" in found.faces[0].hints
    assert load_image(found.picture).shape == photos["camera_0"].shape
