"""Photos of people who do not exist, turned: each is read rightly, and one without a face is not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from facerec.errors import BadArgument
from tools.measure import turned


def test_turned_photos_are_counted_as_read_rightly(images, tmp_path, monkeypatch):
    folder = tmp_path / "photos" / "below"
    folder.mkdir(parents=True)
    for name in ("kofi", "anna"):
        shutil.copy(images / f"{name}.jpg", folder)
    Image.fromarray(np.zeros((80, 80, 3), np.uint8)).save(folder / "night.jpg")
    monkeypatch.setattr("sys.argv", ["turned.py", str(tmp_path / "photos"), "--to", str(tmp_path / "turned.json")])
    turned.main()
    (row,) = json.loads((tmp_path / "turned.json").read_text())["folders"].values()
    assert row == {"photos": 3, "read_rightly": {"0": 2, "90": 2, "180": 2, "270": 2}}


def test_empty_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["turned.py", str(tmp_path)])
    with pytest.raises(BadArgument, match="holds no .jpg files"):
        turned.main()
