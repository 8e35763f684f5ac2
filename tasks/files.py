"""Files where they lie: plain, on any storage that fsspec knows, or inside a .zip or .tar archive.

The storage may take a limited time for each file (`tasks.timeout`). What it does wrong is told apart
from what is wrong with a file: the first may pass, and the call is made again; the second stays.
"""

from __future__ import annotations

import errno
import io
import lzma
import os
import stat
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from gzip import GzipFile
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

from tasks.errors import UserError
from tasks.storage import file_system, find_files
from tasks.timeout import FLOOR_RATE, read_timeout, within

T = TypeVar("T")

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")

#: What reading a file raises when the file is damaged; `is_storage_failure` tells which `OSError` is.
DAMAGED = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)

#: Bytes that are read at once: all of a small file, when it is opened.
_CHUNK = 2**20
#: Bytes that remote storages read ahead, and that archives do.
_REMOTE_BLOCK, _ARCHIVE_BLOCK = 4 * 2**20, 2**17
#: Bytes of a file that is read ahead, and those of all at once; seconds after which no other is.
_SMALL, _AHEAD, _AHEAD_SECONDS = 2**18, 2**23, 1.0
#: Archives that are kept open at once.
_KEPT = 8
#: Compressed tars are unpacked to a temporary file up to this size, larger ones read in turn.
_UNPACKED_LIMIT = 8 * 2**30
#: A member of an archive is refused when it unpacks to more than this, or grows beyond this ratio.
MEMBER_LIMIT = 8 * 2**30
MEMBER_RATIO = 1_000
#: Small members may compress by any ratio: a file of zeros is no bomb below this size.
MEMBER_FREE = 64 * 2**20
BEYOND = "beyond the limit for archives"
#: Archives are held in memory up to this size when they are unpacked.
_IN_MEMORY = 32 * 2**20

