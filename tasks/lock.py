"""One writer a store: a lock that says who holds it, and that a dead run does not keep.

The lock is the object `lock.json`. It changes hands only by compare-and-swap of its whole content:
under `flock` on a local disk, by a conditional PUT on S3, and elsewhere by reading back what was
written, which two runs that start in the same instant could both pass. Readers never need it.

A holder shows that it lives by a heartbeat. A lock is stale when its process is gone from this
machine, or when its heartbeat is old and stays so while a contender watches.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tasks.errors import UserError
from tasks.storage import Store

LOCK = "lock.json"
#: Seconds between heartbeats, and the age in seconds at which a heartbeat is too old.
INTERVAL, STALE = 10.0, 60.0
#: Seconds after which a store without compare-and-swap is read back.
SETTLE = 1.0

#: S3's words for "somebody else was first".
_CONFLICTS = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
#: A file system that knows no `flock`, or a store that knows no conditional PUT.
_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a store. `machine` and `born` tell its process from all others with its pid."""

    run_id: str
    host: str
    machine: str
    pid: int
    born: str
    started: datetime
    heartbeat: datetime

    def is_gone(self) -> bool:
        """Whether its process ran on this machine and has ended; False when that cannot be told."""
        if not self.machine or self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return _born(self.pid) != self.born

    def age(self) -> float:
        """Seconds since its last heartbeat, by this machine's clock."""
        return (datetime.now(UTC) - self.heartbeat).total_seconds()

    def __str__(self) -> str:
        began = self.started.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        return f"run {self.run_id} (host {self.host}, process {self.pid}) since {began}"


def holder(store: Store) -> Holder | None:
    """Who holds the store's lock, alive or not; None when it is free."""
    content = _read(store)
    return None if content is None else _decoded(content)


@contextmanager
def hold(
    store: Store, run_id: str, *, interval: float = INTERVAL, stale: float = STALE
) -> Iterator[StoreLock]:
    """Holds the store for the duration.

    Args:
        interval: seconds between heartbeats.
        stale: seconds after which another run takes over a lock whose heartbeat stopped.

    Raises:
        UserError: when a living run holds it.
    """
    lock = StoreLock(store, run_id, interval, stale)
    lock.acquire()
    beating = threading.Thread(target=lock.beat, name="store lock", daemon=True)
    beating.start()
    try:
        yield lock
    finally:
        lock.ended.set()
        beating.join()
        lock.release()


class StoreLock:
    """The lock of one run; made by `hold`."""

    def __init__(self, store: Store, run_id: str, interval: float, stale: float) -> None:
        self.ended = threading.Event()
        self._store, self._interval, self._stale = store, interval, stale
        now = datetime.now(UTC)
        pid = os.getpid()
        self._holder = Holder(
            run_id=run_id,
            host=socket.gethostname(),
            machine=_machine(),
            pid=pid,
            born=_born(pid),
            started=now,
            heartbeat=now,
        )
        self._written = b""
        self._seen = 0.0  # when the last heartbeat went out, by the wall clock: it counts sleep
        self._lost = False
        self._turn = threading.Lock()

    def acquire(self) -> None:
        """Takes the lock, or the one that a dead run left."""
        watched = False
        while True:
            there = _read(self._store)
            other = _decoded(there) if there is not None else None
            if other is not None and not other.is_gone():
                if watched or other.age() < self._stale:
                    raise UserError(
                        f"the store {self._store.url} is in use by {other}, "
                        f"last heard of {max(0.0, other.age()):.0f} s ago",
                        "wait for it, or stop it; a run that died loses its lock after "
                        f"{self._stale:.0f} s without a heartbeat",
                    )
                # Clocks differ: it lives if it is heard of while we look. The swap then fails.
                time.sleep(2 * self._interval)
                watched = True
            if self._put(there):
                return

    def check(self) -> None:
        """Returns while the store is still ours; to be asked before writing what others read.

        Raises:
            UserError: when another run has taken over, as after a long sleep of this machine.
        """
        if time.time() - self._seen > self._stale:
            self._beat_once()
        if self._lost:
            raise UserError(
                f"run {self._holder.run_id} lost the store {self._store.url}: {holder(self._store)}",
                f"it was not heard of for {self._stale:.0f} s (machine asleep, storage out of "
                "reach); start it again: finished work is kept",
            )

    def beat(self) -> None:
        """Renews the heartbeat until the end, or until the lock is lost."""
        while not self._lost and not self.ended.wait(self._interval):
            # A hiccup of the storage: the next heartbeat may come through.
            with suppress(Exception):
                self._beat_once()

    def release(self) -> None:
        """Gives the lock back. Where that fails it goes stale by itself."""
        with suppress(Exception):
            _swap(self._store, self._written, None)

    def _beat_once(self) -> None:
        with self._turn:
            self._lost = self._lost or not self._put(self._written)

    def _put(self, old: bytes | None) -> bool:
        self._holder = msgspec.structs.replace(self._holder, heartbeat=datetime.now(UTC))
        new = msgspec.json.format(msgspec.json.encode(self._holder), indent=1)
        if not _swap(self._store, old, new):
            return False
        self._written, self._seen = new, time.time()
        return True


