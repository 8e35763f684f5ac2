"""Worker processes: how they start, and what they do besides their calls. Light to import: every
worker does, and none of them should load Prefect."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import ModuleType
from typing import Any


def end_with_parent() -> None:
    """Ends this worker when the run's process is gone, however it went: a killed run must not go on
    writing through workers that nobody waits for, nor leave them in memory."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


_main_is_away = threading.Lock()


class _WorkerProcess(ForkServerProcess):
    """A process that does not run its parent's main script once more.

    Python has each worker import it, for what is defined there. Of a scheduled night that is all of
    Prefect, two seconds a worker, and our calls are never defined in a script.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _main_is_away:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                return ForkServerProcess._Popen(process_obj)  # type: ignore[attr-defined]
            finally:
                sys.modules["__main__"] = main


class WorkerContext(ForkServerContext):
    """Starts workers by forking a clean process, none of which knows the run's main script."""

    Process = _WorkerProcess
