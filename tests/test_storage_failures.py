"""A storage that fails while tasks are scored: repeated, then the last good scores stay; others go on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import boto3
import numpy as np
import pytest

from tasks.catalog import load_catalogue
from tasks.schema import Manifest
from tasks.score import plan_scores, read_task_scores, score_batch, scorings
from tasks.storage import Store
from tests.conftest import s3_server

MODEL = "m"


class Switch(threading.Thread):
    """Passes connections on to a server; `up` says whether, else it cuts them, or keeps still."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.up, self.still, self.refused = True, False, 0
        self._target = target
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.up:
                self.refused += 1
                self._held.append(client) if self.still else client.close()
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:  # it has ended, and a client of another test still asks
                client.close()
                continue
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def switch(monkeypatch):
    with s3_server(monkeypatch, "bench") as (host, port):
        switch = Switch((host, port))
        switch.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", switch.address)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield switch
        switch.stop()


@pytest.fixture
def tasks_of(bench):
    """A quiz of text, whose answers are in the store, and two tasks of features on S3."""
    places = {"modality": "image", "paradigm": "generation"}
    quiz = bench.add_task("Quiz", "accuracy", {0: "A", 1: "A"})
    faces = [
        bench.add_task(
            f"Faces {n}", "fid", {0: {"path": "real.npy"}, 1: {"path": "real.npy"}}, **places
        )
        for n in range(2)
    ]
    for number in range(2):
        real = np.random.default_rng(number).normal(size=(20, 3))
        np.save(bench.dataset / f"image/generation/faces-{number}/real.npy", real)
    return quiz, faces


def submit(bench, quiz, faces, seed):
    """A state of the model's outputs, on S3."""
    bench.predict(MODEL, quiz, {0: "A", 1: "AB"[seed % 2]})
    for task_id in faces:
        made = {"path": f"made-{seed}.npy"}
        folder = bench.predict(MODEL, task_id, {0: made, 1: made}).parent
        np.save(folder / made["path"], np.random.default_rng(seed + 5).normal(size=(20, 3)))
    client = boto3.client("s3")
    for path in bench.submissions.rglob("*.*"):
        key = path.relative_to(bench.root).as_posix()
        client.put_object(Bucket="bench", Key=key, Body=path.read_bytes())


def score(bench, server):
    words = [sys.executable, "-c", "from flows.cli import main; main()", "score"]
    words += ["--store", bench.store, "--catalogue", str(bench.catalogue), "--only-catalogue"]
    return subprocess.run(
        [*words, "--workers", "1", "--json"],
        env=os.environ | {"PREFECT_API_URL": server},
        capture_output=True,
        text=True,
        timeout=240,
    )


def scores(bench) -> dict[str, dict]:
    rows = read_task_scores(Store(bench.store), MODEL).filter(profile="corrected")
    return {row["task_id"]: row for row in rows.iter_rows(named=True)}


@pytest.mark.server
@pytest.mark.timeout(900)
def test_a_storage_that_fails_leaves_the_last_good_scores_and_costs_no_other_task(
    bench, tasks_of, switch, server
):
    quiz, faces = tasks_of
    bench.sources = lambda model: (bench.dataset, f"s3://bench/submissions/{model}")
    submit(bench, quiz, faces, 0)
    bench.score(MODEL)
    good = scores(bench)
    assert good[quiz]["raw_score"] == 100.0

    submit(bench, quiz, faces, 1)
    bench.ingest(MODEL)
    switch.up = False
    failed = score(bench, server)
    assert failed.returncode == 3, failed.stderr
    assert "Traceback" not in failed.stderr
    assert "StorageFailure" in failed.stdout and "made-1.npy" in failed.stdout
    assert switch.refused >= 3  # tried, and tried again twice
    found = scores(bench)
    assert (found[quiz]["raw_score"], found[quiz]["stale_since"]) == (50.0, None)
    for task_id in faces:
        kept = found[task_id]
        assert kept["raw_score"] == good[task_id]["raw_score"]
        assert kept["status"] == "scored" and kept["stale_since"] is not None
        assert "StorageFailure" in kept["reason"] and task_id.split(".")[-1] in kept["reason"]

    switch.up = True
    again = score(bench, server)
    assert again.returncode == 0, again.stderr
    (report,) = json.loads(again.stdout)
    assert report["scored"] == {"failed before": 2}
    mended = scores(bench)
    assert mended[quiz]["raw_score"] == 50.0
    for task_id in faces:
        assert mended[task_id]["stale_since"] is None
        assert mended[task_id]["raw_score"] != good[task_id]["raw_score"]


NIGHT = """
import json, sys
from flows import runtime
from flows.nightly import nightly
runtime.RETRY_DELAYS[:] = [0.1, 0.1]
print(json.dumps(nightly(**json.loads(sys.argv[1])).failures))
"""


@pytest.mark.server
def test_a_source_that_cannot_be_listed_costs_the_others_nothing(bench, switch, server):
    task_id = bench.add_task("Quiz", "accuracy", {0: "A", 1: "A"})
    annotation = bench.dataset / "nlp/quiz/annotation.json"
    key = annotation.relative_to(bench.root).as_posix()
    boto3.client("s3").put_object(Bucket="bench", Key=key, Body=annotation.read_bytes())
    bench.dataset = "s3://bench/dataset"

    def night() -> list[str]:
        """What failed in a night of a process of its own: this one's workers know no S3 server."""
        arguments = json.dumps(bench.arguments() | {"store_url": bench.store, "workers": 1})
        words = [sys.executable, "-c", NIGHT, arguments]
        environment = os.environ | {"PREFECT_API_URL": server}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    bench.predict(MODEL, task_id, {0: "A", 1: "B"})
    bench.score(MODEL)
    assert scores(bench)[task_id]["raw_score"] == 50.0
    bench.predict(MODEL, task_id, {0: "A", 1: "A"})
    switch.up = False
    (failure,) = night()
    assert failure.startswith("references: ") and "Connection" in failure
    assert switch.refused >= 3  # tried, and tried again twice
    assert scores(bench)[task_id]["raw_score"] == 100.0


def test_a_storage_that_keeps_still_is_waited_for_once_a_batch(
    bench, tasks_of, switch, monkeypatch
):
    quiz, faces = tasks_of
    submit(bench, quiz, faces, 0)
    bench.submissions = "s3://bench/submissions"
    bench.sources = lambda model: (bench.dataset, f"s3://bench/submissions/{model}")
    bench.score(MODEL)
    store, catalogue = Store(bench.store), load_catalogue([bench.catalogue], base=False)
    references = store.read_struct(Manifest, "references", "manifest.json")
    assert references is not None
    jobs = plan_scores(store, MODEL, scorings(catalogue, references), force=True).jobs
    assert len(jobs) == 3
    switch.up, switch.still = False, True
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()  # no connection is open any more
    with monkeypatch.context() as patch:
        patch.setenv("GENERAL_LEVEL_READ_TIMEOUT", "1.5")
        result = score_batch(store, MODEL, jobs)
    assert {row["task_id"] for row in result.rows} == {quiz}
    assert set(result.failed) == set(faces)
    told = sorted(result.failed.values())
    assert "no answer within" in told[0] and "did not answer before" in told[1]
    assert switch.refused == 1
    switch.up, switch.still = True, False
    whole = score_batch(store, MODEL, jobs)
    assert not whole.failed and {row["task_id"] for row in whole.rows} == {quiz, *faces}
    assert {row["part"] for row in whole.rows} != {row["part"] for row in result.rows}
