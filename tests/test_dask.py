"""The night on a real Dask cluster: a scheduler and worker processes on loopback, store on S3."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from benchmarks.full_model import make_inputs
from benchmarks.scale_out import Cluster
from flows.nightly import nightly
from tasks.errors import UserError
from tasks.score import read_task_scores
from tasks.storage import Store, quote_name
from tasks.warehouse import connect
from tests.conftest import s3_server

distributed = pytest.importorskip("distributed")

from flows import dask_pool  # noqa: E402 - only where Dask is installed
from flows.dask_pool import CODE_VERSION, DaskPool, in_worker  # noqa: E402

TASKS = 175
MODELS = ("full-model", "twin", "half")
PATIENCE = 120  # seconds; nothing here takes a tenth of it


def until(condition: Callable[[], Any]) -> Any:
    """The condition's first true value; fails when there is none in time."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    started = Cluster(folder)
    yield started
    started.close()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket's URL on moto's S3 server, which this process and its children find by themselves."""
    with pytest.MonkeyPatch.context() as patch, s3_server(patch, "cluster"):
        yield "s3://cluster"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Arguments of the nightly flow: `TASKS` tasks, three models, of which one answers every second."""
    root = tmp_path_factory.mktemp("inputs")
    make_inputs(root, 0.12)
    submissions = root / "submissions"
    for folder in (root / "dataset", submissions / MODELS[0]):
        files = sorted(folder.rglob("*.json"))
        for path in set(files) - set(files[::4]):
            path.unlink()
            path.parent.rmdir()
    shutil.copytree(submissions / MODELS[0], submissions / MODELS[1])
    shutil.copytree(submissions / MODELS[0], submissions / MODELS[2])
    for path in sorted((submissions / MODELS[2]).rglob("*.json"))[::2]:
        path.unlink()
        path.parent.rmdir()
    return {
        "dataset": str(root / "dataset"),
        "submissions": str(submissions),
        "catalogue_files": [str(root / "catalogue.csv")],
        "base_catalogue": False,
    }


@pytest.fixture(scope="module")
def in_processes(
    inputs: dict[str, Any], server: str, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    """The store of the same night on this machine's process pool and disk."""
    url = str(tmp_path_factory.mktemp("local") / "store")
    assert nightly(url, **inputs, workers=2).failures == []
    return Store(url)


def instance_scores(store: Store, model: str) -> pl.DataFrame:
    """Every stored row of statistics of a model, task by task."""
    place = ("scores", quote_name(model), "instances")
    rows = read_task_scores(store, model).filter(status="scored")
    with store.part_reader() as read:
        tables = [
            pl.DataFrame(pl.from_arrow(read(range(first, end), *place, part)))
            .filter(task_id=task_id)
            .with_columns(pl.lit(profile).alias("profile"))
            for task_id, profile, part, first, end in rows.select(
                "task_id", "profile", "part", "row_group_start", "row_group_end"
            ).iter_rows()
        ]
    return pl.concat(tables)


def published(store: Store, table: str) -> list[tuple]:
    with connect(store) as database:
        return database.execute(f"FROM {table} ORDER BY ALL").fetchall()


def assert_same(ours: Store, theirs: Store) -> None:
    """The two nights gave the same to the bit, times apart."""
    for model in MODELS:
        scores = [read_task_scores(store, model).drop("duration_s") for store in (ours, theirs)]
        assert scores[0].filter(status="scored").height >= TASKS // 2
        assert_frame_equal(*scores, check_exact=True)
        instances = [instance_scores(store, model) for store in (ours, theirs)]
        assert instances[0].height > 4_000
        assert_frame_equal(*instances, check_exact=True)
    assert len(published(ours, "levels")) > 100
    assert published(ours, "levels") == published(theirs, "levels")


@pytest.mark.server
def test_the_night_gives_the_same_to_the_bit_as_in_the_process_pool(
    cluster, s3, inputs, in_processes, server
):
    for _ in range(2):
        cluster.start_worker()
    url = f"{s3}/same"
    report = nightly(url, **inputs, dask=cluster.address)
    assert report.failures == []
    assert_same(Store(url), in_processes)
    with distributed.Client(cluster.address, set_as_default=False) as client:
        steps = client.run(lambda dask_worker: dask_worker.state.transition_counter)
    assert len(steps) == 2
    assert all(count > 0 for count in steps.values())  # both took part
    assert nightly(url, **inputs, dask=cluster.address).scored_tasks == 0


@pytest.mark.server
def test_a_worker_killed_in_the_middle_of_its_calls_loses_nothing(
    cluster, s3, inputs, in_processes, server
):
    workers = {process.pid: process for process in (cluster.start_worker() for _ in range(2))}
    url = f"{s3}/killed"
    reports: list[Any] = []

    def night() -> None:
        reports.append(nightly(url, **inputs, dask=cluster.address))

    with distributed.Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        pids = client.run(os.getpid)
        thread = threading.Thread(target=copy_context().run, args=(night,))  # finds the server
        thread.start()

        def stopped_at_work() -> int | None:
            """A worker that is stopped and holds calls whose results nobody has."""
            for address, calls in client.processing().items():
                if calls and address in pids:
                    os.kill(pids[address], signal.SIGSTOP)
                    time.sleep(0.5)  # what it had sent before arrives
                    if client.processing().get(address):
                        return pids[address]
                    os.kill(pids[address], signal.SIGCONT)
            return None

        victim = until(stopped_at_work)
        workers[victim].send_signal(signal.SIGKILL)
        workers[victim].wait(PATIENCE)
        assert thread.is_alive()
        thread.join(PATIENCE)
        assert len(client.scheduler_info()["workers"]) == 1
    (report,) = reports
    assert report.failures == []
    assert report.scored_tasks == TASKS + TASKS + TASKS // 2
    assert_same(Store(url), in_processes)


def test_a_scheduler_that_comes_back_is_found_again(cluster):
    cluster.start_worker()
    pool = DaskPool(cluster.address)
    try:
        assert pool.submit(max, 1, 2).result(PATIENCE) == 2
        lost = pool.submit(time.sleep, PATIENCE)
        cluster.close()
        with pytest.raises(Exception) as caught:
            lost.result(PATIENCE)
        assert "cancel" in type(caught.value).__name__.lower()
        cluster.start_scheduler()
        cluster.start_worker()
        assert pool.submit(max, 3, 4).result(PATIENCE) == 4
    finally:
        pool.close()


@pytest.mark.server
def test_no_scheduler_is_told_as_the_users_mistake(inputs, server, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_pool, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        nightly(str(tmp_path / "store"), **inputs, dask="tcp://127.0.0.1:9")
    with pytest.raises(UserError, match="no Dask scheduler answers at nonsense://x"):
        nightly(str(tmp_path / "store"), **inputs, dask="nonsense://x")


def test_a_worker_with_other_code_is_refused(cluster, tmp_path):
    """Its results would be taken for those of this version."""
    for package in ("flows", "tasks", "sql"):
        shutil.copytree(Path(dask_pool.__file__).parents[1] / package, tmp_path / package)
    with open(tmp_path / "tasks" / "version.py", "a") as file:
        file.write("# another version\n")
    cluster.start_worker(PYTHONPATH=str(tmp_path))
    pool = DaskPool(cluster.address)
    try:
        with pytest.raises(UserError, match="another version of the pipeline"):
            pool.submit(max, 1, 2).result(PATIENCE)
    finally:
        pool.close()


def test_a_worker_without_the_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not on the machine of a Dask worker"):
        in_worker(CODE_VERSION, print, Store(tmp_path / "elsewhere"))
