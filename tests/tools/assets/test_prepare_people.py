"""The commands of prepare_people, and a preprocess that the system kills."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from facerec.errors import BadArgument
from facerec.learning.datasets import find_people
from facerec.learning.prepare import preprocess, read_report
from facerec.learning.selection import read_split
from facerec.photos import load_image, save_picture
from tests.facerec.learning.celeba import write_celeba
from tests.facerec.learning.resuming import files_in
from tools.assets.prepare_people import main


@pytest.fixture
def photos(tmp_path, images):
    """Three photos of two people, one damaged photo, and one without a face."""
    folder = tmp_path / "photos"
    for name, files in {"lena": ["lena", "camera_0"], "kofi": ["kofi"]}.items():
        (folder / name).mkdir(parents=True)
        for i, file in enumerate(files):
            shutil.copy(images / f"{file}.jpg", folder / name / f"{i}.jpg")
    (folder / "lena" / "2.jpg").write_bytes(b"no picture")
    Image.new("RGB", (200, 200), "grey").save(folder / "kofi" / "2.png")
    return folder


def test_preprocess_and_pack_commands_print_their_counts(photos, tmp_path, capsys):
    main(["preprocess", str(photos), "--to", str(tmp_path / "faces"), "--side", "32"])
    main(["pack", str(tmp_path / "faces"), "--to", str(tmp_path / "people.zip")])
    out = capsys.readouterr().out
    assert "3 faces of 2 people" in out and "dropped 1: no face found" in out and "3 pictures in " in out
    with pytest.raises(BadArgument, match="--side 3: at least 16"):
        main(["preprocess", str(photos), "--to", str(tmp_path / "x"), "--side", "3"])
    with pytest.raises(BadArgument, match="is neither a folder nor a zip file"):
        main(["preprocess", str(tmp_path / "nowhere"), "--to", str(tmp_path / "x")])


#: The command, but it never writes its third chunk: it waits there until it is killed.
ENDLESS = """
import sys, threading
from facerec.learning import prepare
from tools.assets.prepare_people import main

def add_two_chunks(*args, add=prepare.add_rows, written=[]):
    if len(written) == 2:
        threading.Event().wait()
    written.append(args)
    add(*args)

prepare.add_rows = add_two_chunks
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_preprocess_killed_by_the_system_resumes_byte_for_byte(images, tmp_path):
    """A real SIGKILL while later photos are being worked on."""
    for number, file in enumerate(sorted(images.glob("camera_*.jpg"))[:6]):
        (tmp_path / "photos" / f"p{number % 3}").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "photos" / f"p{number % 3}" / f"{number}.jpg")
    preprocess(tmp_path / "photos", tmp_path / "whole", chunk=2)
    command = ["preprocess", str(tmp_path / "photos"), "--to", str(tmp_path / "killed"), "--chunk", "2"]
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, *command], stderr=subprocess.DEVNULL)
    report, deadline = tmp_path / "killed" / "report.csv", time.monotonic() + 600
    while process.poll() is None and time.monotonic() < deadline:
        if report.is_file() and report.read_bytes().count(b"\n") >= 3:
            break
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(read_report(report)) in (2, 4)
    (tmp_path / "killed" / "p0").mkdir(exist_ok=True)
    (tmp_path / "killed" / "p0" / ".unfinished_1_0.jpg").write_bytes(b"half")  # what a kill may leave
    preprocess(tmp_path / "photos", tmp_path / "killed", chunk=2)
    assert files_in(tmp_path / "killed") == files_in(tmp_path / "whole")


@pytest.fixture
def celeba(tmp_path):
    return write_celeba(tmp_path / "celeba", people=40)


SIZES = {"train": (20, 4), "validation": (6, 4), "test": (4, 2)}