#: Errors of the system that tell of the path, not of the storage.
_NO_SUCH_FILE = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
#: Libraries behind fsspec's storages: not all that they raise is an `OSError`.
_STORAGE_LIBRARIES = {"aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "google", "urllib3"}


class StorageFailure(Exception):
    """A storage did not give a file for a reason of its own, in time or at all.

    No `OSError`: readers of archives take one of those for a damaged archive, and say so instead.
    """


def is_storage_failure(error: BaseException) -> bool:
    """Whether an error is the storage's (no connection, no answer, no permission, a full disk): it
    may pass, unlike a file that is damaged or not there."""
    if isinstance(error, (StorageFailure, PermissionError, ConnectionError, TimeoutError)):
        return True
    if isinstance(error, OSError):
        # Readers of formats raise it for damaged content too, without a number of the system's.
        return error.errno is not None and error.errno not in _NO_SUCH_FILE
    modules = (kind.__module__.partition(".")[0] for kind in type(error).__mro__)
    return not _STORAGE_LIBRARIES.isdisjoint(modules)


def open_member(url: str, member: str = "") -> BinaryIO:
    """The bytes of the file at `url`, or of a member of the archive there; seekable.

    Raises:
        FileNotFoundError: when there is no such file or member.
        Others of `DAMAGED`: here or when it is read, when the file or its archive is damaged.
        StorageFailure: here or when it is read, when the storage fails, or takes longer than it may.
        PermissionError: when the storage says that nobody may read it, or does not say if it is there.
    """
    if not member:
        return cast(BinaryIO, _StorageFile(url, ahead=_CHUNK))
    return _archive(url).open(member)


def read_member(url: str, member: str, limit: int) -> bytes:
    """All bytes of a file as `open_member` finds it, but no more than one beyond `limit`."""
    ahead: dict[str, bytes] = getattr(_here, "ahead", {})
    if not member and url in ahead and len(ahead[url]) <= limit:
        return ahead[url]
    if not member and (path := _local_path(url)) is not None:
        # All of it in the call that opens it, as most files are small: each call costs a turn of
        # the thread that makes it.
        data = _ask(read_timeout(), url, _small_file, path, limit)
        if data is not None:
            return data
    pieces: list[bytes] = []
    size = 0
    with open_member(url, member) as handle:
        while size <= limit and (piece := handle.read(min(8 * _CHUNK, limit + 1 - size))):
            pieces.append(piece)
            size += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@contextmanager
def read_ahead(urls: Iterable[str]) -> Iterator[None]:
    """For what the calling thread reads inside: the small ones of these files, where they are local,
    are read before by one call.

    Some thousands of small images would be asked for one after the other, and each time the thread
    that makes the calls takes its turn. What fails here is asked for again by `read_member`, and
    fails there.
    """
    paths = {url: path for url in urls if (path := _local_path(url)) is not None}
    if paths:
        with suppress(StorageFailure):
            _here.ahead = _ask(read_timeout(), next(iter(paths)), _small_files, paths)
    try:
        yield
    finally:
        _here.ahead = {}


def _small_files(paths: dict[str, str]) -> dict[str, bytes]:
    """Contents by URL of the small files among local paths, as many as come quickly."""
    found: dict[str, bytes] = {}
    until, room = time.monotonic() + _AHEAD_SECONDS, _AHEAD
    for url, path in paths.items():
        if time.monotonic() > until:
            break
        with suppress(OSError):
            data = _small_file(path, min(_SMALL, room))
            if data is not None:
                found[url] = data
                room -= len(data)
    return found


def _small_file(path: str, limit: int) -> bytes | None:
    """The bytes of a local file; None when they are more than one read gives, or than `limit`."""
    descriptor = _local_descriptor(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > min(limit, 8 * _CHUNK):
            return None
        # One byte more, so that a file that grows meanwhile is told from one that is read whole.
        data = os.pread(descriptor, size + 1, 0)
        return data if len(data) == size else None
    finally:
        os.close(descriptor)


def list_folder(url: str, member: str = "") -> list[tuple[str, str]]:
    """(url, member) of the files below a folder, sorted by name; empty when it is none."""
    if not member:
        return _ask(read_timeout(), url, _list_folder, url)
    prefix = f"{member.rstrip('/')}/"
    names = sorted(entry.name for entry in list_archive(url) if entry.plain)
    return [(url, name) for name in names if name.startswith(prefix)]


class Entry(NamedTuple):
    """A member of an archive that is no folder.

    Attributes:
        size, packed: bytes, and those that they take in the archive.
        crc: checksum of the content; a tar has none.
        plain: whether it is a file, and not a link or something else.
    """

    name: str
    size: int
    packed: int
    crc: int | None
    plain: bool


def is_bomb(size: int, packed: int) -> bool:
    """Whether a member of an archive is refused for the bytes that it unpacks to.

    Args:
        packed: bytes that it takes in the archive; the same as `size` where that says nothing.
    """
    return size > MEMBER_LIMIT or (size > MEMBER_FREE and size > packed * MEMBER_RATIO)


def list_archive(url: str) -> list[Entry]:
    """The members of an archive. Raises as `open_member`."""
    return _archive(url).entries()


def _list_folder(url: str) -> list[tuple[str, str]]:
    fs, path = file_system(url)
    try:  # not fs.isdir: a storage that fails is no answer to whether the folder is there
        found = find_files(fs, path)
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
        return []
    inside = sorted(name for name in found if name.rstrip("/") != str(path).rstrip("/"))
    return [(str(fs.unstrip_protocol(name)), "") for name in inside]


@contextmanager
def reading_together() -> Iterator[None]:
    """For what the calling thread reads inside, which belongs together.

    Archives are kept open from one `open_member` to the next: opening one means to read its
    directory, or all of a tar. They are closed at the end, so that the next batch sees an archive
    that was replaced meanwhile. And a storage that was waited for in vain, for as long as a file may
    take, is not asked again: each of thousands of files would be waited for.
    """
    if getattr(_here, "together", None) is not None:
        yield
        return
    _here.together = _Together()
    try:
        yield
    finally:
        for archive in _here.together.archives.values():
            archive.close()
        _here.together = None


def _archive(url: str) -> _Zip | _Tar:
    together: _Together | None = getattr(_here, "together", None)
    if together is None:
        return _open_archive(url)
    if url not in together.archives:
        together.archives[url] = _open_archive(url)
        if len(together.archives) > _KEPT:
            together.archives.popitem(last=False)[1].close()
    together.archives.move_to_end(url)
    return together.archives[url]


def _open_archive(url: str) -> _Zip | _Tar:
    try:
        return _Zip(url) if url.lower().endswith(".zip") else _Tar(url)
    except (*DAMAGED, StorageFailure, UserError):
        raise
    except Exception as error:  # what the readers did not expect of the bytes that they met
        raise zipfile.BadZipFile(str(error)) from None


class _Together:
    """What reads that belong together share: opened archives by URL, and the seconds that each
    storage (by protocol) was waited for in vain."""

    def __init__(self) -> None:
        self.archives: OrderedDict[str, _Zip | _Tar] = OrderedDict()
        self.waited: defaultdict[str, float] = defaultdict(float)


#: Of this thread: `together`, None or absent outside of `reading_together`; `ahead`, contents by URL,
#: empty or absent outside of `read_ahead`.
_here = threading.local()


class _Zip:
    def __init__(self, url: str) -> None:
        self._storage = _StorageFile(url)
        self._zip = zipfile.ZipFile(_buffered(self._storage))

    def entries(self) -> list[Entry]:
        return [
            Entry(i.filename, i.file_size, i.compress_size, i.CRC, plain=True)
            for i in self._zip.infolist()
            if not i.filename.endswith("/")
        ]

    def open(self, member: str) -> BinaryIO:
        self._storage.allow_another_file()
        try:
            info = self._zip.getinfo(member)
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such member", member) from None
        if is_bomb(info.file_size, info.compress_size):
            raise zipfile.BadZipFile(f"it unpacks to {info.file_size:,} bytes: {BEYOND}")
        try:
            return cast(BinaryIO, self._zip.open(info))
        except (RuntimeError, NotImplementedError) as error:  # encrypted, packed in an unknown way
            raise zipfile.BadZipFile(str(error)) from None

    def close(self) -> None:
        self._zip.close()
        self._storage.close()


class _Tar:
    """A .tar, packed or not. Its members have no directory: it is gone through once."""

    def __init__(self, url: str) -> None:
        self._storage = _StorageFile(url)
        self._file = _unpacked(_buffered(self._storage))
        self._tar = tarfile.open(fileobj=self._file, mode="r:*")  # noqa: SIM115 - close() does
        # The last one of a name is the one that unpacking would leave.
        self._members = {m.name: m for m in self._tar}

    def entries(self) -> list[Entry]:
        return [
            Entry(m.name, m.size, m.size, None, m.isfile() and not m.issparse())
            for m in self._members.values()
            if not m.isdir()
        ]

    def open(self, member: str) -> BinaryIO:
        self._storage.allow_another_file()
        known = self._members.get(member)
        try:
            found = None if known is None else self._tar.extractfile(known)
        except (KeyError, RecursionError):  # a link to nothing, or to itself
            found = None
        if known is not None and (known.issparse() or is_bomb(known.size, known.size)):
            raise tarfile.ReadError(f"it unpacks to {known.size:,} bytes: {BEYOND}")
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such member", member)
        return cast(BinaryIO, found)

    def close(self) -> None:
        self._tar.close()
        self._file.close()
        self._storage.close()


def _buffered(file: io.RawIOBase) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(file, _ARCHIVE_BLOCK))


def _unpacked(packed: BinaryIO) -> BinaryIO:
    """The content of a gzip in a temporary file: in the packed one, a step back would be a new
    start. The file itself when it is none, too large or too damaged to be unpacked at once.

    Raises:
        tarfile.ReadError: when it grows beyond all measure.
    """
    magic = packed.read(2)
    packed.seek(0)
    if magic != b"\x1f\x8b":
        return packed
    unpacked = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - lives as long as the tar
    size, bomb = 0, False
    with suppress(*DAMAGED), GzipFile(fileobj=packed) as content:
        while chunk := content.read(_CHUNK):
            unpacked.write(chunk)
            size = unpacked.tell()
            bomb = size <= _UNPACKED_LIMIT and is_bomb(size, packed.tell())
            if bomb or size > _UNPACKED_LIMIT:
                break
        else:
            unpacked.seek(0)
            return cast(BinaryIO, unpacked)
    unpacked.close()
    if bomb:
        raise tarfile.ReadError(f"it unpacks to more than {size:,} bytes: {BEYOND}")
    packed.seek(0)
    return packed


class _StorageFile(io.RawIOBase):
    """A plain file or object, whose storage may take `read_timeout()` for it, and a second more
    for each `FLOOR_RATE` bytes that come.

    Args:
        ahead: bytes that are read together with opening it.
    """

    def __init__(self, url: str, ahead: int = 0) -> None:
        super().__init__()
        self._url = url
        self._file: Any = None
        self._failed = False
        self._position = 0
        self.allow_another_file()
        self._file, self._size, self._ahead = self._call(_open, url, ahead)

    def allow_another_file(self) -> None:
        """Gives the storage the time for one file again: a member of an archive is one."""
        self._seconds_left = read_timeout()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = (0, self._position, self._size)[whence] + offset
        if position < 0:
            raise ValueError(f"a position before the start of {self._url}")
        self._position = position
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer only at the end of the file; without a size all that are left."""
        wanted = size if size >= 0 else sys.maxsize
        pieces: list[bytes] = []
        while wanted > 0 and (piece := self._next(min(wanted, 8 * _CHUNK))):
            pieces.append(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        # Not by the storage's own `readinto`: a call that was given up must not write into it.
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if self._file is not None and not self.closed:
            self._file.close()
        super().close()

    def _next(self, size: int) -> bytes:
        data = self._ahead[self._position : self._position + size]
        if not data and self._position < self._size:
            data = self._call(_read, self._file, self._position, size)
            if not data and self._size < sys.maxsize:
                # What was read would be taken for all that there is.
                told = f"it ended after {self._position:,} of {self._size:,} bytes"
                raise StorageFailure(f"{self._url}: {told}")
            self._seconds_left += len(data) / FLOOR_RATE
        self._position += len(data)
        return data

    def _call(self, function: Callable[..., T], *args: Any) -> T:
        if self._failed:
            raise StorageFailure(f"{self._url}: the storage failed before")
        began = time.monotonic()
        try:
            return _ask(self._seconds_left, self._url, function, *args)
        except StorageFailure:
            # A call that was given up holds the file: it is not to be closed, nor asked again.
            self._file, self._failed = None, True
            raise
        finally:
            self._seconds_left -= time.monotonic() - began


def _ask(seconds: float, url: str, function: Callable[..., T], *args: Any) -> T:
    """The result of a call to a storage. Raises `StorageFailure` for what is its own fault."""
    together: _Together | None = getattr(_here, "together", None)
    storage = url.partition("://")[0] if _local_path(url) is None else "file"
    if together is not None and together.waited[storage] >= read_timeout():
        raise StorageFailure(f"{url}: not asked for, as the storage did not answer before")
    began = time.monotonic()
    try:
        return within(seconds, function, *args)
    except PermissionError:
        raise
    except Exception as error:
        if not is_storage_failure(error):
            raise
        if together is not None:
            together.waited[storage] += time.monotonic() - began
        raise StorageFailure(f"{url}: {type(error).__name__}: {error}") from error


def _open(url: str, ahead: int) -> tuple[Any, int, bytes]:
    """The file, its size in bytes, and so many of the first ones."""
    if (path := _local_path(url)) is not None:
        file: Any = _open_local(path)
        size = os.fstat(file.fileno()).st_size
    else:
        fs, path = file_system(url)
        file = fs.open(path, "rb", block_size=_REMOTE_BLOCK)
        size = getattr(file, "size", None)
        size = sys.maxsize if size is None else size  # a stream: it ends where nothing comes
    return file, size, _read(file, 0, min(ahead, size)) if ahead else b""


def _read(file: Any, position: int, size: int) -> bytes:
    if isinstance(file, io.FileIO):
        return os.pread(file.fileno(), size, position)
    if file.tell() != position:
        file.seek(position)
    return file.read(size)


def _local_path(url: str) -> str | None:
    """The path of a local file; what fsspec would do for each of thousands of small ones takes
    longer than to read them."""
    if url.startswith("file://"):
        return url.removeprefix("file://")
    return None if "://" in url else url


def _open_local(path: str) -> io.FileIO:
    return io.FileIO(_local_descriptor(path))


def _local_descriptor(path: str) -> int:
    """A descriptor of a plain file that is open to be read. Raises as `open_member`."""
    try:
        # Otherwise a named pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:  # a name with a null, or that the file system cannot spell
        raise FileNotFoundError(errno.ENOENT, str(error), path) from None
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, "a folder", path)
    raise FileNotFoundError(errno.ENOENT, "no plain file", path)
