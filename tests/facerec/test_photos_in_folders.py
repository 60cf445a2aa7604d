"""Pictures in folders and zip files: which are listed, and under which names."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from facerec.errors import BadArgument
from facerec.photos import files_in, load_image, open_zip

BLANK = np.full((60, 80, 3), 128, np.uint8)


def test_names_that_lead_out_of_a_zip_file_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as archive:
        for name in ("lena/1.jpg", "../otto.jpg", "/etc/mei.jpg", "a/../../b.jpg", "c:\\jun.jpg", "..\\ines.jpg"):
            archive.writestr(name, b"")
    with pytest.warns(UserWarning, match=r"lead out of it: \.\./otto\.jpg, /etc/mei\.jpg, .*\.\./ines\.jpg$"):
        assert files_in(tmp_path / "people.zip") == [Path("lena/1.jpg")]


def test_files_of_linked_folders_are_found_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "photos" / "own").mkdir(parents=True)
    for file in ("real/1.jpg", "photos/own/2.jpg"):
        (tmp_path / file).touch()
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "photos" / "own" / "above").symlink_to(tmp_path / "photos")
    assert files_in(tmp_path / "photos") == [Path("linked/1.jpg"), Path("own/2.jpg")]
    (tmp_path / "photos" / "another").symlink_to(tmp_path / "photos" / "own")
    (tmp_path / "photos" / "zlinked").symlink_to(tmp_path / "real")
    (tmp_path / "photos" / ".hidden").mkdir()
    (tmp_path / "photos" / ".hidden" / "3.jpg").touch()
    (tmp_path / "photos" / "shown").symlink_to(tmp_path / "photos" / ".hidden")
    assert [file.as_posix() for file in files_in(tmp_path / "photos")] == ["linked/1.jpg", "own/2.jpg", "shown/3.jpg"]


def test_names_in_a_zip_file_are_found_as_they_are_listed(tmp_path):
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as archive:
        for name in ("./lena/1.jpg", "otto//2.jpg", "otto/"):
            archive.writestr(name, name)
    files = files_in(tmp_path / "people.zip")
    assert files == [Path("lena/1.jpg"), Path("otto/2.jpg")]
    assert [open_zip(tmp_path / "people.zip").read(file.as_posix()) for file in files] == [
        b"./lena/1.jpg",
        b"otto//2.jpg",
    ]
    (tmp_path / "bad.zip").write_bytes(b"PK")
    with pytest.raises(BadArgument, match="bad.zip is not a whole zip file"):
        files_in(tmp_path / "bad.zip" / "lena")


@pytest.mark.parametrize(("said", "name"), [("utf-8", "Zoë"), ("cp437", "Jörg")])
def test_zip_file_that_does_not_name_its_alphabet(said, name, tmp_path):
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as archive:
        archive.writestr("XXXX", b"")
    data = (tmp_path / "people.zip").read_bytes()
    assert data.count(b"XXXX") == 2
    (tmp_path / "people.zip").write_bytes(data.replace(b"XXXX", name.encode(said).ljust(4, b"_")))
    assert files_in(tmp_path / "people.zip") == [Path(name.encode(said).ljust(4, b"_").decode(said))]


def test_zip_file_may_hold_the_backslashes_of_windows(images, tmp_path):
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as archive:
        archive.write(images / "lena.jpg", r"people\lena\1.jpg")
    (file,) = files_in(tmp_path / "people.zip")
    assert file == Path("people/lena/1.jpg")
    np.testing.assert_array_equal(load_image(tmp_path / "people.zip" / file), load_image(images / "lena.jpg"))
