"""One night on the process pool and on a Dask cluster, with 1 and 2 workers, on disk and on S3.

    python -m benchmarks.scale_out [--scale 0.3] [--models 4] [--out benchmarks/results/scale_out.md]

The cluster is real: a scheduler and worker processes on loopback, one thread each. S3 is moto's
server in a process of its own. Measures beside them what one call costs in each pool, and what it
costs as a Prefect task run on the same cluster under prefect-dask's DaskTaskRunner.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.command import parser, tell
from benchmarks.full_model import TASKS, add_models, make_inputs, one_night, warm_up

WORKERS = (1, 2)
#: Calls and task runs whose overhead is measured.
CALLS = 100
#: Rounds of them, of which the best counts.
ROUNDS = 3


class Cluster:
    """A Dask scheduler process and one-thread worker processes, on loopback."""

    def __init__(self, folder: Path) -> None:
        from flows.runtime import free_port

        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.start_scheduler()

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        return self._start("scheduler", *where)

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        options = ["--nworkers", "1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        options += ["--host", "127.0.0.1", "--local-directory", str(self.folder)]
        preloads = ["--preload", "tasks.ingest", "--preload", "tasks.score"]
        return self._start("worker", self.address, *options, *preloads, **environment)

    def _start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            # Elsewhere than the flow, as on another machine: no path may be relative to it.
            cwd=self.folder,
            env=os.environ | {"POLARS_MAX_THREADS": "1"} | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Kills every process."""
        for process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """Address of a cluster whose workers are there."""
    from distributed import Client

    folder.mkdir(parents=True, exist_ok=True)
    started = Cluster(folder)
    try:
        for _ in range(workers):
            started.start_worker()
        with Client(started.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
        yield started.address
    finally:
        started.close()


@contextmanager
def s3() -> Iterator[str]:
    """URL of a bucket on an S3 server; this process and its children find it by themselves."""
    import boto3

    from flows.runtime import free_port

    port = free_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"], timeout=2):
                    break
            except OSError:
                time.sleep(0.1)
        boto3.client("s3").create_bucket(Bucket="night")
        yield "s3://night"
    finally:
        server.kill()
        server.wait()


def first_night(root: Path, store: str, **where: Any) -> float:
    """Wall seconds of a first night: everything is ingested, scored and published."""
    wall, report = one_night(root, store, **where)
    assert report.scored_tasks == TASKS * len(report.scores)
    return wall


def nights(root: Path, turns: int, bucket: str) -> dict[tuple[str, str, int], float]:
    """Median wall seconds by place of the store, pool and workers; by turns, so that a busy moment
    of the machine hits all alike."""
    found: dict[tuple[str, str, int], list[float]] = {}
    for turn in range(turns):
        for workers in WORKERS:
            with cluster(root / "dask", workers) as address:
                for place, store in (("disk", str(root / "store")), ("S3", bucket)):
                    for pool, where in (
                        ("processes", {"workers": workers}),
                        ("Dask", {"dask": address}),
                    ):
                        name = f"{store}/{pool}-{workers}-{turn}"
                        seconds = first_night(root, name, **where)
                        found.setdefault((place, pool, workers), []).append(seconds)
                        print(f"{place}, {pool}, {workers}: {seconds:.2f} s", flush=True)
                        shutil.rmtree(name, ignore_errors=True)
    return {key: median(values) for key, values in found.items()}


def overheads(address: str) -> dict[str, float]:
    """Milliseconds a call that does nothing, of `CALLS` at once on 2 workers, best of `ROUNDS`."""
    from flows.dask_pool import DaskPool
    from flows.runtime import WorkerPool
    from tasks.catalog import load_catalogue

    catalogue = load_catalogue([])  # what each call of ingest carries along
    found = {}
    for pool_name, pool in (("process pool", WorkerPool(2)), ("Dask cluster", DaskPool(address))):
        for told, argument in (("", None), (", the catalogue along", catalogue)):
            pool.submit(isinstance, argument, int).result()
            rounds = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                for future in [pool.submit(isinstance, argument, int) for _ in range(CALLS)]:
                    future.result()
                rounds.append((time.perf_counter() - began) * 1e3 / CALLS)
            found[f"call in the {pool_name}{told}"] = min(rounds)
        pool.close()
    found["Prefect task run in the flow's threads"] = _task_runs(None)
    found["Prefect task run on the cluster (DaskTaskRunner)"] = _task_runs(address)
    return found


def _task_runs(address: str | None) -> float:
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner
    from prefect_dask.task_runners import DaskTaskRunner

    runner: Any = DaskTaskRunner(address=address) if address else ThreadPoolTaskRunner(64)

    @task(cache_policy=NO_CACHE, persist_result=False)
    def nothing(number: int) -> int:
        return number

    @flow(task_runner=runner)
    def many() -> float:
        for run in [nothing.submit(i) for i in range(4)]:
            run.result()  # each worker has loaded Prefect
        rounds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for run in [nothing.submit(i) for i in range(CALLS)]:
                run.result()
            rounds.append((time.perf_counter() - began) * 1e3 / CALLS)
        return min(rounds)

    return many()


def report(
    arguments: Namespace,
    instances: int,
    overhead: dict[str, float],
    wall: dict[tuple[str, str, int], float],
) -> str:
    """The tables as Markdown.

    Args:
        arguments: of the command line.
        instances: of all models.
        overhead: as of `overheads`.
        wall: as of `nights`.
    """
    command = f"python -m benchmarks.scale_out --scale {arguments.scale}"
    lines = [
        f"# One night on 1 and 2 workers: {arguments.models} models, {instances:,} instances",
        "",
        f"`{command} --models {arguments.models} --turns {arguments.turns}` on {os.cpu_count()} "
        "cores, which flow, Prefect server, S3 server, scheduler and workers share (15-minute load "
        f"average at the end: {os.getloadavg()[2]:.1f}, of which this run is about 2). Wall seconds "
        f"of a first night (all is ingested, scored, published), medians of {arguments.turns}.",
        "",
        "| store | pool | 1 worker | 2 workers | ratio |",
        "|---|---|---|---|---|",
    ]
    for place in ("disk", "S3"):
        for pool in ("processes", "Dask"):
            one, two = (wall[place, pool, workers] for workers in WORKERS)
            lines.append(f"| {place} | {pool} | {one:.2f} s | {two:.2f} s | {one / two:.2f}x |")
        ratios = [
            wall[place, "Dask", workers] / wall[place, "processes", workers] for workers in WORKERS
        ]
        lines.append(f"| {place} | Dask / processes | {ratios[0]:.2f}x | {ratios[1]:.2f}x | |")
    lines += [
        "",
        f"| what does nothing, {CALLS} at once on 2 workers, best of {ROUNDS} | milliseconds each |",
        "|---|---|",
        *(f"| {what} | {value:.2f} |" for what, value in overhead.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--scale", type=float, default=0.3, help="share of 325,800 instances")
    options.add_argument("--models", type=int, default=4)
    options.add_argument("--turns", type=int, default=2)
    arguments = options.parse_args()
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    from flows.runtime import prefect_server

    with tempfile.TemporaryDirectory() as folder, s3() as bucket, prefect_server():
        root = Path(folder)
        tasks = make_inputs(root, arguments.scale)
        add_models(root, arguments.models)
        warm_up()
        first_night(root, str(root / "warm"), workers=2)
        with cluster(root / "dask", 2) as address:
            overhead = overheads(address)
        wall = nights(root, arguments.turns, bucket)
    instances = sum(count for _, count in tasks.values()) * arguments.models
    tell(report(arguments, instances, overhead, wall), arguments.out)


if __name__ == "__main__":
    main()
