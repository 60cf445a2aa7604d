"""An address leads to its engine; other arguments, and missing packages, are clear errors."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from facerec.database import BadDatabase, FaceDatabase
from facerec.errors import BadArgument
from tests.facerec.database.helpers import unit
from tools.ports import free_port


@pytest.mark.parametrize("where", [None, {}, 5, "", "  ", "a\0b", "milvus:", b"people.db", io.BytesIO()])
def test_bad_address_is_rejected_and_no_file_appears(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadArgument, match="^where"):
        FaceDatabase(where)
    assert list(tmp_path.iterdir()) == []


def test_arguments_in_the_wrong_order_are_rejected(tmp_path, monkeypatch, small_network):
    monkeypatch.chdir(tmp_path)
    for swapped in ((small_network,), (small_network, "people.db")):
        with pytest.raises(BadArgument, match=r"^where must be a path, .*; it is a Functional: FaceDatabase\(where"):
            FaceDatabase(*swapped)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["", "milvus:"])
def test_folders_are_made_and_tilde_is_the_home_folder(tmp_path, monkeypatch, kind):
    if kind:
        pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with FaceDatabase(f"{kind}~/faces/here/people.db") as database:
        assert database.where == f"{kind}{tmp_path / 'faces' / 'here' / 'people.db'}"
        assert (tmp_path / "faces" / "here" / "people.db").exists()
        database["lena"] = unit(1)[0]
        database.export_to("~/elsewhere/people.zip")
        assert (tmp_path / "elsewhere" / "people.zip").exists()
        assert database.import_from(Path("~/elsewhere/people.zip"), on_conflict="replace") == 1


HEAVY = {"faiss", "keras", "milvus_lite", "pandas", "pymilvus", "tensorflow", "tqdm", "facerec.database.milvus"}

#: One use after the other, and which of the heavy packages are imported by then.
USES = {
    "import facerec.database": set(),
    "d = facerec.database.FaceDatabase(':memory:'); d['lena'] = np.eye(32)[0]; d.nearest(np.eye(32)[0])": set(),
    "d.people()": {"pandas"},
    "from facerec.database.sqlite import memory; memory.INDEX_FROM = 20; "
    "d.update((str(i), e) for i, e in enumerate(np.eye(32))); d.settle()": {"pandas", "faiss"},
}


def test_heavy_packages_are_imported_only_when_they_are_needed():
    code = "\n".join(f"{use}; print(*{HEAVY} & {{*sys.modules}})" for use in USES)
    command = [sys.executable, "-c", f"import sys, numpy as np\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert [{*line.split()} for line in done.stdout.splitlines()] == list(USES.values()), done.stderr


@pytest.mark.parametrize("where", ["milvus:people.db", "http://localhost:19530"])
def test_milvus_address_without_pymilvus_says_what_to_install(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "pymilvus", None)  # as if it were not installed
    with pytest.raises(BadArgument, match=r'is Milvus, which needs: pip install "face-recognition-course\[scale\]"'):
        FaceDatabase(where)


def test_arguments_for_milvus_are_rejected_elsewhere():
    with pytest.raises(BadArgument, match="token: for Milvus only"):
        FaceDatabase(":memory:", token="x")


def test_unreachable_milvus_is_reported_in_our_words():
    pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    where = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(BadDatabase, match=f"^no Milvus answers at {where}: is it running, and is that its address[?]$"):
        FaceDatabase(where, timeout=0.5)
