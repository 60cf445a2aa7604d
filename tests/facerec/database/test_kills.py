"""Processes killed while people come and go: nothing that was acknowledged is lost, nothing is half there.

Two processes write, search, build indexes and forget people until they are killed: one of them while it forgets a
person, the other at any moment. What each of them began, and what it was told is done, it notes in a log of its own;
from that follows what may be in the files.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import faiss
import numpy as np
import pytest

from facerec.database import FaceDatabase, NotForgottenYet, mean_encoding, search
from facerec.database.pictures import pack
from facerec.database.search import Index, IndexFile, Rows
from facerec.database.sqlite import memory
from tests.facerec.database.helpers import processes

D = 16
CROWD = 1000  # people who stay
INDEX_FROM, DEPTH = 500, 120  # instead of 150,000 and 2,048: so that there is an index, and it is asked
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is a matter of Unix")

Made = tuple[tuple[str, int, bool], ...]  # what a person was made of: name and version then, and whether with a photo
State = dict[str, Made]


def unit(rng: np.random.Generator, m: int) -> np.ndarray:
    encodings = rng.normal(size=(m, D))
    return (encodings / np.linalg.norm(encodings, axis=1, keepdims=True)).astype(np.float32)


def encoding_of(name: str, version: int) -> np.ndarray:
    """(2, D), always the same for a name and a version."""
    return unit(np.random.default_rng([*name.encode(), version]), 2)


def photo_of(name: str, version: int) -> np.ndarray:
    """Noise, so that a piece of its JPEG is in no other."""
    return np.random.default_rng([*name.encode(), version]).integers(0, 256, (24, 24, 3)).astype(np.uint8)


def kept(made: Made) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """What the database must hold of a person: encodings, photos and thumbnails, to the last bit."""
    encodings = b"".join(encoding_of(name, version).tobytes() for name, version, _ in made)
    return encodings, [pack(photo_of(name, version)) for name, version, with_photo in made if with_photo]


def small_index(setter=setattr) -> None:
    """What is built from 150,000 people on is built from 500 on; by one thread, so that it takes 20 ms."""
    build = search.Index.build

    def by_one_thread(*args) -> search.Index | None:
        faiss.omp_set_num_threads(1)  # of the thread that builds
        return build(*args)

    setter(memory, "INDEX_FROM", INDEX_FROM)
    setter(search, "DEPTH", DEPTH)
    setter(search.Index, "build", by_one_thread)


# -------------------------------------------------------------------------------------------- who is killed
def note(log, **entry) -> None:
    """A line of a writer's own log, on the disk when this returns."""
    log.write(json.dumps(entry) + "\n")
    log.flush()
    os.fsync(log.fileno())


def come_and_go(path: str, log_path: str, who: str, seed: int) -> None:
    """Change people of one's own, and search, until killed; note each change before and after."""
    small_index()
    rng = np.random.default_rng(seed)
    with open(log_path, "a", encoding="utf-8") as log, FaceDatabase(path) as database:
        known = {name for name in database if name.startswith(who)}
        for version in range(seed * 100_000, (seed + 1) * 100_000):
            entry = what_next(rng, who, known, version)
            note(log, **entry)
            try:
                known = change(database, known, **entry)
            except NotForgottenYet:  # the other writer may be reading; the next opening completes it
                known.discard(entry["name"])
            note(log, done=version)
            if rng.random() < 0.3:
                database.nearest(unit(rng, 1))  # builds an index, if there is none
            if rng.random() < 0.1:
                database.settle(1)


def what_next(rng: np.random.Generator, who: str, known: set[str], version: int) -> dict:
    """A change: about a dozen people are known, and no name comes twice."""
    fresh = f"{who}: the one who came as number {version:06d}"  # none is the beginning of another
    begins = rng.choice(["add", "set", "rename", "forget", "remove"], p=[0.25, 0.2, 0.2, 0.15, 0.2])
    if len(known) < 4 or (len(known) < 16 and rng.random() < 0.4):
        return {"begins": "add", "name": fresh, "version": version}
    name = sorted(known)[rng.integers(len(known))]
    return {"begins": str(begins), "name": name, "version": version} | ({"to": fresh} if begins == "rename" else {})


def change(database: FaceDatabase, known: set[str], begins: str, name: str, version: int, to: str = "") -> set[str]:
    """Do it; who is known then."""
    if begins == "add":
        database.add(name, encoding_of(name, version), photo_of(name, version))
        return known | {name}
    if begins == "set":
        database[name] = encoding_of(name, version)
        return known
    if begins == "rename":
        database.rename(name, to)
        return known - {name} | {to}
    (database.forget if begins == "forget" else database.remove)(name)
    return known - {name}


