"""Storage: a store is any fsspec URL (local folder, s3://...). Writes are atomic.

Locally a file is written aside, flushed to disk and renamed; on object stores one PUT is atomic
in itself. A crash therefore leaves either the old object or the new one, never half of one.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, unquote

import fsspec
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.config import conf as fsspec_defaults
from fsspec.implementations.local import LocalFileSystem

T = TypeVar("T")

#: Zstandard level 1: within a few percent of level 3's size at twice its speed on text columns.
PARQUET_OPTIONS: dict[str, Any] = {"compression": "zstd", "compression_level": 1}

#: What a local write is called until it is whole.
_ASIDE = re.compile(r"\.[0-9a-f]{32}\.tmp$")
#: File systems take names of 255 bytes; those of the files of a model, and asides, have a suffix.
_LONGEST_NAME = 200
#: S3 requests are tried so often, with waits that double up to 20 s: an outage of a minute passes.
#: The user's own settings (AWS_MAX_ATTEMPTS, fsspec's) go first.
if "AWS_MAX_ATTEMPTS" not in os.environ:
    fsspec_defaults.setdefault("s3", {}).setdefault(
        "config_kwargs", {"retries": {"mode": "standard", "max_attempts": 10}}
    )


def quote_name(name: str) -> str:
    """A model or file name as one safe path component; reversible with `unquote_name`.

    Everything but letters, digits, `-`, `_` and inner dots is percent-encoded, so that no name
    can leave its folder, hide, or differ from another only by what a file system ignores.
    """
    quoted = quote(name, safe="")
    return quoted.replace(".", "%2E", 1) if quoted.startswith(".") else quoted


def misfit(name: str) -> str:
    """Why a name cannot be that of a model, or of a file in a store; empty when it can."""
    try:
        length = len(quote_name(name))
    except UnicodeEncodeError:
        return "the name is not valid Unicode"
    if length > _LONGEST_NAME:
        told = f"the name is too long: {length} bytes as the name of a file"
        return (
            f"{told}, in which all but letters, digits, - and _ take 3 or more; {_LONGEST_NAME} fit"
        )
    return ""


def unquote_name(quoted: str) -> str:
    """The name that `quote_name` made into a path component."""
    return unquote(quoted)


def file_system(url: str | os.PathLike[str]) -> tuple[Any, str]:
    """The fsspec file system of a URL or path, and the path on it.

    Listings are not cached: other processes write to the same places.
    """
    return fsspec.url_to_fs(os.fspath(url), use_listings_cache=False)


def find_files(fs: Any, path: str) -> dict[str, dict[str, Any]]:
    """What the storage tells of each file below a folder, by path.

    Raises:
        OSError, and what the storage's library raises: when a folder cannot be listed. fsspec's own
            walk would leave it out, and its files would be taken for absent.
    """
    plain = getattr(fs.find, "__func__", None) is AbstractFileSystem.find
    return fs.find(path, detail=True, **{"on_error": "raise"} if plain else {})


class Store:
    """A folder of the pipeline's state, on local disk or behind any fsspec URL."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = os.fspath(url)
        self.fs, root = file_system(self.url)
        self.root: str = root.rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        # A relative folder is the same one in a process that was started elsewhere.
        return type(self), (self.root if self.is_local else self.url,)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def path(self, *parts: str) -> str:
        """Absolute path of an object in this store, as its file system spells it."""
        return "/".join((self.root, *parts))

    def exists(self, *parts: str) -> bool:
        return self.fs.exists(self.path(*parts))

    def names(self, *parts: str) -> list[str]:
        """Names directly below a folder, sorted; empty when the folder is absent.

        What is still being written, or was when its writer was killed, is not there yet.
        """
        try:
            found = self.fs.ls(self.path(*parts), detail=False)
        except FileNotFoundError:
            return []
        names = (str(f).rstrip("/").rsplit("/", 1)[-1] for f in found)
        return sorted(name for name in names if name and not _ASIDE.search(name))

    def delete(self, *parts: str) -> None:
        """Removes an object if it is there."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self.path(*parts))

    def delete_folder(self, *parts: str) -> None:
        """Removes a folder with all that is in it, if it is there."""
        with suppress(FileNotFoundError):
            self.fs.rm(self.path(*parts), recursive=True)

    def drop_asides(self, seconds: float) -> int:
        """Removes what killed writers left and was not touched for so long; how many files.

        Nothing to do on object stores, where an upload that was not completed is no object.
        """
        if not self.is_local:
            return 0
        dropped = 0
        for folder, _, files in os.walk(self.root):
            for path in (Path(folder, name) for name in files if _ASIDE.search(name)):
                with suppress(FileNotFoundError):  # a live writer was done just now
                    if time.time() - path.stat().st_mtime >= seconds:
                        path.unlink()
                        dropped += 1
        return dropped

    def read_bytes(self, *parts: str) -> bytes:
        return self.fs.cat_file(self.path(*parts))

    def write(self, write_to: Callable[[BinaryIO], object], *parts: str) -> None:
        """Calls `write_to` with an open file whose content becomes the object, all or nothing."""
        target = self.path(*parts)
        if not self.is_local:
            with self.fs.open(target, "wb") as file:
                try:
                    write_to(file)
                except BaseException:
                    # Closing would complete the upload: give the half-written object up instead.
                    file.discard()
                    file.closed = True
                    raise
            return
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        aside = f"{target}.{uuid.uuid4().hex}.tmp"
        try:
            with open(aside, "wb") as file:
                write_to(file)
                file.flush()
                os.fsync(file.fileno())
            Path(aside).replace(target)
        finally:
            Path(aside).unlink(missing_ok=True)

    def write_bytes(self, data: bytes, *parts: str) -> None:
        self.write(lambda file: file.write(data), *parts)

    def read_struct(self, kind: type[T], *parts: str) -> T | None:
        """A msgspec structure stored as JSON; None when the object is absent."""
        try:
            return msgspec.json.decode(self.read_bytes(*parts), type=kind)
        except FileNotFoundError:
            return None

    def write_struct(self, value: object, *parts: str) -> None:
        self.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1), *parts)

    def read_table(self, *parts: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet object, or those of the columns that it has.

        It is read in one request: if it is replaced meanwhile, the whole old or new one comes.
        """
        data = pa.BufferReader(self.read_bytes(*parts))
        return pq.ParquetFile(data).read(columns=columns)

    def write_table(self, table: pa.Table, *parts: str) -> None:
        self.write(lambda file: pq.write_table(table, file, **PARQUET_OPTIONS), *parts)

    def read_row_groups(
        self, groups: tuple[int, int], *parts: str, columns: list[str] | None = None
    ) -> pa.Table:
        """The half-open range of row groups of a Parquet object."""
        with self.part_reader() as read:
            return read(range(*groups), *parts, columns=columns)

    @contextmanager
    def part_reader(self) -> Iterator[Callable[..., pa.Table]]:
        """Yields a reader of any row groups: each object and its footer are opened once."""
        with ExitStack() as opened:
            files: dict[str, pq.ParquetFile] = {}

            def read(
                groups: Sequence[int], *parts: str, columns: list[str] | None = None
            ) -> pa.Table:
                path = self.path(*parts)
                if path not in files:
                    handle = opened.enter_context(self.fs.open(path, "rb"))
                    files[path] = pq.ParquetFile(handle)
                return files[path].read_row_groups(list(groups), columns=columns)

            yield read
