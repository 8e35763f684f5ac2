"""How flows run work: a Prefect server to report to, and worker processes for the heavy part.

Prefect task runs live in threads of the flow's process and only wait there; the work itself is
done by a plain process pool, whose processes import no Prefect. So a batch costs Prefect one task
run (about 10 ms), and nothing heavy runs under the flow's interpreter lock.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.logging.handlers import APILogHandler
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    get_current_settings,
    temporary_settings,
)

from tasks.catalog import Catalogue, load_catalogue
from tasks.errors import UserError

T = TypeVar("T")

#: Seconds to wait before each repeat of a failed batch: storage hiccups pass, bugs do not.
RETRY_DELAYS = [1.0, 5.0]
SERVER_START_SECONDS = 120


class Progress(Protocol):
    """Told how a stage advances: `done` of `total` units of `stage`."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


_progress: Progress | None = None


@contextmanager
def reporting_to(progress: Progress | None) -> Iterator[None]:
    """Sends the progress of the stages run inside to `progress` (the command line's bars)."""
    global _progress
    before, _progress = _progress, progress
    try:
        yield
    finally:
        _progress = before


def report(stage: str, done: int, total: int) -> None:
    """Tells whoever listens how far a stage is."""
    if _progress is not None:
        _progress(stage, done, total)


class WorkerPool:
    """A process pool that starts when first used, and again after a worker was killed."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._executor: ProcessPoolExecutor | None = None

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """Runs the call in a worker process and returns its result, or raises its error."""
        with self._lock:
            if self._executor is None:
                # Forked from a clean server process: quick to start, and no thread's lock is copied.
                context = multiprocessing.get_context("forkserver")
                context.set_forkserver_preload(["tasks.ingest", "tasks.score"])
                self._executor = ProcessPoolExecutor(self.workers, mp_context=context)
            executor = self._executor
        try:
            return executor.submit(function, *args).result()
        except BrokenProcessPool:
            with self._lock:
                if self._executor is executor:
                    self._executor = None
            raise

    def close(self) -> None:
        with self._lock:
            if self._executor is not None:
                self._executor.shutdown(wait=True, cancel_futures=True)
                self._executor = None


@dataclass(frozen=True, slots=True)
class Means:
    """What the stages of one run work with: the catalogue and the worker processes."""

    catalogue: Catalogue
    pool: WorkerPool


_means: Means | None = None


@contextmanager
def means(
    catalogue_files: Sequence[str], base_catalogue: bool, workers: int | None = None
) -> Iterator[Means]:
    """The means of the run under way, else new ones for the duration.

    The stages of a nightly run share them: a catalogue file that is edited meanwhile cannot make
    one stage disagree with the next, and the processes start once.
    """
    global _means
    if _means is not None:
        yield _means
        return
    _means = Means(load_catalogue(catalogue_files, base=base_catalogue), WorkerPool(workers))
    try:
        yield _means
    finally:
        _means.pool.close()
        _means = None


@dataclass(frozen=True, slots=True)
class Work(Generic[T]):
    """One call to be made in a worker process, under a name that reads well in a dashboard."""

    label: str
    function: Callable[..., T]
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of one `Work`: its place in the list, and its result or its error."""

    index: int
    result: T | None
    error: BaseException | None


def run_all(stage: str, work: Sequence[Work[T]], pool: WorkerPool) -> Iterator[Outcome[T]]:
    """Runs each piece of work as one Prefect task run; yields outcomes as they come.

    A piece that fails is repeated after each of `RETRY_DELAYS`; if it fails for good, its error is
    an outcome and the others go on.
    """

    # Closing over `work` keeps the arguments out of Prefect's parameter handling, which would walk
    # through every one of them looking for futures.
    @task(
        name=stage,
        task_run_name="{label}",
        retries=len(RETRY_DELAYS),
        retry_delay_seconds=RETRY_DELAYS,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def run_one(index: int, label: str) -> T:
        return pool.run(work[index].function, *work[index].args)

    total = len(work)
    report(stage, 0, total)
    futures = {run_one.submit(i, piece.label): i for i, piece in enumerate(work)}
    for done, future in enumerate(as_completed(list(futures)), start=1):
        outcome = future.result(raise_on_failure=False)
        failed = isinstance(outcome, BaseException)
        report(stage, done, total)
        yield Outcome(
            futures[future],
            None if failed else outcome,
            outcome if failed else None,  # type: ignore[arg-type]
        )


#: Our own server keeps the record of one run and has no deployments: what serves schedules, workers
#: and automations is off, and records are written several at a time. Measured: 2 s of 10 saved.
_OWN_SERVER = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
} | {
    f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false"
    for service in (
        "CANCELLATION_CLEANUP",
        "CLEANUP_RECONCILER",
        "FOREMAN",
        "LATE_RUNS",
        "PAUSE_EXPIRATIONS",
        "REPOSSESSOR",
        "SCHEDULER",
        "TRIGGERS",
    )
}


@contextmanager
def prefect_server() -> Iterator[str]:
    """A Prefect API to report to: the configured one, else a real server for this run only.

    Prefect would start such a server by itself; started here, its address is known to every part
    of the run, and a failure to start says why. Its database is that of the user's Prefect home,
    so that `prefect server start` shows the runs afterwards.

    Raises:
        UserError: when the configured server does not answer, or a new one does not start.
    """
    configured = get_current_settings().api.url
    if configured:
        try:
            _wait_until_healthy(configured, None, 5)
        except TimeoutError:
            raise UserError(
                f"the Prefect server at {configured} does not answer",
                "start it, or unset PREFECT_API_URL to use a server for this run only",
            ) from None
        yield configured
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = os.environ | _OWN_SERVER
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(  # noqa: S603 - our own interpreter and fixed words
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with suppress(OSError):  # records can wait for a moment when the workers cannot
        os.setpriority(os.PRIO_PROCESS, server.pid, 10)
    try:
        # Loaded while the server starts, on the other core, and not when the first flow does.
        import pyarrow.dataset  # noqa: F401

        try:
            _wait_until_healthy(url, server, SERVER_START_SECONDS)
            _first_requests(url)
        except TimeoutError as error:
            raise UserError(
                f"no Prefect server could be started: {error}",
                "run `general-level doctor`; or start `prefect server start` and set PREFECT_API_URL",
            ) from None
        # Heartbeats let a lasting server notice dead flows; this one lives no longer than the flow,
        # and stopping a flow's heartbeat takes a second.
        settings: dict[Any, Any] = {
            PREFECT_API_URL: url,
            PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }
        with temporary_settings(settings):
            try:
                yield url
            finally:
                APILogHandler().flush()  # while there is still a server to take the last lines
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def _first_requests(url: str) -> None:
    """Asks for what a flow asks for first: a fresh server opens its database and storage on demand."""
    for path in ("csrf-token?client=warm", "admin/storage"):
        with suppress(OSError), urllib.request.urlopen(f"{url}/{path}", timeout=30):  # noqa: S310
            pass


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes] | None, seconds: float) -> None:
    """Returns when the API answers; TimeoutError when it has not within that time, or has died."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server is not None and server.poll() is not None:
            said = server.stderr.read().decode(errors="replace") if server.stderr else ""
            raise TimeoutError(said.strip().splitlines()[-1] if said.strip() else "it stopped")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310 - http(s) only
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"no answer within {seconds:.0f} s")