# ------------------------------------------------------------------------------------------ what may be there
def after(state: State, begins: str, name: str, version: int, to: str = "") -> State:
    """Who is known after a change, and what they were made of."""
    state = dict(state)
    if begins == "add":
        state[name] = (*state.get(name, ()), (name, version, True))
    elif begins == "set":
        state[name] = ((name, version, False),)
    else:
        made = state.pop(name)
        if begins == "rename":
            state[to] = made
    return state


def possible(log: Path, state: State, forgotten: State) -> tuple[list[State], State]:
    """What may be in the database after these lines, and the person its writer was forgetting when killed.

    People whose forgetting was acknowledged are added to ``forgotten``.
    """
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
    pending = None
    for entry in (json.loads(line) for line in lines if line.endswith("\n")):
        if "done" not in entry:
            pending = entry
            continue
        if pending["begins"] == "forget":
            forgotten[pending["name"]] = state[pending["name"]]
        state, pending = after(state, **pending), None
    if pending is None:
        return [state], {}
    cut_off = {pending["name"]: state[pending["name"]]} if pending["begins"] == "forget" else {}
    return [state, after(state, **pending)], cut_off


def found(path: Path, who: str) -> dict[str, tuple[bytes, list[tuple[bytes, bytes]]]]:
    with FaceDatabase(path) as database:
        names = [name for name in database if name.startswith(who)]
        assert all(photo.shape == (24, 24, 3) for name in names[:2] for photo in database.photos(name))
        return {name: (database.encodings(name).tobytes(), database._engine.pictures(name)) for name in names}


# --------------------------------------------------------------------------------------------- what is checked
def check_file(path: Path) -> None:
    """No damage, no person without encodings, no encodings or photos without a person."""
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    odd = "SELECT count(*) FROM people WHERE (SELECT count(*) FROM encodings WHERE person = people.id) % 2"
    none = "SELECT count(*) FROM people WHERE id NOT IN (SELECT person FROM encodings)"
    assert [db.execute(query).fetchone() for query in (odd, none)] == [(0,), (0,)]
    db.close()


def check_search(database: FaceDatabase) -> None:
    """Searching, by whatever index there is, finds what comparing with everybody finds."""
    names, encodings = zip(*database.items(), strict=True)
    known = np.stack(encodings)
    own = [i for i, name in enumerate(names) if not name.startswith("crowd")]
    probes = np.concatenate([known[[*own, *range(0, CROWD, 100)]], unit(np.random.default_rng(0), 5)])
    distances = np.linalg.norm(known[None].astype(np.float64) - probes[:, None], axis=2)
    identities, near = database.nearest(probes, k=2)
    assert identities.tolist() == [[names[i] for i in row] for row in np.argsort(distances, axis=1)[:, :2]]
    assert np.allclose(near, np.sort(distances, axis=1)[:, :2], atol=1e-6)


