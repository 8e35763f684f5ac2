"""A whole night on S3: dataset, submissions and store behind a real S3 server (moto's, as a process
of its own on the loopback), found by the usual AWS settings; the same results as on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import polars as pl
import pytest

from flows.runtime import free_port
from tasks.catalog import load_catalogue
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect
from tests.conftest import Bench

pytestmark = pytest.mark.server

KEY, SECRET = "AKIA-OF-THE-TEST", "s3cr3t/that+no0ne=may-see"
BUCKET = "bench"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of moto's S3 server, running in its own process."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with open(tmp_path_factory.mktemp("moto") / "log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    try:
        while True:
            try:
                httpx.get(url, timeout=5)
                break
            except httpx.HTTPError:
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def settings(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The usual variables, set for this process and for those it starts; an empty bucket."""
    usual = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in usual.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found.get("Key", ""))
    return usual


@pytest.fixture
def filled(bench: Bench) -> Bench:
    for paradigm in ("comprehension", "generation"):
        task_id = bench.add_task(
            f"Quiz {paradigm}",
            "accuracy",
            dict.fromkeys(range(6), "A"),
            modality="image",
            paradigm=paradigm,
        )
        bench.predict("good", task_id, dict.fromkeys(range(6), "A"))
        bench.predict("half", task_id, {0: "A", 1: "A", 2: "A", 3: "B", "nobody": "A"})
    task_id = bench.add_task("Words", "bleu_1", dict.fromkeys(range(3), "the red house"))
    bench.predict("good", task_id, {0: "the red house", 1: "a red house", 2: "house"})
    bench.write_prediction("half", task_id, '[{"id": 0, "pred')
    return bench


def upload(bench: Bench) -> None:
    client = boto3.client("s3")
    for folder in (bench.dataset, bench.submissions):
        for path in folder.rglob("*.json"):
            key = path.relative_to(bench.root).as_posix()
            client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())


def night(bench: Bench, server: str, place: str, **environment: str) -> tuple[dict[str, Any], str]:
    """One nightly run in a process of its own; its report, and all that it wrote and logged."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", "run", "--json"]
    command += ["--verbose", "--store", f"{place}/store", "--dataset", f"{place}/dataset"]
    command += ["--submissions", f"{place}/submissions"]
    command += ["--catalogue", str(bench.catalogue), "--only-catalogue"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    given = {"PREFECT_API_URL": server, "PREFECT_LOGGING_LEVEL": "INFO"}
    done = subprocess.run(
        command, env=kept | given | environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout), done.stdout + done.stderr


def results(place: str) -> dict[str, pl.DataFrame]:
    """Published tables and stored rows, without what names the place, the time or the duration."""
    own = {"source", "duration_s", "prediction_source"}
    queries = {
        name: f"FROM {name}"
        for name in ("levels", "leaderboards", "task_results", "coverage", "instance_scores")
    }
    queries["quarantine"] = "SELECT stage, model, task_id, position, reason FROM quarantine"
    with connect(Store(f"{place}/store")) as database:
        tables = {name: database.sql(query).pl() for name, query in queries.items()}
    return {
        name: (kept := table.drop([c for c in table.columns if c in own])).sort(
            *(c for c in kept.columns if not kept[c].dtype.is_nested()), maintain_order=True
        )
        for name, table in tables.items()
    }


def test_nights_on_s3_are_the_night_on_disk_and_do_only_what_changed(
    filled: Bench, server: str, settings: dict[str, str]
) -> None:
    upload(filled)
    remote, said = night(filled, server, f"s3://{BUCKET}", **settings)
    night(filled, server, str(filled.root))
    on_disk, on_s3 = results(str(filled.root)), results(f"s3://{BUCKET}")
    for name, table in on_disk.items():
        assert table.height > 0, name
        assert table.equals(on_s3[name]), name
    assert remote["published"]["database"] == f"s3://{BUCKET}/store/results.duckdb"
    scored = {report["model"]: report["scored"] for report in remote["scores"]}
    assert scored == {"good": {"new": 3}, "half": {"new": 2}}
    logs = httpx.post(f"{server}/logs/filter", json={}, timeout=30).text
    assert f"s3://{BUCKET}/store" in said
    assert SECRET not in said + logs
    assert KEY not in said + logs

    # The second night does no work, and the third sees the file that changed.
    again, _ = night(filled, server, f"s3://{BUCKET}", **settings)
    assert sum(report["rows"] for report in again["ingest"]) == 0
    assert all(not report["scored"] for report in again["scores"])
    filled.predict("half", "image.generation.quiz-generation", dict.fromkeys(range(6), "A"))
    upload(filled)
    changed, _ = night(filled, server, f"s3://{BUCKET}", **settings)
    assert {r["model"]: r["scored"] for r in changed["scores"] if r["scored"]} == {
        "half": {"predictions changed": 1}
    }


def test_keys_and_endpoint_may_come_from_a_profile(
    filled: Bench, server: str, settings: dict[str, str], tmp_path: Path
) -> None:
    upload(filled)
    keys = tmp_path / "credentials"
    keys.write_text(f"[bench]\naws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n")
    config = tmp_path / "config"
    config.write_text(
        f"[profile bench]\nregion=us-east-1\nendpoint_url={settings['AWS_ENDPOINT_URL']}\n"
    )
    report, said = night(
        filled,
        server,
        f"s3://{BUCKET}",
        AWS_PROFILE="bench",
        AWS_SHARED_CREDENTIALS_FILE=str(keys),
        AWS_CONFIG_FILE=str(config),
    )
    assert {row["model"] for row in report["published"]["levels"]} == {"good", "half"}
    assert SECRET not in said


def test_readers_on_s3_go_on_while_results_are_published(
    filled: Bench, settings: dict[str, str]
) -> None:
    """Readers see each published run whole: as many level rows as ever, never an error."""
    store = filled.publish(f"s3://{BUCKET}/store")
    catalogue = load_catalogue([filled.catalogue], base=False)
    seen: list[tuple[int, int]] = []
    errors: list[BaseException] = []
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                with connect(Store(store.url)) as database:
                    rows = database.execute(
                        "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM levels)"
                    ).fetchall()
                    scored = database.execute("SELECT count(*) FROM instance_scores").fetchall()
                assert scored[0][0] > 0
                seen.append(rows[0])
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(5):
            build(store, catalogue, RunInfo.now(f"again-{number}"))
    finally:
        over.set()
        reader.join(60)
    assert errors == []
    assert len({levels for _, levels in seen}) == 1
    runs = [runs for runs, _ in seen]
    assert runs == sorted(runs)  # a reader never goes back to older results
    with connect(store) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchall() == [(6,)]


def test_a_bucket_that_is_not_there_is_told_without_a_traceback(
    filled: Bench, server: str, settings: dict[str, str]
) -> None:
    command = [sys.executable, "-c", "from flows.cli import main; main()", "run"]
    command += ["--store", "s3://no-such-bucket/store", "--dataset", "s3://no-such-bucket/dataset"]
    environment = os.environ | settings | {"PREFECT_API_URL": server}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the bucket of s3://no-such-bucket/store does not exist" in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr
