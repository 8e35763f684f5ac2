"""Parts that a run replaces stay for those who read them, for an hour, and never for ever."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tasks.catalog import load_catalogue
from tasks.score import drop_stale_parts
from tasks.storage import Store
from tasks.superseded import GRACE_SECONDS, RECORD, drop_superseded
from tasks.warehouse import RunInfo, build, connect
from tests.conftest import s3_server

FOLDERS = [
    ("references", "parts"),
    ("predictions", "m", "parts"),
    ("scores", "m", "instances"),
    ("scores", "m", "replicates"),
]


@pytest.fixture(params=["disk", "s3"])
def placed(request, bench, monkeypatch):
    """A bench whose store is on disk, and one whose store is on S3."""
    if request.param == "disk":
        yield bench
        return
    bucket = f"bench-{uuid.uuid4().hex}"
    with s3_server(monkeypatch, bucket):
        bench.store = f"s3://{bucket}/store"
        yield bench


def night(bench, answer: str, run_id: str) -> None:
    """Everything changes: references and predictions are read, scored and published."""
    task_id = bench.add_task("Quiz", "accuracy", {0: answer, 1: answer})
    bench.predict("m", task_id, {0: answer, 1: answer * 2})
    quiet_night(bench, run_id)


def quiet_night(bench, run_id: str) -> None:
    """What has changed is read and scored; all is published."""
    bench.score("m")
    store = Store(bench.store)
    drop_stale_parts(store, "m")
    build(store, load_catalogue([bench.catalogue], base=False), RunInfo.now(run_id))


def parts(store: Store) -> list[int]:
    """How many parts each folder holds."""
    return [len(set(store.names(*folder)) - {RECORD}) for folder in FOLDERS]


def let_time_pass(store: Store, *folder: str, seconds: float = GRACE_SECONDS + 1) -> None:
    """As if what is superseded had been so for longer."""
    if RECORD in store.names(*folder):
        since = store.read_struct(dict[str, datetime], *folder, RECORD) or {}
        earlier = {name: time - timedelta(seconds=seconds) for name, time in since.items()}
        store.write_struct(earlier, *folder, RECORD)


def test_a_query_ends_on_the_parts_that_it_began_with_and_new_ones_see_the_new(placed):
    store = Store(placed.store)
    night(placed, "A", "run-1")
    stored = "SELECT text FROM predictions ORDER BY text"
    scored = "SELECT score FROM instance_scores WHERE instance_id = '0'"
    with connect(store) as database:
        night(placed, "B", "run-2")
        assert database.execute(stored).fetchall() == [("A",), ("AA",)]
        assert database.execute(scored).fetchall() == [(1.0,)]
        assert database.execute("SELECT text FROM references_").fetchall() == [("A",), ("A",)]
    assert parts(store) == [2, 2, 2, 2]
    with connect(store) as database:  # no row of a superseded part
        assert database.execute(stored).fetchall() == [("B",), ("BB",)]
        assert database.execute(scored).fetchall() == [(1.0,)]
        assert database.execute("SELECT text FROM references_").fetchall() == [("B",), ("B",)]


def test_the_store_does_not_grow_with_the_nights(placed):
    store = Store(placed.store)
    for number in range(4):
        night(placed, "ABCD"[number], f"run-{number}")
        for folder in FOLDERS:
            let_time_pass(store, *folder)
    assert parts(store) == [2, 2, 2, 2]  # the live ones, and what the last night replaced
    quiet_night(placed, "run-4")  # what is old enough goes all the same
    assert parts(store) == [1, 1, 1, 1]
    assert all(RECORD not in store.names(*folder) for folder in FOLDERS)


def test_a_part_that_is_live_again_is_superseded_anew(tmp_path):
    store = Store(tmp_path)
    for name in ("one", "two"):
        store.write_bytes(b"1", "parts", name)
    drop_superseded(store, {"two"}, "parts")
    let_time_pass(store, "parts")
    drop_superseded(store, {"one", "two"}, "parts")
    assert store.names("parts") == ["one", "two"]
    drop_superseded(store, {"two"}, "parts")
    let_time_pass(store, "parts", seconds=GRACE_SECONDS / 2)
    drop_superseded(store, {"two"}, "parts")
    assert store.names("parts") == ["one", RECORD, "two"]
    let_time_pass(store, "parts", seconds=GRACE_SECONDS / 2)
    drop_superseded(store, {"two"}, "parts")
    assert store.names("parts") == ["two"]


KILLED = """
import os, signal, sys
from tasks.catalog import load_catalogue
from tasks.storage import Store
from tasks.warehouse import RunInfo, build
class Killed(Store):
    def write(self, write_to, *parts):
        if parts == ("results.duckdb",):
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(write_to, *parts)
build(Killed(sys.argv[1]), load_catalogue([sys.argv[2]], base=False), RunInfo.now(sys.argv[3]))
"""


def test_tables_of_a_run_that_was_killed_before_it_published_go(placed):
    store = Store(placed.store)
    night(placed, "A", "run-1")
    words = [sys.executable, "-c", KILLED, placed.store, str(placed.catalogue), "run-2"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert store.names("published", "run-2")
    night(placed, "A", "run-3")
    assert store.names("published", "run-2")  # not yet
    let_time_pass(store, "published")
    night(placed, "A", "run-4")
    assert store.names("published") == ["latest.json", "run-1", "run-3", "run-4"]
    assert store.names("published", "run-1") == store.names("published", "run-4")


def test_tables_of_runs_that_a_lost_database_does_not_know_stay(bench):
    store = Store(bench.store)
    night(bench, "A", "run-1")
    store.delete("results.duckdb")
    for run_id in ("run-2", "run-3"):
        night(bench, "A", run_id)
        let_time_pass(store, "published")
    assert store.names("published") == ["latest.json", "run-1", "run-2", "run-3"]


def test_times_are_told(bench):
    store = Store(bench.store)
    night(bench, "A", "run-1")
    night(bench, "B", "run-2")
    since = store.read_struct(dict[str, datetime], "references", "parts", RECORD)
    assert since is not None and len(since) == 1
    assert datetime.now(UTC) - next(iter(since.values())) < timedelta(minutes=10)
