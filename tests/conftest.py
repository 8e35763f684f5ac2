"""Shared ground of the tests: small datasets written as they arrive, and a real Prefect server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from filelock import FileLock
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from tasks.schema import Manifest

# Settled before anything imports Prefect: nothing is sent out, nothing touches the user's home.
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
os.environ.pop("PREFECT_API_URL", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of tests that wait for servers come first: the others then fill the gaps, and no worker is
    left with a long file at the end."""
    waiting = {item.path for item in items if item.get_closest_marker("server")}
    items.sort(key=lambda item: item.path not in waiting)


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new Prefect database, to be copied. It takes Prefect 10 s, so test processes share one."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    made = shared / "prefect-database"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            home = tmp_path_factory.mktemp("new")
            upgrade = "from prefect.cli import app; app()", "server", "database", "upgrade", "-y"
            subprocess.run(
                [sys.executable, "-c", *upgrade],
                env=os.environ | {"PREFECT_HOME": str(home)},
                check=True,
                capture_output=True,
            )
            home.rename(made)
    return made / "prefect.db"


@pytest.fixture(scope="session")
def prefect_home(prefect_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect home of the tests' own."""
    home = tmp_path_factory.mktemp("prefect")
    shutil.copy(prefect_database, home)
    os.environ["PREFECT_HOME"] = str(home)
    return home


@pytest.fixture(scope="session")
def server(prefect_home: Path) -> Iterator[str]:
    """A real Prefect server for the whole session; its API address."""
    from flows.runtime import prefect_server

    with prefect_server() as url:
        yield url


@pytest.fixture(autouse=True)
def fresh_s3_file_systems() -> None:
    """fsspec keeps file systems by their arguments, and the S3 server's address is none of them:
    what a test before has used would look for a server that is gone."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()


@contextmanager
def s3_server(patch: pytest.MonkeyPatch, bucket: str) -> Iterator[tuple[str, int]]:
    """moto's real S3 server with a bucket, which this process and its children find by themselves;
    its host and port.

    It answers one request at a time: S3 makes a conditional PUT in one step, moto looks first and
    writes then.
    """
    application, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def one_at_a_time(environ: Any, start_response: Any) -> Any:
        with turn:
            return application(environ, start_response)

    server = make_server(
        "127.0.0.1", 0, one_at_a_time, threaded=True, request_handler=MotoRequestHandler
    )
    host, port = server.host, server.port
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        patch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=bucket)
    try:
        yield host, port
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


class Bench:
    """A General-Bench-shaped folder under construction: dataset, submissions, catalogue, store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dataset = root / "dataset"
        self.submissions = root / "submissions"
        self.catalogue = root / "catalogue.csv"
        self.store = str(root / "store")
        self._catalogue = ["task_id,modality,paradigm,title,metric_id,specialist_raw"]

    def add_task(
        self,
        title: str,
        metric_id: str,
        references: Mapping[Any, Any] | Sequence[tuple[Any, Any]],
        *,
        modality: str = "language",
        paradigm: str = "language",
        task_type: str = "OpenQA",
        specialist: float = 50.0,
    ) -> str:
        """Writes the task's annotation and its line in the catalogue; returns its task id."""
        slug = title.lower().replace(" ", "-")
        task_id = f"language.{slug}" if modality == "language" else f"{modality}.{paradigm}.{slug}"
        pairs = references.items() if isinstance(references, Mapping) else references
        data = [{"id": i, "input": {"q": "?"}, "output": {"answer": r}} for i, r in pairs]
        folder = self.dataset / self._where(task_id)
        folder.mkdir(parents=True, exist_ok=True)
        annotation = {"task": title, "type": task_type, "data": data}
        (folder / "annotation.json").write_text(json.dumps(annotation))
        line = f"{task_id},{modality},{paradigm},{title},{metric_id},{specialist}"
        self._catalogue = [
            *(kept for kept in self._catalogue if not kept.startswith(f"{task_id},")),
            line,
        ]
        self.catalogue.write_text("\n".join(self._catalogue) + "\n")
        return task_id

    def predict(
        self, model: str, task_id: str, predictions: Mapping[Any, Any] | Sequence[tuple[Any, Any]]
    ) -> Path:
        """Writes one prediction.json; returns its path."""
        pairs = predictions.items() if isinstance(predictions, Mapping) else predictions
        rows = [{"id": i, "prediction": p} for i, p in pairs]
        return self.write_prediction(model, task_id, json.dumps(rows))

    def write_prediction(self, model: str, task_id: str, text: str) -> Path:
        """Writes a prediction file as given, broken or not."""
        path = self.submissions / model / self._where(task_id) / "prediction.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    @staticmethod
    def _where(task_id: str) -> Path:
        parts = task_id.split(".")
        return Path("nlp", parts[1]) if parts[0] == "language" else Path(*parts)

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the ingest and nightly flows."""
        return {
            "dataset": str(self.dataset),
            "submissions": str(self.submissions),
            "catalogue_files": [str(self.catalogue)],
            "base_catalogue": False,
        }

    def sources(self, model: str) -> tuple[Any, Any]:
        """Where the dataset and one model's submission lie."""
        return self.dataset, self.submissions / model

    def ingest(self, model: str = "model") -> Manifest:
        """Ingests the dataset and one model's submission without Prefect; the references."""
        from tasks.catalog import load_catalogue
        from tasks.ingest import finish, ingest_batch, plan
        from tasks.storage import Store

        store = Store(self.store)
        catalogue = load_catalogue([self.catalogue], base=False)
        manifests = []
        dataset, submission = self.sources(model)
        for kind, who, source in (
            ("references", None, dataset),
            ("predictions", model, submission),
        ):
            todo = plan(store, kind, who, str(source), catalogue)
            done = [ingest_batch(store, kind, who, batch, catalogue) for batch in todo.batches]
            manifests.append(finish(store, todo, done))
        return manifests[0]

    def score(self, model: str = "model") -> dict[tuple[str, str], dict[str, Any]]:
        """Ingests and scores one model without Prefect; rows by (task id, profile)."""
        from tasks.catalog import load_catalogue
        from tasks.schema import QUARANTINE_SCHEMA
        from tasks.score import (
            finish_scores,
            plan_scores,
            read_task_scores,
            score_batch,
            scorings,
            unscored_rows,
        )
        from tasks.storage import Store

        store = Store(self.store)
        catalogue = load_catalogue([self.catalogue], base=False)
        scores = plan_scores(store, model, scorings(catalogue, self.ingest(model)))
        rows = unscored_rows(store, scores, catalogue)
        empty = QUARANTINE_SCHEMA.empty_table()
        finish_scores(store, model, rows, empty, removed=scores.removed)
        for batch in scores.batches:
            result = score_batch(store, model, batch)
            finish_scores(store, model, result.rows, result.quarantine)
        self.plan = scores
        return {
            (row["task_id"], row["profile"]): row
            for row in read_task_scores(store, model).iter_rows(named=True)
        }

    def publish(self, store: str | None = None) -> Any:
        """Scores all models and publishes their results without Prefect; the store."""
        from tasks.catalog import load_catalogue
        from tasks.storage import Store
        from tasks.warehouse import RunInfo, build

        self.store = store or self.store
        for submission in sorted(self.submissions.iterdir()):
            self.score(submission.name)
        catalogue = load_catalogue([self.catalogue], base=False)
        build(Store(self.store), catalogue, RunInfo.now("test"))
        return Store(self.store)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty General-Bench-shaped folder."""
    return Bench(tmp_path)
