"""The search index: it finds who an exact search finds, and is made again whenever it does not fit."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from facerec.database import FaceDatabase, search
from facerec.database.sqlite import SQLite
from tests.facerec.database.helpers import D, exact, unit


def agrees(database: FaceDatabase, people: dict[str, np.ndarray], probes: np.ndarray, k: int = 3) -> bool:
    names, known = list(people), np.stack(list(people.values()))
    order = np.argsort(exact(known, probes), axis=1)[:, :k]
    identities, distances = database.nearest(probes, k)
    assert np.allclose(distances, np.take_along_axis(exact(known, probes), order, axis=1), atol=1e-6)
    return identities.tolist() == [[names[i] for i in row] for row in order]


def test_index_agrees_with_an_exact_search(indexed, path, asked):
    people = {str(i): encoding for i, encoding in enumerate(unit(3000, 1))}
    probes = np.concatenate([unit(50, 1), unit(50, 2)])
    assert agrees(indexed, people, probes)  # before there is one
    assert not asked
    assert indexed.settle()
    rows = indexed._engine.rows
    assert rows.index is not None
    assert len(rows.base) == 3000
    assert path.with_name("people.db.index").exists()
    assert agrees(indexed, people, probes)
    assert asked == [256]


def test_changes_after_the_index_was_built_count(indexed, monkeypatch, asked):
    people = {str(i): encoding for i, encoding in enumerate(unit(3000, 1))}
    indexed.settle()
    monkeypatch.setattr(indexed._engine, "_build_if_due", lambda: None)
    for i, encoding in enumerate(unit(40, 5)):
        indexed[f"new {i}"] = people[f"new {i}"] = encoding
        indexed.remove(str(i * 3))
        del people[str(i * 3)]
    indexed["4"] = people["4"] = unit(1, 77)[0]
    asked.clear()
    assert agrees(indexed, people, np.concatenate([unit(120, 1), unit(40, 5), unit(1, 77)]))
    assert asked
    assert indexed._engine.rows.index is not None
    assert indexed._engine.rows.late == 41


def test_search_is_exact_if_all_candidates_are_gone(indexed, asked):
    indexed.settle()
    probe = unit(1, 1)[0]
    order = np.argsort(exact(unit(3000, 1), probe[None])[0])
    with indexed._engine.change() as change:
        for i in order[:400]:
            change.drop(str(i))
    assert indexed.nearest(probe)[0][0, 0] == str(order[400])
    assert asked


def test_database_opens_with_its_index_file(indexed, path, monkeypatch, asked):
    indexed.settle()
    indexed["late"] = unit(1, 9)[0]
    indexed.remove("17")
    monkeypatch.setattr(SQLite, "_from_database", lambda *_: pytest.fail("everything was read anew"))
    with FaceDatabase(path) as again:
        assert again.nearest(unit(1, 9))[0][0, 0] == "late"
        assert again.nearest(unit(18, 1)[17])[0][0, 0] != "17"
        assert again._engine.rows.saved
    assert len(asked) == 2


def damage_middle(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def rewrite_header(file: Path, **entries) -> None:
    content = file.read_bytes()
    header = json.loads(content[:4096]) | entries
    file.write_bytes(json.dumps(header).encode().ljust(4096) + content[4096:])


BREAKAGES = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "a bit": damage_middle,
    "no JSON": lambda file: file.write_bytes(b"\xff" * 5000),
    "another database's": lambda file: rewrite_header(file, database="0" * 32),
    "another network's": lambda file: rewrite_header(file, network="two:2"),
    "of the future": lambda file: rewrite_header(file, change=10**6),
    "before a forgetting": lambda file: rewrite_header(file, forgets=-1),
    "of other rows": lambda file: rewrite_header(file, rows=2000),
    "by nearest": lambda file: rewrite_header(file, represent="nearest"),
}


@pytest.mark.parametrize("damage", BREAKAGES.values(), ids=BREAKAGES)
def test_index_file_that_does_not_fit_is_made_anew(indexed, path, damage, asked):
    people = {str(i): encoding for i, encoding in enumerate(unit(3000, 1))}
    indexed.settle()
    indexed.close()
    file = path.with_name("people.db.index")
    before = file.read_bytes()
    damage(file)
    with FaceDatabase(path) as again:
        assert agrees(again, people, unit(50, 2))
        assert again.settle()
        assert agrees(again, people, unit(50, 2))
        assert again._engine.rows.saved
        assert asked
    assert file.read_bytes() == before


def test_stale_index_is_built_anew_in_the_background(indexed, path, asked):
    indexed.settle()
    first = json.loads(path.with_name("people.db.index").read_bytes()[:4096])
    indexed.update({f"new {i}": encoding for i, encoding in enumerate(unit(1000, 8))})
    indexed.nearest(unit(1))
    indexed.settle()
    second = json.loads(path.with_name("people.db.index").read_bytes()[:4096])
    assert (first["rows"], second["rows"]) == (3000, 4000)
    assert indexed._engine.rows.late == 0
    asked.clear()
    assert indexed.nearest(unit(1, 8))[0][0, 0] == "new 0"
    assert asked


def test_searches_go_on_while_the_index_is_built(indexed, monkeypatch, asked):
    build, may_go_on = search.Index.build, threading.Event()
    monkeypatch.setattr(search.Index, "build", lambda *args: may_go_on.wait(240) and build(*args))
    assert indexed.nearest(unit(1, 1))[0][0, 0] == "0"
    assert indexed._engine.builder is not None
    indexed["late"] = unit(1, 9)[0]
    indexed.remove("0")
    assert indexed.nearest(unit(1, 9))[0][0, 0] == "late"
    assert not asked
    may_go_on.set()
    assert indexed.settle(20)
    assert indexed.nearest(unit(1, 9))[0][0, 0] == "late"
    assert indexed.nearest(unit(1, 1))[0][0, 0] != "0"
    assert len(asked) == 2


@pytest.mark.parametrize("in_file", [True, False])
def test_removals_while_the_index_is_built_remove_no_other_rows(path, monkeypatch, in_file, index_from):
    index_from(1000)
    people = {str(i): encoding for i, encoding in enumerate(unit(3000, 1))}
    built, may_go_on = SQLite._built, threading.Event()
    with FaceDatabase(path if in_file else ":memory:") as database:
        database.update(people)
        views = []
        monkeypatch.setattr(
            SQLite,
            "_built",
            lambda self, view, stamp: views.append(view) or may_go_on.wait(240) and built(self, view, stamp),
        )
        database.nearest(unit(1))
        for gone in range(0, 300, 3):
            database.remove(str(gone))
            del people[str(gone)]
        assert agrees(database, people, unit(20, 2))
        assert views[0].alive.all()  # the builder's rows are those of its moment
        may_go_on.set()
        assert database.settle(20)
        assert len(database._engine.rows.base) == 3000
        assert agrees(database, people, unit(20, 2))


@pytest.mark.parametrize("represent", ["mean", "nearest"])
def test_several_encodings_per_person_are_indexed_too(path, represent, asked, index_from):
    index_from(800)
    encodings = unit(12_000, 3).reshape(3000, 4, D)
    for where in (path, ":memory:"):
        with FaceDatabase(where, represent=represent) as database:
            database.update({str(i): several for i, several in enumerate(encodings)})
            assert database.settle()
            identities, distances = database.nearest(unit(40, 4), k=3)
            assert asked
            asked.clear()
        means = encodings.mean(axis=1) / np.linalg.norm(encodings.mean(axis=1), axis=1, keepdims=True)
        if represent == "mean":
            oracle = exact(means, unit(40, 4))
        else:
            oracle = exact(encodings.reshape(-1, D), unit(40, 4)).reshape(40, 3000, 4).min(axis=2)
        order = np.argsort(oracle, axis=1)[:, :3]
        assert identities.tolist() == [[str(i) for i in row] for row in order]
        assert np.allclose(distances, np.take_along_axis(oracle, order, axis=1), atol=1e-6)
