"""The pool of a run on several machines: the same calls, made by the workers of a Dask cluster.

Workers import this module and `tasks/`, and no Prefect.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client
from distributed.cfexecutor import ClientExecutor

import tasks
from tasks.errors import UserError
from tasks.storage import Store

T = TypeVar("T")

#: Seconds to wait for the scheduler, at the start and when it was lost.
CONNECT_SECONDS = 30


def _code_version() -> str:
    """Hash of the code and the tables that results depend on: every file of `tasks/` (sha256)."""
    root = Path(tasks.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.suffix in {".py", ".csv"}):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


#: Taken when the code is loaded: a worker that outlives an update of its files still has the old.
CODE_VERSION = _code_version()


class DaskPool:
    """Has calls made by a Dask cluster; the interface of `flows.runtime.WorkerPool`.

    A call whose worker dies is made again by another one: Dask allows three deaths a call
    (`distributed.scheduler.allowed-failures` of the scheduler) before it takes the call for what
    kills them. While there is no worker at all, calls wait for one.

    Args:
        address: of the scheduler, such as `tcp://scheduler:8786`.

    Raises:
        UserError: when no scheduler answers there within `CONNECT_SECONDS`.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._client, self._executor = self._connect()

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Has the call made by a worker, which must see the same store and run the same code."""
        for store in args:
            if isinstance(store, Store) and store.is_local:
                Path(store.root).mkdir(parents=True, exist_ok=True)
        with self._lock:
            if self._client.status in ("closing", "closed"):
                self._client, self._executor = self._connect()
            return self._executor.submit(in_worker, CODE_VERSION, function, *args)

    def replace_if_broken(self, error: BaseException) -> None:
        """Nothing to do: the cluster replaces its workers, and the client finds a scheduler that
        comes back within `CONNECT_SECONDS`."""

    def close(self) -> None:
        """Leaves the cluster; calls under way are given up."""
        with self._lock:
            self._client.close()

    def _connect(self) -> tuple[Client, ClientExecutor]:
        try:
            client = Client(self._address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no Dask scheduler answers at {self._address}: {error}",
                "start `dask scheduler` there, or leave --dask out to use this machine's cores",
            ) from None
        # A call is made each time it is asked for, never answered from what an equal one gave.
        return client, client.get_executor(pure=False)


def in_worker(version: str, function: Callable[..., T], *args: Any) -> T:
    """Makes the call, in a worker, if the worker has the flow's code and its store.

    Raises:
        UserError: when the code is another version, whose results would pass for this one's, or
            a store that is a folder is absent: what is written there would stay on this machine.
    """
    if version != CODE_VERSION:
        raise UserError(
            "a Dask worker runs another version of the pipeline than the flow",
            "install the same version for both, and start the workers again",
        )
    for store in args:
        if isinstance(store, Store) and store.is_local and not Path(store.root).is_dir():
            raise UserError(
                f"the store {store.root} is not on the machine of a Dask worker",
                "keep it on s3:// or on a file system that all workers share",
            )
    return function(*args)