def _decoded(content: bytes) -> Holder | None:
    """The holder; None for what a crash left of a lock."""
    try:
        return msgspec.json.decode(content, type=Holder)
    except msgspec.DecodeError:
        return None


def _machine() -> str:
    """Within what a pid is unique: one boot of one kernel, one pid namespace; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When the process started, in ticks since boot; empty when it has ended or is unknown."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state in "ZX" else fields[18]


def _read(store: Store) -> bytes | None:
    try:
        return store.read_bytes(LOCK) or None
    except FileNotFoundError:
        return None


def _swap(store: Store, old: bytes | None, new: bytes | None) -> bool:
    """Replaces the lock's content if it is still `old` (None: absent); whether it was."""
    protocol = store.fs.protocol
    names = {protocol} if isinstance(protocol, str) else set(protocol)
    try:
        if store.is_local:
            return _swap_on_disk(Path(store.path(LOCK)), old, new)
        if "s3" in names:
            return _swap_on_s3(store, old, new)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return _swap_with_read_back(store, old, new)


def _swap_on_disk(path: Path, old: bytes | None, new: bytes | None) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink == 0:
                continue  # it was removed while we waited for it
            found = file.read() or None
            same = found == old
            if same and new is not None:
                # Over the old bytes first: a full disk then leaves the old lock, not none.
                os.pwrite(file.fileno(), new, 0)
                file.truncate(len(new))
            elif same or found is None:
                path.unlink()
            return same


def _swap_on_s3(store: Store, old: bytes | None, new: bytes | None) -> bool:
    path = store.path(LOCK)
    condition = {"IfNoneMatch": "*"}
    if old is not None:
        try:
            condition = {"IfMatch": store.fs.info(path, refresh=True)["ETag"]}
        except FileNotFoundError:
            return False
        if _read(store) != old:
            return False
    if new is None:
        store.delete(LOCK)
        return True
    bucket, key, _ = store.fs.split_path(path)
    try:
        store.fs.call_s3("put_object", Bucket=bucket, Key=key, Body=new, **condition)
    except OSError as error:
        if _read(store) == new:
            return True  # it was done, and the answer lost on its way
        answer = getattr(error.__cause__, "response", None) or {}
        code = answer.get("Error", {}).get("Code")
        if code == "NoSuchBucket":
            raise UserError(
                f"the bucket of {store.url} does not exist", "create it, or check --store"
            ) from None
        if code in _CONFLICTS or isinstance(error, FileExistsError | FileNotFoundError):
            return False
        raise
    return True


def _swap_with_read_back(store: Store, old: bytes | None, new: bytes | None) -> bool:
    if _read(store) != old:
        return False
    if new is None:
        store.delete(LOCK)
        return True
    store.write_bytes(new, LOCK)
    time.sleep(SETTLE)
    return _read(store) == new
