"""How flows run work: a Prefect server to report to, and worker processes for the heavy part.

Prefect task runs live in threads of the flow's process: one a model and stage, which is what an
operator looks for. They cut the work into calls for a plain process pool (or a Dask cluster, see
`flows.dask_pool`), whose processes import no Prefect, and take the results in as they come. So a
model's stage costs Prefect one task run (about 10 ms), however finely it is cut, and nothing heavy
runs under the flow's interpreter lock.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.forkserver import ensure_running
from typing import Any, Generic, Protocol, TypeVar

import certifi
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait
from prefect.logging.handlers import APILogHandler
from prefect.settings import (
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    get_current_settings,
    temporary_settings,
)

from tasks.catalog import Catalogue, load_catalogue
from tasks.errors import UserError
from tasks.files import is_storage_failure
from tasks.lock import StoreLock, hold
from tasks.storage import Store
from tasks.worker import WorkerContext, end_with_parent

T = TypeVar("T")

#: Seconds to wait before each repeat of a failed batch: storage hiccups pass, bugs do not.
RETRY_DELAYS = [1.0, 5.0]
SERVER_START_SECONDS = 180
#: Seconds after which a half-written file is no writer's any more, but was left by a killed one.
LEFTOVER_SECONDS = 3600.0


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


#: What worker processes find loaded. SciPy, which only the metrics that need it import, takes a worker
#: half a second.
_PRELOADED = [
    "tasks.ingest",
    "tasks.score",
    "tasks.worker",
    "scipy.linalg",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.sparse.csgraph",
    "scipy.spatial.distance",
    "tasks.metrics.nltk_parts",
]


def _fork_server() -> WorkerContext:
    """Starts the process that workers are forked from, if it does not run yet, and does not wait.

    Workers that are forked from a clean process start quickly, and no thread's lock is copied.
    """
    context = WorkerContext()
    context.set_forkserver_preload(_PRELOADED)
    # A process a core is enough: workers that share the cores in threads too get in each other's way.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    # The C library gives the memory of large arrays back at once, and the next metric's page faults
    # then take a third of its time (masks of videos: 9.3 ms with, 6.6 ms without). glibc's names.
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(64 * 2**20))
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
    ensure_running()
    return context


class Pool(Protocol):
    """Where heavy calls are made: processes of this machine, or the workers of a cluster."""

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Has the call made."""
        ...

    def replace_if_broken(self, error: BaseException) -> None:
        """Told of each call's failure: if it is the pool's own, the next call gets a new one."""
        ...

    def close(self) -> None:
        """Ends it for good; calls under way are given up, and fail."""
        ...


class WorkerPool:
    """A process pool that starts when first used, and again after a worker was killed."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._executor: ProcessPoolExecutor | None = None
        self._closed = False

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Has the call made in a worker process."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the run has ended: its workers are gone")
            if self._executor is None:
                self._executor = ProcessPoolExecutor(
                    self.workers, mp_context=_fork_server(), initializer=end_with_parent
                )
            try:
                return self._executor.submit(function, *args)
            except BrokenProcessPool:
                self._drop_broken()
                raise

    def replace_if_broken(self, error: BaseException) -> None:
        """After a worker was killed, the next call gets new workers."""
        if isinstance(error, BrokenProcessPool):
            with self._lock:
                self._drop_broken()

    def _drop_broken(self) -> None:
        """Ends the workers that are left of a broken executor; to be called with the lock held.

        It ends them itself, but not one that a call was just starting: it then waits for it without
        end, and this process with it when it exits.
        """
        # Whoever else was told of the same failure may come when there is a new one already.
        if self._executor is not None and self._executor._broken:
            _terminate_workers(self._executor)
            self._executor = None

    def close(self) -> None:
        """Ends it for good; calls under way are given up, and fail."""
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
        if executor is None:
            return
        # Not `cancel_futures`: whoever waits for a cancelled call in `as_completed` is never told.
        # The death of the workers fails every call. From Python 3.14 on, `terminate_workers()`.
        _terminate_workers(executor)
        executor.shutdown(wait=True)


def _terminate_workers(executor: ProcessPoolExecutor) -> None:
    for worker in list((executor._processes or {}).values()):
        worker.terminate()


@dataclass(frozen=True, slots=True)
class Means:
    """What the stages of one run work with: the catalogue and the workers."""

    catalogue: Catalogue
    pool: Pool


_means: Means | None = None


@contextmanager
def means(
    catalogue_files: Sequence[str],
    base_catalogue: bool,
    workers: int | None = None,
    dask: str | None = None,
) -> Iterator[Means]:
    """The means of the run under way, else new ones for the duration.

    The stages of a nightly run share them: a catalogue file that is edited meanwhile cannot make
    one stage disagree with the next, and the processes start once.

    Args:
        workers: processes of this machine, by default one a core.
        dask: address of a Dask scheduler whose workers take their place.
    """
    global _means
    if _means is not None:
        yield _means
        return
    catalogue = load_catalogue(catalogue_files, base=base_catalogue)
    _means = Means(catalogue, _dask_pool(dask) if dask else WorkerPool(workers))
    try:
        yield _means
    finally:
        _means.pool.close()
        _means = None


def _dask_pool(address: str) -> Pool:
    try:
        from flows.dask_pool import DaskPool
    except ModuleNotFoundError as error:
        raise UserError(
            f"--dask needs the package {error.name}",
            "pip install 'general-level-pipeline[dask]'",
        ) from None
    return DaskPool(address)


def new_run_id() -> str:
    """A sortable run id: the UTC time to the microsecond."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


