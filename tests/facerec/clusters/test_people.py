"""The pictures of people who do not exist, grouped without names, and the album of them in a folder."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facerec.clusters import album, cluster_photos, people, write_album
from facerec.encoding import Found
from facerec.errors import BadArgument, EmptyDatabase
from facerec.photos import load_image

#: The files of the folder, and who is on each; one is at the bottom of folders.
SHOWN = {
    "lena.jpg": "lena",
    "2024/06/camera_0.jpg": "lena",
    "otto.jpg": "otto",
    "camera_11 <b>&.jpg": "otto",
    "anna.jpg": "anna",
}
TABLE = ["photo", "face", "box", "turn", "cluster", "distance", "identity"]


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "holiday"
    for name in SHOWN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(images / f"{re.match(r'[a-z]+(_[0-9]+)?', Path(name).name)[0]}.jpg", folder / name)
    (folder / "notes.txt").write_text("no picture, and nothing to complain about")
    (folder / "torn.jpg").write_bytes(b"half a picture")
    Image.new("RGB", (64, 64), "grey").save(folder / "fog.jpg")
    return folder


@pytest.fixture(scope="module")
def found(folder, network) -> tuple[pd.DataFrame, pd.DataFrame]:
    return cluster_photos(folder, network, progress=False)


@pytest.fixture(scope="module")
def written(found, tmp_path_factory) -> Path:
    table = found[0].copy()
    table["identity"] = np.where(table.cluster == table.cluster[0], "../<i>Lena & co", None)
    table["identity"] = table.identity.astype(object).where(table.identity.notna(), None)
    return write_album(table, tmp_path_factory.mktemp("album") / "holiday")


def clusters(table: pd.DataFrame) -> set[frozenset[str]]:
    return {frozenset(Path(photo).name for photo in rows.photo) for _, rows in table.groupby("cluster")}


def test_faces_of_one_person_come_together(folder, found):
    table, problems = found
    assert list(table.columns) == TABLE and len(table) == len(SHOWN)
    expected = {frozenset(Path(file).name for file in SHOWN if SHOWN[file] == who) for who in set(SHOWN.values())}
    assert clusters(table) == expected
    assert {path.relative_to(folder).as_posix() for path in table.photo} == set(SHOWN)
    assert table.identity.isna().all() and table.cluster.is_monotonic_increasing
    assert (table.distance[table.cluster == 2] == 0).all() and (table.distance[table.cluster < 2] > 0.05).all()


def test_problems_name_the_file_and_the_reason(found):
    reasons = dict(found[1].itertuples(index=False))
    assert list(found[1].columns) == ["file", "reason"] and set(reasons) == {"torn.jpg", "fog.jpg"}
    assert reasons["fog.jpg"].startswith("no face in fog.jpg (64×64)")
    assert reasons["torn.jpg"].startswith("torn.jpg is not a picture that can be opened")


@pytest.fixture
def three_faces(small_network, monkeypatch):
    """Two photos: two faces of one person in the first, one of another person in the second; and their network."""
    dark, bright, other = (np.full((8, 8, 3), value, np.uint8) for value in (90, 95, 0))
    other[:4] = 255
    shown = {"one.jpg": [dark, bright], "two.jpg": [other]}

    def find(files):
        seen = {"keypoints": {}, "score": 1.0, "turn": 0}
        return [
            [Found(face, {"box": (i, 0, 8, 8), **seen}, 1) for i, face in enumerate(faces)]
            for faces in (shown[Path(file).name] for file in files)
        ]

    monkeypatch.setattr(people, "find_all_faces", find)
    monkeypatch.setattr(people, "_aligned", lambda face, info: face.photo)
    encoded = {name: people.faces_to_encodings(np.stack(faces), small_network) for name, faces in shown.items()}
    return list(shown), small_network, encoded


def test_database_names_clusters_and_merges_those_of_one_person(three_faces):
    files, network, encoded = three_faces
    one, two = encoded["one.jpg"][0], encoded["two.jpg"][0]
    apart = float(np.linalg.norm(one - two))
    table, _ = cluster_photos(files, network, 0.9 * apart, progress=False)
    assert table.cluster.tolist() == [0, 0, 1] and table.face.tolist() == [0, 1, 0] and table.identity.isna().all()
    between = (one + two) / np.linalg.norm(one + two)
    table, _ = cluster_photos(files, network, 0.9 * apart, {"ida": between}, progress=False)
    assert table.cluster.tolist() == [0, 0, 0] and table.identity.tolist() == ["ida"] * 3
    table, _ = cluster_photos(files, network, 0.9 * apart, {"ida": two, "ole": -two}, progress=False)
    assert table.cluster.tolist() == [0, 0, 1] and table.identity.tolist() == [None, None, "ida"]


def test_threshold_is_that_of_the_network(three_faces):
    files, network, encoded = three_faces
    apart = float(np.linalg.norm(encoded["one.jpg"][0] - encoded["two.jpg"][0]))
    info = people.info_of(network)
    for threshold, expected in ((1.1 * apart, 0), (0.9 * apart, 1)):
        network.facenet = people.FaceNetInfo(info.name, info.side, cluster_threshold=threshold)
        assert cluster_photos(files, network, progress=False)[0].cluster.max() == expected


@pytest.mark.parametrize(("photos", "message"), [("nowhere", "does not exist"), (3, "is an int"), ([3], "is an int")])
def test_photos_must_be_a_folder_or_files(photos, message, small_network):
    with pytest.raises(BadArgument, match=message):
        cluster_photos(photos, small_network, progress=False)


def test_no_photos_or_an_empty_database_give_no_clusters(small_network):
    table, problems = cluster_photos([], small_network, progress=False)
    assert list(table.columns) == TABLE and len(table) == len(problems) == 0
    with pytest.raises(EmptyDatabase):
        cluster_photos([], small_network, database={}, progress=False)


# ------------------------------------------------------------------------------------------------ the album
def test_album_has_a_folder_of_links_for_each_person(folder, written):
    folders = [path for path in written.parent.iterdir() if path.is_dir()]
    inside = {path.name: sorted(file.name for file in path.iterdir()) for path in folders}
    assert set(inside) == {"_i_Lena & co", "Person 2", "seen once"}  # the first is Lena
    assert sorted(sum(inside.values(), [])) == sorted(Path(file).name for file in SHOWN)
    for link in written.parent.glob("*/*.jpg"):
        assert link.is_symlink() and link.resolve().is_relative_to(folder.resolve())


def test_page_shows_every_face_with_escaped_names_and_nothing_from_outside(written):
    page = written.read_text(encoding="utf-8")
    assert "../&lt;i&gt;Lena &amp; co</h2>" in page and "<i>" not in page and "<b>" not in page
    assert 'alt="Face 1 of camera_11 &lt;b&gt;&amp;.jpg"' in page
    items = re.findall(r'<li><a href="([^"#]+)"><figure><img src="([^"]+)"', page)
    assert len(items) == len(SHOWN)
    for href, crop in items:
        data = base64.b64decode(crop.removeprefix("data:image/jpeg;base64,"))
        assert Image.open(io.BytesIO(data)).size == (album.CROP_SIDE, album.CROP_SIDE)
        assert (written.parent / people.Path(_unquote(href))).is_file()
    assert not re.search(r"https?://|<script|url\(", page)
    assert all(ident in page for ident in re.findall(r'href="#(\w+)"', page))


def _unquote(href: str) -> str:
    from urllib.parse import unquote

    return unquote(html.unescape(href))


def pixels_of(crop: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(crop.partition(",")[2]))))


def test_crop_shows_the_face_and_stays_inside_the_photo(images):
    photo = load_image(images / "lena.jpg")
    photo[:, :40] = (255, 0, 0)
    pixels = pixels_of(album.crop_of(photo, (0, 0, 40, 40)))  # at the corner, where half of the margin is missing
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 90)
    assert red[:, :110].mean() > 0.95 and red[:, 125:].mean() < 0.05  # 40 of 60 pixels


def test_face_of_a_photo_on_its_side_is_shown_upright(images):
    photo, box = load_image(images / "lena.jpg"), (60, 40, 100, 120)
    lying = np.ascontiguousarray(np.rot90(photo))  # anticlockwise: its right edge is on top
    turned = (box[1], photo.shape[1] - box[0] - box[2], box[3], box[2])
    shown, expected = pixels_of(album.crop_of(lying, turned, turn=90)), pixels_of(album.crop_of(photo, box))
    assert np.abs(shown.astype(int) - expected).mean() < 2


def test_photos_of_one_name_do_not_overwrite_each_other_and_a_copy_stands_in_for_a_link(found, tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    table = found[0].head(2).copy()
    for i, photo in enumerate(table.photo):
        (tmp_path / str(i)).mkdir()
        shutil.copyfile(photo, tmp_path / str(i) / "a.jpg")
    table["photo"] = [tmp_path / "0" / "a.jpg", tmp_path / "1" / "a.jpg"]
    copies = write_album(table, tmp_path / "album").parent / "Person 1"
    assert sorted(path.name for path in copies.iterdir()) == ["a (2).jpg", "a.jpg"]
    originals = [(tmp_path / str(i) / "a.jpg").read_bytes() for i in (0, 1)]
    assert [(copies / name).read_bytes() for name in ("a.jpg", "a (2).jpg")] == originals


def test_album_overwrites_nothing_and_leaves_nothing_of_a_failure(found, tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(BadArgument, match="an album overwrites nothing"):
        write_album(found[0], tmp_path)
    with pytest.raises(BadArgument, match="the table has no faces"):
        write_album(found[0].head(0), tmp_path / "album")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
