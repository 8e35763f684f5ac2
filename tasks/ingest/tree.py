"""What lies below a source: files with their cheap identity, and folders that lack a task's file.

A night looks at every file of every model, so each costs one directory entry and one stat.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from tasks.errors import UserError
from tasks.files import ARCHIVES
from tasks.storage import file_system, find_files
from tasks.timeout import read_timeout, within

#: Names of the files that hold a task's rows, the usual one first.
FILE_NAMES = {"references": ("annotation.json",), "predictions": ("prediction.json",)}


@dataclass(frozen=True, slots=True)
class Tree:
    """A source as its storage lists it.

    Attributes:
        kind: references or predictions.
        fs: its file system.
        root: the path of its folder or archive there.
        files: path of each file, and what the storage tells of it (`size`, `mtime` or an ETag), by
            path. Links of a local folder have a `link`: "out" of the source, "nowhere", or "folder"
            for a task's file behind a link to a folder, as those are not followed.
        bare: local folders with neither a task's file nor folders or archives in them, outside of
            the folders of tasks, by path; and whether there is nothing at all in them.
    """

    kind: str
    fs: Any
    root: str
    files: list[tuple[str, dict[str, Any]]]
    bare: list[tuple[str, bool]]

    @property
    def is_archive(self) -> bool:
        """Whether the source is one file, which holds all."""
        return len(self.files) == 1 and self.files[0][0] == self.root

    def mark(self) -> str:
        """SHA-256 of all that is listed: the same as long as no file was added, changed or removed."""
        digest = hashlib.sha256(f"{self.kind}\n{self.root}\n".encode(errors="surrogateescape"))
        lines = [f"{path}\n{identity(i)}\n{i.get('link', '')}" for path, i in self.files]
        lines += [f"{path}\n{empty}" for path, empty in self.bare]
        digest.update("\n".join(lines).encode(errors="surrogateescape"))
        return digest.hexdigest()


def list_source(url: str, kind: str) -> Tree:
    """Looks at a dataset (`references`) or a submission (`predictions`): a folder or an archive.

    Raises:
        UserError: when the source does not exist or cannot be opened at all.
        OSError, and what the storage's library raises: when the storage fails.
    """
    fs, root = open_source(url)
    if fs.isfile(root):
        return Tree(kind, fs, root, [(root, fs.info(root))], [])
    if isinstance(fs, LocalFileSystem):
        return Tree(kind, fs, root, *_walk(root, FILE_NAMES[kind]))
    return Tree(kind, fs, root, sorted(find_files(fs, root).items()), [])  # has no empty folders


def open_source(url: str) -> tuple[Any, str]:
    """The file system of a source's URL or path, and the path on it.

    Raises:
        UserError: when nothing is there, it may not be read, or the storage does not answer.
    """
    fs, path = file_system(url)
    root = str(path).rstrip("/")
    try:
        there = within(read_timeout(), fs.exists, root)
    except TimeoutError as error:
        raise UserError(
            f"{url} does not answer: {error}", "check the mount or the server"
        ) from None
    except PermissionError as error:
        raise UserError(f"{url} may not be read: {error}", "check the credentials") from None
    if not there:
        raise UserError(f"{url} does not exist", "check the path, or the bucket and credentials")
    return fs, root


def identity(info: dict[str, Any]) -> str:
    """The cheap identity of a file: ETag where there is one, else size and time of change."""
    etag = info.get("ETag") or info.get("etag")
    changed = info.get("mtime") or info.get("LastModified") or info.get("created")
    return f"{info.get('size')}:{etag or changed}"


def is_inside(path: str | Path, folder: str) -> bool:
    """Whether a local path is below a folder (a real path), links followed."""
    # Not Path.resolve, which raises for links in a ring.
    return Path(os.path.realpath(path)).is_relative_to(folder)


def _walk(
    root: str, wanted: tuple[str, ...]
) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, bool]]]:
    """`files` and `bare` of a local folder, where a task's file has one of the `wanted` names."""
    files: list[tuple[str, dict[str, Any]]] = []
    bare: list[tuple[str, bool]] = []
    real_root = os.path.realpath(root)
    waiting = [(root, False)]
    while waiting:
        folder, of_a_task = waiting.pop()
        folders: list[str] = []
        empty, archives = True, False
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name.lower()
                empty = False
                # What lies beside a task's file is its media.
                of_a_task = of_a_task or name in wanted
                archives = archives or name.endswith(ARCHIVES)
                if entry.is_symlink():
                    files += _link(entry, real_root)
                elif entry.is_dir():
                    folders.append(entry.path)
                else:
                    files.append((entry.path, _told(entry.stat())))
        waiting += [(inner, of_a_task) for inner in folders]
        if not (of_a_task or folders or archives):
            bare.append((folder, empty))
    return sorted(files, key=lambda file: file[0]), sorted(bare)


def _link(entry: os.DirEntry[str], real_root: str) -> list[tuple[str, dict[str, Any]]]:
    if Path(entry.path).is_dir():  # the entry's own `is_dir` raises for links in a ring
        inside = (Path(entry.path, *names) for names in FILE_NAMES.values())
        behind = {"size": 0, "mtime": 0, "link": "folder"}
        return [(str(path), behind) for path in inside if path.is_file()]
    if not Path(entry.path).is_file():
        return [(entry.path, _told(entry.stat(follow_symlinks=False)) | {"link": "nowhere"})]
    info = _told(entry.stat())
    return [(entry.path, info if is_inside(entry.path, real_root) else info | {"link": "out"})]


def _told(stat: os.stat_result) -> dict[str, Any]:
    return {"size": stat.st_size, "mtime": stat.st_mtime}
