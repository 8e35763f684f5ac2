"""Peak memory of the processes that a benchmark starts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

#: Seconds between two looks: each costs some milliseconds, and the system keeps the peaks.
_EVERY = 0.5


@contextmanager
def worker_peaks() -> Iterator[dict[int, float]]:
    """Yields the peak resident memory in GB, by process id, of all processes below this one; filled
    in meanwhile. Linux."""
    peaks: dict[int, float] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(_EVERY):
            for process in psutil.Process().children(recursive=True):
                with suppress(OSError, StopIteration):  # it has ended
                    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                    told = next(line for line in lines if line.startswith("VmHWM"))
                    peaks[process.pid] = int(told.split()[1]) / 1e6

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield peaks
    finally:
        over.set()
        looking.join()
