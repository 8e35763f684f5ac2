"""What a worker process does besides its calls. Light to import: every worker does, and none of them
should load Prefect."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Ends this worker when the run's process is gone, however it went: a killed run must not go on
    writing through workers that nobody waits for, nor leave them in memory."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()
