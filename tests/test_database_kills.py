"""Whoever is killed while people come and go: nothing that was acknowledged is lost, nothing is half there."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from face_database import FaceDatabase

D = 16
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is a matter of Unix")


def encoding_of(name: str, version: int) -> np.ndarray:
    """(2, D), always the same for a name and a version."""
    encodings = np.random.default_rng([*name.encode(), version]).normal(size=(2, D))
    return (encodings / np.linalg.norm(encodings, axis=1, keepdims=True)).astype(np.float32)


def photo_of(name: str, version: int) -> np.ndarray:
    return np.full((16, 16, 3), [len(name) * 5, version % 200, 100], np.uint8)


def note(log, **entry) -> None:
    """A line of a writer's own log, on the disk when this returns."""
    log.write(json.dumps(entry) + "\n")
    log.flush()
    os.fsync(log.fileno())


def come_and_go(path: str, log_path: str, who: str, seed: int) -> None:
    """Add, replace, rename, remove and forget people of one's own until killed; note each before and after."""
    rng = np.random.default_rng(seed)
    with open(log_path, "a", encoding="utf-8") as log, FaceDatabase(path) as database:
        known = {name for name in database if name.startswith(who)}
        for version in range(seed * 100_000, (seed + 1) * 100_000):
            name, other = (f"{who} {number}" for number in rng.permutation(12)[:2])
            if name not in known:
                note(log, begins="put", name=name, version=version)
                database.add(name, encoding_of(name, version), photo_of(name, version))
                known.add(name)
            elif (kind := rng.integers(5)) == 0 and other not in known:
                note(log, begins="rename", name=name, other=other)
                database.rename(name, other)
                known.symmetric_difference_update({name, other})
            elif kind == 1:
                note(log, begins="forget", name=name)
                try:
                    database.forget(name)
                except Exception as error:  # the other writer may be reading just then
                    if type(error).__name__ != "NotForgottenYet":
                        raise
                known.remove(name)
            elif kind == 2:
                note(log, begins="put", name=name, version=version)
                database[name] = encoding_of(name, version)
            else:
                note(log, begins="remove", name=name)
                database.remove(name)
                known.remove(name)
            note(log, done=version)


def after(state: dict[str, tuple[str, int]], entry: dict) -> dict[str, tuple[str, int]]:
    """Who is known after a change, and by what: the name and the version that their encodings were made of."""
    state = dict(state)
    if entry["begins"] == "put":
        state[entry["name"]] = (entry["name"], entry["version"])
    elif entry["begins"] == "rename":
        state[entry["other"]] = state.pop(entry["name"])
    else:
        del state[entry["name"]]
    return state


def possible(log: Path, state: dict) -> list[dict]:
    """What may be in the database after these lines: all that was acknowledged, the last one perhaps."""
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    pending = None
    for entry in entries:
        if "done" in entry:
            state, pending = after(state, pending), None
        else:
            pending = entry
    return [state] if pending is None else [state, after(state, pending)]


def found(path: Path, who: str) -> dict[str, bytes]:
    with FaceDatabase(path) as database:
        return {name: database.encodings(name).tobytes() for name in database if name.startswith(who)}


def in_bytes(state: dict) -> dict[str, bytes]:
    return {name: encoding_of(*made).tobytes() for name, made in state.items()}


def check_file(path: Path) -> None:
    """No damage, nobody without encodings, no encodings and photos of nobody; memory and file agree."""
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    halves = "SELECT count(*) FROM people WHERE (SELECT count(*) FROM encodings WHERE person = people.id) != 2"
    assert db.execute(halves).fetchone() == (0,)
    db.close()
    with FaceDatabase(path) as database:
        names = list(database)
        if names:
            probes = np.stack([database[name] for name in names])
            assert database.nearest(probes)[0][:, 0].tolist() == names
            assert set(database.nearest(probes[:1], len(names))[0][0]) == set(names)


def kill_writers(folder: Path, kills: int) -> int:
    """Two writers, killed together or one after the other at random moments; how many changes were acknowledged."""
    context = multiprocessing.get_context("forkserver")  # quick, and without what this process has loaded
    context.set_forkserver_preload(["face_database"])
    path, rng = folder / "people.db", np.random.default_rng()
    states: dict[str, dict] = {"a": {}, "b": {}}
    acknowledged = 0
    for number in range(0, kills, 2):
        logs = {who: folder / f"{who}{number}.log" for who in states}
        writers = [
            context.Process(target=come_and_go, args=(str(path), str(logs[who]), who, number + i))
            for i, who in enumerate(states)
        ]
        for writer in writers:
            writer.start()
        deadline = time.monotonic() + 60
        while not all(log.exists() and log.stat().st_size for log in logs.values()) and time.monotonic() < deadline:
            time.sleep(0.002)
        for writer in rng.permutation(writers):
            time.sleep(rng.uniform(0, 0.2))
            os.kill(writer.pid, signal.SIGKILL)
        for writer in writers:
            writer.join()
            assert writer.exitcode == -signal.SIGKILL
        check_file(path)
        for who, log in logs.items():
            acknowledged += log.read_text(encoding="utf-8").count('"done"')
            now = found(path, who)
            matching = [state for state in possible(log, states[who]) if in_bytes(state) == now]
            assert matching, f"after {number} kills, {who}: {sorted(now)} but {possible(log, states[who])}"
            states[who] = matching[0]
    return acknowledged


def test_fifty_kills_lose_no_acknowledged_change_and_leave_nobody_half(tmp_path):
    assert kill_writers(tmp_path, 50) > 50


@pytest.mark.slow
def test_a_thousand_kills_lose_no_acknowledged_change_and_leave_nobody_half(tmp_path):
    assert kill_writers(tmp_path, 1000) > 1000