def test_split_command_writes_its_table_and_the_missing_pictures(celeba, tmp_path, capsys):
    (celeba / "img_align_celeba" / "000001.jpg").unlink()
    to = tmp_path / "out" / "split.csv"
    main(["split", str(celeba), "--to", str(to), "--train", "20x4", "--validation", "6x4", "--test", "4×2"])
    out = capsys.readouterr().out
    assert "train: 20 people × 4 pictures, 10 women and 10 men, 20 pictures with glasses" in out
    assert "1 listed pictures are missing" in out
    assert (tmp_path / "out" / "split_missing.csv").read_text().splitlines()[1:] == ["1,img_align_celeba/000001.jpg"]
    assert list(pd.read_csv(to)) == ["part", "identity", "picture", "gender", "glasses"]
    main(["split", str(celeba), "--to", str(to)])
    assert "train: 34 people × 6 pictures (fewer than published)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["split", str(celeba), "--to", str(to), "--train", "20"])
    assert "'20': expected people x pictures of each, for example 800x20" in capsys.readouterr().err


def test_preprocess_command_writes_a_folder_per_part(images, tmp_path):
    celeba = write_celeba(tmp_path / "celeba", people=4, pictures=2)
    for file in (celeba / "img_align_celeba").iterdir():
        shutil.copy(images / "lena.jpg", file)
    main(["split", str(celeba), "--to", str(tmp_path / "s.csv"), "--train=2x2", "--validation=1x2", "--test=1x1"])
    table = read_split(tmp_path / "s.csv")
    (celeba / table.picture[1]).unlink()
    main(["preprocess", str(celeba), "--split", str(tmp_path / "s.csv"), "--to", str(tmp_path / "faces"), "--side=32"])
    report = read_report(tmp_path / "faces" / "report.csv")
    assert report.picture.tolist() == table.picture.tolist() and report.part.tolist() == table.part.tolist()
    assert report.dropped.tolist() == ["", "the picture is missing", *[""] * 5]
    for part, people in {"train": 2, "validation": 1, "test": 1}.items():
        found = find_people(tmp_path / "faces" / part)
        assert set(found.identity) == set(table.identity[table.part == part]) and found.identity.nunique() == people
    everyone = preprocess(celeba, tmp_path / "all", side=32)
    assert len(everyone) == 8 and (everyone.dropped == "the picture is missing").sum() == 1
    assert (tmp_path / "all" / "3" / "000003.jpg").is_file() or "000003" in table.picture[1]


def test_clean_command_reports_applies_and_undoes(tmp_path, capsys):
    train = tmp_path / "faces" / "train"
    for picture in find_people("datasets/people.zip").picture[:16]:  # two people
        file = train / Path(picture).parent.name / Path(picture).name
        file.parent.mkdir(parents=True, exist_ok=True)
        save_picture(file, load_image(picture))
    (train / "p001" / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(BadArgument, match="--bits 17"):
        main(["clean", str(train), "--bits", "17"])
    with pytest.raises(BadArgument, match="--limit 0"):
        main(["clean", str(train), "--limit", "0"])
    main(["clean", str(train), "--limit", "100"])
    assert "can't be used" in capsys.readouterr().out
    with pytest.raises(BadArgument, match="clean.csv exists already: --apply it, or write a new one with --again"):
        main(["clean", str(train)])
    main(["clean", str(train), "--apply"])
    assert " pictures moved to " in capsys.readouterr().out and not (train / "p001" / "broken.jpg").exists()
    main(["clean", str(train), "--undo"])
    assert " pictures are back in " in capsys.readouterr().out and (train / "p001" / "broken.jpg").is_file()


def test_speed_command_measures_all_ways_on_the_same_photos(photos, capsys):
    for bad in ("lena/2.jpg", "kofi/2.png"):
        (photos / bad).unlink()
    main(["speed", str(photos), "--count", "3", "--rounds", "1"])
    out = capsys.readouterr().out
    assert re.search(r"detection alone: \d+\.\d photos per second; preprocess reaches \d+% of that", out)
    assert "preprocess: " in out and "reaches 100% of that" in out