_lock: StoreLock | None = None


@contextmanager
def sole_writer(store_url: str, run_id: str | None = None) -> Iterator[None]:
    """Holds the store's lock for the run under way; its stages share it.

    What killed runs left half-written goes first.

    Raises:
        UserError: when another run holds the store.
    """
    global _lock
    if _lock is not None:
        yield
        return
    store = Store(store_url)
    with hold(store, run_id or new_run_id()) as lock:
        _lock = lock
        try:
            store.drop_asides(LEFTOVER_SECONDS)
            yield
        finally:
            _lock = None


def still_sole_writer() -> None:
    """To be called before writing what readers see. Raises `UserError` when the lock was lost."""
    if _lock is not None:
        _lock.check()


@dataclass(frozen=True, slots=True)
class Work(Generic[T]):
    """What one task run does: calls to be made in worker processes, and what to do with the results.

    Attributes:
        label: a name that reads well in a dashboard.
        calls: functions with their arguments, independent of each other.
        take: called in the flow's process with each result as it comes, never twice at a time.
    """

    label: str
    calls: Sequence[tuple[Callable[..., T], tuple[Any, ...]]]
    take: Callable[[T], None]


def despite_failures(function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Makes a call, and again after each of `RETRY_DELAYS` while the storage is what fails."""
    for delay in RETRY_DELAYS:
        try:
            return function(*args, **options)
        except Exception as error:
            if not is_storage_failure(error):
                raise
            time.sleep(delay)
    return function(*args, **options)


def run_all(stage: str, work: Sequence[Work[Any]], pool: Pool) -> list[BaseException | None]:
    """Runs each piece of work as one Prefect task run; returns for each what made it fail, if so.

    A call that fails does not stop the others; when they are done, the task run is repeated after
    each of `RETRY_DELAYS` with the failed calls alone. If they fail for good, what the others gave
    stays.

    A signal that ends the run (SIGTERM, Ctrl-C) ends its workers and waits for the task runs before
    it goes on its way: nobody may write once the store's lock is given back.
    """
    ended = threading.Event()
    waiting = [dict(enumerate(piece.calls)) for piece in work]
    total = sum(len(calls) for calls in waiting)
    report(stage, 0, total)

    # Closing over `work` keeps the arguments out of Prefect's parameter handling, which would walk
    # through every one of them looking for futures.
    @task(
        name=stage,
        task_run_name="{label}",
        retries=len(RETRY_DELAYS),
        retry_delay_seconds=RETRY_DELAYS,
        retry_condition_fn=lambda *_: not ended.is_set(),
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def run_one(index: int, label: str) -> None:
        futures = {
            pool.submit(function, *args): call for call, (function, args) in waiting[index].items()
        }
        failure: BaseException | None = None
        for future in as_completed(futures):
            still_sole_writer()
            try:
                work[index].take(future.result())
            except Exception as error:
                pool.replace_if_broken(error)
                failure = error
            else:
                del waiting[index][futures[future]]
                report(stage, total - sum(map(len, waiting)), total)
        if failure is not None:
            raise failure

    runs = []
    try:
        for i, piece in enumerate(work):
            runs.append(run_one.submit(i, piece.label))
        outcomes = [run.result(raise_on_failure=False) for run in runs]
    except BaseException:
        ended.set()
        pool.close()
        wait(runs)
        raise
    still_sole_writer()
    return [outcome if isinstance(outcome, BaseException) else None for outcome in outcomes]


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


#: `prefect`, which ends when its standard input does: with this process, even if that is killed. It
#: loads without garbage collection: there is none in what it loads, and looking takes a quarter of it.
_SERVER = """
import gc, os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
gc.disable()
import prefect.server.api.server
from prefect.cli import app
gc.freeze()
gc.enable()
app()
"""


@contextmanager
def prefect_server() -> Iterator[str]:
    """A Prefect API to report to: the configured one, else a real server for this run only.

    Prefect would start such a server by itself; started here, its address is known to every part
    of the run, and a failure to start says why. Its database is that of the user's Prefect home,
    so that `prefect server start` shows the runs afterwards.

    Raises:
        UserError: when the configured server does not answer, or a new one does not start.
    """
    _fork_server()  # loads on the other core meanwhile
    configured = get_current_settings().api.url
    if configured:
        if not _is_healthy(configured, 5):
            raise UserError(
                f"the Prefect server at {configured} does not answer",
                "start it, or unset PREFECT_API_URL to use a server for this run only",
            )
        yield configured
        return
    with _own_server() as url, _short_certificates() as certificates:
        # Heartbeats let a lasting server notice dead flows; this one lives no longer than the flow,
        # and stopping a flow's heartbeat takes a second. Nor do browsers' forged requests reach it.
        settings: dict[Any, Any] = {
            PREFECT_API_URL: url,
            PREFECT_API_SSL_CERT_FILE: certificates,
            PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
            PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }
        with temporary_settings(settings):
            try:
                yield url
            finally:
                APILogHandler().flush()  # while there is still a server to take the last lines


@contextmanager
def _short_certificates() -> Iterator[str]:
    """A file with one certificate authority, for the duration.

    Prefect's client loads the authorities of the web for each flow run, which takes 0.05 s, and does not
    go without; our own server is reached without TLS, and needs none of them.
    """
    first, end, _ = certifi.contents().partition("-----END CERTIFICATE-----")
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{first}{end}\n")
        file.flush()
        yield file.name


@contextmanager
def _own_server() -> Iterator[str]:
    """A new server for the duration; its API address.

    The port that it is given was free, but another process may take it first: then it gets another.
    """
    command = ["server", "start", "--no-ui", "--host", "127.0.0.1"]
    for last in (False, False, True):
        port = free_port()
        url = f"http://127.0.0.1:{port}/api"
        with tempfile.TemporaryFile() as log:  # a pipe that nobody reads would be full one day
            server = subprocess.Popen(  # noqa: S603 - our own interpreter and fixed words
                [sys.executable, "-c", _SERVER, *command, "--port", str(port)],
                env=os.environ | _OWN_SERVER,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                # Loaded while the server starts, on the other core, and not when the first flow does.
                import pyarrow.dataset  # noqa: F401

                if _is_healthy(url, SERVER_START_SECONDS, server):
                    _first_requests(url)
                    yield url
                    return
                why = "no answer" if server.poll() is None else "it stopped"
            finally:
                server.terminate()
                try:
                    server.wait(10)
                except subprocess.TimeoutExpired:
                    server.kill()
            log.seek(0)
            said = " ".join(log.read().decode(errors="replace").strip().splitlines()[-2:])
        if last or "already in use" not in said:
            raise UserError(
                f"no Prefect server could be started: {why}: {said}",
                "run `general-level doctor`; or start `prefect server start` and set PREFECT_API_URL",
            )


def free_port() -> int:
    """A port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _first_requests(url: str) -> None:
    """Asks for what a flow asks for first: a fresh server opens its database and storage on demand."""
    for path in ("csrf-token?client=warm", "admin/storage"):
        with suppress(OSError), urllib.request.urlopen(f"{url}/{path}", timeout=30):  # noqa: S310
            pass


def _is_healthy(url: str, seconds: float, server: subprocess.Popen[bytes] | None = None) -> bool:
    """Whether the API answers within that time; not when its server has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (server is None or server.poll() is None):
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310 - http(s)
            return True
        time.sleep(0.1)
    return False