def pieces_of(name: str, made: Made) -> Iterator[tuple[str, bytes]]:
    """By what to see that a person is in a file: 64 bytes of each encoding, photo and thumbnail, and the name."""
    encodings, pictures = kept(made)
    yield name, name.encode()
    for start in range(0, len(encodings), 64):
        yield f"an encoding of {name}", encodings[start : start + 64]
    yield f"the mean of {name}", mean_encoding(np.frombuffer(encodings, np.float32).reshape(-1, D)).tobytes()[:64]
    for jpeg in (data for picture in pictures for data in picture):
        for start in (len(jpeg) - 80, len(jpeg) * 7 // 8):  # beyond the tables, which are everybody's
            yield f"a photo of {name}", jpeg[start : start + 64]


def traces(folder: Path, people: State) -> list[str]:
    """What is left of people in database, WAL, and index files, finished or not."""
    files = [file for file in folder.iterdir() if file.name.lstrip(".").startswith(("people.db", "unfinished"))]
    data = {file.name: file.read_bytes() for file in files}
    pieces = [piece for name, made in people.items() for piece in pieces_of(name, made)]
    return [f"{what} in {file}" for what, piece in pieces for file, content in data.items() if piece in content]


def kill_writers(folder: Path, kills: int) -> dict[str, int]:
    """Two writers, killed one after the other: the first while it forgets a person; how often what was seen."""
    context = processes()
    path, rng = folder / "people.db", np.random.default_rng()
    crowd = unit(np.random.default_rng(1), 2 * CROWD).reshape(CROWD, 2, D)
    with FaceDatabase(path) as database:
        database.update({f"crowd {i}": encodings for i, encodings in enumerate(crowd)})
    states: dict[str, State] = {"a": {}, "b": {}}
    seen = dict.fromkeys(["acknowledged", "forgotten", "forgetting cut off", "index files", "unfinished files"], 0)
    for number in range(0, kills, 2):
        logs = {who: folder / f"{who}{number}.log" for who in states}
        run_and_kill(context, path, logs, number, rng)
        seen["index files"] += path.with_name("people.db.index").exists()
        seen["unfinished files"] += len(list(folder.glob(".unfinished_*")))
        seen["acknowledged"] += sum(log.read_text(encoding="utf-8").count('"done"') for log in logs.values())
        forgotten = check_after_kills(path, logs, states, seen, f"after {number + 2} kills")
        if number % 8 == 0:
            check_tidied(path, forgotten)
    return seen


def wait_for_changes(writer, log: Path, count: int, beginning: str = "") -> None:
    """Wait until so many of a writer's changes are acknowledged, and one of that kind begins: however slow it is."""
    deadline = time.monotonic() + 120
    while writer.is_alive() and time.monotonic() < deadline:
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        if lines and sum('"done"' in line for line in lines) >= count and f'"begins": "{beginning}' in lines[-1]:
            return
        time.sleep(0.001)


def run_and_kill(context, path: Path, logs: dict[str, Path], number: int, rng: np.random.Generator) -> None:
    writers = [
        context.Process(target=come_and_go, args=(str(path), str(log), who, number + i), daemon=True)
        for i, (who, log) in enumerate(logs.items())
    ]
    for writer in writers:
        writer.start()
    first, second = rng.permutation(list(zip(writers, logs.values(), strict=True)))
    wait_for_changes(*first, 0, "forget")
    first[0].kill()
    wait_for_changes(*second, int(rng.integers(0, 15)))
    time.sleep(rng.uniform(0, 0.02))
    second[0].kill()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [-signal.SIGKILL] * 2, "one failed by itself: see its traceback"


def check_after_kills(path: Path, logs: dict[str, Path], states: dict[str, State], seen: dict, when: str) -> State:
    """Reopen it and compare with the logs; ``states`` becomes what is there. Returns the people who were forgotten."""
    with FaceDatabase(path) as database:  # completes what was cut off
        check_search(database)
        assert database._engine.state_of("unfinished") == 0
    check_file(path)
    forgotten: State = {}
    for who, log in logs.items():
        may_be, cut_off = possible(log, states[who], forgotten)
        now = found(path, who)
        matching = [state for state in may_be if {name: kept(made) for name, made in state.items()} == now]
        assert matching, f"{when}, {who}: {sorted(now)}, not one of {may_be}"
        states[who] = matching[0]
        seen["forgetting cut off"] += bool(cut_off)
        forgotten |= {name: made for name, made in cut_off.items() if name not in now}
    seen["forgotten"] += len(forgotten)
    assert traces(path.parent, forgotten) == [], when
    assert len(traces(path.parent, states["a"])) >= 3 * len(states["a"])  # it would see them
    return forgotten


def check_tidied(path: Path, forgotten: State) -> None:
    with FaceDatabase(path) as database:
        assert database.settle(30)
        check_search(database)
        assert path.with_name("people.db.index").exists()
        assert traces(path.parent, forgotten) == []
        database.tidy()
        check_search(database)
        database._engine._halt()
    assert list(path.parent.glob(".unfinished_*")) == []


@pytest.fixture(autouse=True)
def a_small_index(monkeypatch) -> None:
    small_index(monkeypatch.setattr)


def test_index_file_replaced_while_it_is_read_is_read_as_it_was(tmp_path, monkeypatch):
    """Two kept their own index at once: one read the names of one file and the encodings of the other."""
    file, encodings, read = (
        IndexFile(tmp_path / "people.db.index"),
        unit(np.random.default_rng(0), 100),
        Index.from_bytes,
    )

    def write(people: np.ndarray) -> None:
        view = Rows(D, 1, encodings[people], people + 1).view()
        file.write(view, {"state": 1}, threading.Event(), lambda: nullcontext(True))

    def replaced_just_then(data: bytes) -> Index:
        write(np.arange(100)[::-1])
        return read(data)

    write(np.arange(100))
    monkeypatch.setattr(Index, "from_bytes", replaced_just_then)
    matrix, people, index, _ = file.read({"state": 1})
    assert np.array_equal(matrix, encodings[people - 1])
    assert index.search(matrix, 1)[:, 0].tolist() == list(range(100))


def test_kills_lose_no_change_and_leave_no_trace_of_forgotten_people(tmp_path):
    seen = kill_writers(tmp_path, 10)
    assert min(seen["acknowledged"], seen["forgotten"]) > 0, seen
    assert seen["index files"] + seen["unfinished files"] > 0, "no index was built between the kills"


@pytest.mark.slow
def test_thousand_kills_lose_no_change_and_leave_no_trace_of_forgotten_people(tmp_path):
    seen = kill_writers(tmp_path, 1000)
    assert min(seen.values()) > 5, seen
