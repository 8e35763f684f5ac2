"""Which task files a source holds: folders, one archive a task, or one archive of all.

A task file is known by where it lies, `[modality]/[paradigm]/<task folder>/<file>`, in any case and
with language tasks lacking the paradigm; folders above are ignored. What cannot be placed is refused
with a reason, never skipped in silence.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import msgspec
from fsspec.implementations.local import LocalFileSystem

from tasks.catalog import Catalogue
from tasks.errors import UserError
from tasks.files import (
    ARCHIVES,
    BEYOND,
    DAMAGED,
    is_bomb,
    is_storage_failure,
    list_archive,
    open_member,
    read_member,
    reading_together,
)
from tasks.ingest.quarantine import printable, refusal
from tasks.ingest.tree import FILE_NAMES, Tree, identity, list_source, open_source
from tasks.storage import misfit

#: Why a file is refused that a submission only links to.
LEADS_OUT = (
    "a link leads out of the submission, where nothing is once it is sent: put the file there"
)

#: The same by `Tree.files`' `link`; a dataset's links may lead out.
_LINKS = {
    "out": LEADS_OUT,
    "nowhere": "the link leads nowhere: put the file there",
    "folder": "it lies behind a link to a folder, which is not followed: put the folder there",
}

#: Bytes of a model.json beyond which it is none.
_MODEL_LIMIT = 2**20

_MODALITIES = {"image", "video", "audio", "3d", "language", "nlp"}
_PARADIGMS = {"comprehension", "generation"}
#: Names of folders above a task's.
_ABOVE = _MODALITIES | _PARADIGMS


@dataclass(frozen=True, slots=True)
class TaskFile:
    """One task's file. `member` is its name inside the archive at `url`, empty for a plain file.

    `confined_to` is the local folder that files must lie in which its rows name, links followed;
    empty where there are no links, or they may lead anywhere.
    """

    task_id: str
    url: str
    member: str
    size: int
    fingerprint: str
    confined_to: str = ""

    @property
    def source(self) -> str:
        """How people name the file."""
        return f"{self.url}!{self.member}" if self.member else self.url


@dataclass(slots=True)
class Discovery:
    """Task files found, one a task, and what was refused (rows of `QUARANTINE_SCHEMA`)."""

    files: list[TaskFile] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Submission:
    """One model's outputs: a folder or an archive."""

    model: str
    url: str


def list_submissions(url: str) -> list[Submission]:
    """The models below a folder: each child folder or archive is one.

    A folder's `model.json` with a `name` overrides the folder's name.

    Raises:
        UserError: when the folder does not exist, holds no model, or names a model twice.
    """
    fs, root = open_source(url)
    found: dict[str, Submission] = {}
    for entry in sorted(fs.ls(root, detail=True), key=lambda e: str(e["name"])):
        path = str(entry["name"]).rstrip("/")
        name = path.rsplit("/", 1)[-1]
        if name.startswith(".") or path == root.rstrip("/"):
            continue
        folder = entry["type"] == "directory"
        if not folder and not name.lower().endswith(ARCHIVES):
            continue
        model = model_name(fs, path)
        if model in found:
            raise UserError(
                f"two submissions are named {model!r}: {found[model].url} and {path}",
                "rename one of them",
            )
        found[model] = Submission(model, fs.unstrip_protocol(path) if _remote(fs) else path)
    if not found:
        raise UserError(
            f"{url} holds no submission",
            "each model is one folder or archive (.zip, .tar.gz) in it",
        )
    return [found[model] for model in sorted(found)]


def model_name(fs: Any, path: str) -> str:
    """The name of the model whose submission lies at a path: that in its `model.json`, or its own."""
    own = path.rsplit("/", 1)[-1]
    if own.lower().endswith(ARCHIVES) and not fs.isdir(path):
        return _without_suffix(own)
    return _name_in_file(fs, f"{path}/model.json") or own


def check_model_name(model: str) -> None:
    """Raises `UserError` when a store cannot hold a model of that name."""
    if reason := misfit(model):
        raise UserError(
            f"{shown(model)}: {reason}", "rename the submission, or name it in its model.json"
        )


def shown(model: str) -> str:
    """A model's name for a message, whatever it is: cut, and with escapes for what is no Unicode."""
    return printable(model if len(model) <= 60 else f"{model[:60]} ...")


def discover(url: str, kind: str, catalogue: Catalogue, model: str | None = None) -> Discovery:
    """Finds the task files of a dataset (`references`) or of a submission (`predictions`).

    Raises as `list_source` and `place_files`.
    """
    return place_files(list_source(url, kind), catalogue, model)


@reading_together()
def place_files(tree: Tree, catalogue: Catalogue, model: str | None = None) -> Discovery:
    """Tells the task of each task file in a tree and inside its archives.

    Raises:
        OSError, and what the storage's library raises: when the storage fails. What lies in an
            archive that does not come is not gone.
    """
    fs, root = tree.fs, tree.root
    result = Discovery()
    places: dict[str, TaskFile] = {}
    # A dataset is the scoring side's own, and caches of datasets are made of links. What a submission
    # links to, it could not hold: the references, say.
    confined = tree.kind == "predictions" and not _remote(fs)
    folder = os.path.realpath(root) if confined else ""
    for path, member, size, fingerprint, problem in _candidates(tree):
        place = member or path[len(root) :].lstrip("/")
        source = f"{_url(fs, path)}!{member}" if member else _url(fs, path)
        if problem:
            task_id, _ = _resolve(place, root, catalogue)
            result.refused.append(refusal(source, problem, model=model, task_id=task_id))
            continue
        archive = path[len(root) :].lstrip("/") if member and path != root else ""
        task_id, reason = _resolve(place, root, catalogue, archive)
        if task_id is None:
            task_id = _by_title(fs, path, member, place, root, catalogue)
        if task_id is None:
            result.refused.append(refusal(source, reason, model=model))
        elif task_id in places:
            told = f"{task_id} was already found at {places[task_id].source}: remove one of them"
            result.refused.append(refusal(source, told, model=model, task_id=task_id))
        else:
            places[task_id] = TaskFile(task_id, _url(fs, path), member, size, fingerprint, folder)
    result.files = [places[task_id] for task_id in sorted(places)]
    result.refused += _folders_without_file(tree, catalogue, model)
    if not result.files and not result.refused:
        wanted = " or ".join(FILE_NAMES[tree.kind])
        told = f"no {wanted} in it: expected <modality>/<paradigm>/<task>/{wanted}"
        result.refused.append(refusal(_url(fs, root), told, model=model))
    return result


_Candidate = tuple[str, str, int, str, str]  # path, member, size, fingerprint, problem


def _candidates(tree: Tree) -> Iterator[_Candidate]:
    """Task files in a tree and inside its archives, sorted by path."""
    if tree.is_archive:
        ((path, info),) = tree.files
        yield from _in_archive(tree, path, info)
        return
    wanted = FILE_NAMES[tree.kind]
    beside = _Beside([(path, identity(info)) for path, info in tree.files])
    for path, info in tree.files:
        name = path.rsplit("/", 1)[-1].lower()
        problem = _LINKS.get(info.get("link", ""), "")
        if problem == LEADS_OUT and tree.kind == "references":
            problem = ""
        if name in wanted or (problem and name.endswith(ARCHIVES)):
            yield path, "", int(info["size"]), identity(info) + beside.mark(path), problem
        elif name.endswith(ARCHIVES):
            yield from _in_archive(tree, path, info)


def _in_archive(tree: Tree, path: str, info: dict[str, Any]) -> Iterator[_Candidate]:
    try:
        members = list_archive(_url(tree.fs, path))
    except Exception as error:
        _raise_if_it_may_pass(error)
        yield path, "", 0, "", f"the archive cannot be read ({error}): pack it again"
        return
    # The mark of a tar is of all that it holds.
    beside = _Beside([(m.name, f"{m.size}:{m.crc}") for m in sorted(members) if m.crc is not None])
    for name, size, packed, crc, plain in sorted(members):
        if name.rsplit("/", 1)[-1].lower() not in FILE_NAMES[tree.kind]:
            continue
        parts = PurePosixPath(name.replace("\\", "/")).parts
        problem = ""
        if not plain or name.startswith(("/", "\\")) or ".." in parts:
            problem = "the member's path leaves the archive or is a link: pack plain files"
        elif is_bomb(size, packed):
            problem = f"the member unpacks to {size:,} bytes: {BEYOND}"
        mark = f"tar:{identity(info)}:{name}:{size}" if crc is None else f"zip:{crc:08x}:{size}"
        yield path, name, size, mark + beside.mark(name), problem


class _Beside:
    """Files of a tree or archive, sorted by path, each with its cheap identity."""

    def __init__(self, files: list[tuple[str, str]]) -> None:
        self._files = files

    def mark(self, path: str) -> str:
        """The cheap identity of all other files in a task file's folder: the media that its rows name
        can only lie there, and one that is replaced makes the file a changed one. Empty for none."""
        folder = path[: path.rfind("/") + 1]
        digest, found = hashlib.sha256(), False
        for i in range(bisect_left(self._files, (folder,)), len(self._files)):
            name, mark = self._files[i]
            if not name.startswith(folder):
                break
            if name != path:
                digest.update(f"{name[len(folder) :]}\n{mark}\n".encode(errors="surrogateescape"))
                found = True
        return f":{digest.hexdigest()[:16]}" if found else ""


def _resolve(
    place: str, root: str, catalogue: Catalogue, archive: str = ""
) -> tuple[str | None, str]:
    """(task id, "") of a place, or (None, why not). The folders are matched from the inside out.

    One archive a task names the task itself when its members lie at its top.

    Args:
        place: path of the file below the root, or in its archive.
        archive: path of the archive below the root.
    """
    above = _without_suffix(root.rsplit("/", 1)[-1])
    return _resolve_folders(
        posixpath.dirname(place), above if above.lower() in _ABOVE else "", archive, catalogue
    )


@lru_cache(maxsize=100_000)
def _resolve_folders(
    folder: str, above: str, archive: str, catalogue: Catalogue
) -> tuple[str | None, str]:
    # Remembered, as all models of a benchmark have the same folders.
    folders = [name for name in posixpath.dirname(archive).split("/") if name]
    if archive:
        folders.append(_without_suffix(posixpath.basename(archive)))
    folders += [name for name in folder.split("/") if name]
    every = [above, *folders] if above else folders
    sides = [i for i, name in enumerate(every) if name.lower() in _MODALITIES]
    modality = every[sides[-1]] if sides else None
    paradigm = next((name for name in reversed(every) if name.lower() in _PARADIGMS), None)
    names = [n for n in reversed(folders) if n.lower() not in _ABOVE]
    for name in names[:2]:
        task_id = catalogue.resolve(modality, paradigm, name)
        if task_id is not None:
            return task_id, ""
    where = "/".join(folders) or "."
    return None, f"no task of the catalogue is called {names[0] if names else where!r} ({where})"


def _by_title(
    fs: Any, path: str, member: str, place: str, root: str, catalogue: Catalogue
) -> str | None:
    """The task that the file's own title names, looked for in its first and last kilobytes."""
    file = TaskFile("", _url(fs, path), member, 0, "")
    try:
        with open_member(file.url, file.member) as handle:
            head = handle.read(65_536)
    except Exception as error:
        _raise_if_it_may_pass(error)
        return None
    title = _string_after(head, b'"task"')
    if title is None:
        return None
    folders = [n.lower() for n in (root.rsplit("/", 1)[-1], *place.split("/"))]
    modality = next((n for n in reversed(folders) if n in _MODALITIES), None)
    paradigm = next((n for n in reversed(folders) if n in _PARADIGMS), None)
    return catalogue.resolve(modality, paradigm, title)


def _raise_if_it_may_pass(error: Exception) -> None:
    """Raises what is not the file's own fault: neither damage, nor that nobody may read it."""
    own = isinstance(error, DAMAGED) and not is_storage_failure(error)
    if not own and not isinstance(error, PermissionError):
        raise error


def _string_after(data: bytes, key: bytes) -> str | None:
    """The JSON string that is the value of a key in the raw bytes, if it is one."""
    start = data.find(key)
    if start < 0:
        return None
    rest = data[start + len(key) :].lstrip()
    if not rest.startswith(b":"):
        return None
    rest = rest[1:].lstrip()
    end = rest.find(b'"', 1)
    try:
        return msgspec.json.decode(rest[: end + 1], type=str) if end > 0 else None
    except msgspec.DecodeError:
        return None


def _folders_without_file(
    tree: Tree, catalogue: Catalogue, model: str | None
) -> list[dict[str, Any]]:
    """Task folders that lack their file (an empty folder, a misspelt name)."""
    refused = []
    for folder, empty in tree.bare:
        place = posixpath.join(folder[len(tree.root) :].lstrip("/"), "x")
        task_id, _ = _resolve(place, tree.root, catalogue)
        if empty or task_id is not None:
            told = f"no {FILE_NAMES[tree.kind][0]} in this folder"
            refused.append(refusal(folder, told, model=model, task_id=task_id))
    return refused


def _remote(fs: Any) -> bool:
    return not isinstance(fs, LocalFileSystem)


def _url(fs: Any, path: str) -> str:
    return printable(fs.unstrip_protocol(path) if _remote(fs) else path)


def _without_suffix(name: str) -> str:
    for suffix in ARCHIVES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _name_in_file(fs: Any, path: str) -> str | None:
    try:
        own = read_member(fs.unstrip_protocol(path) if _remote(fs) else path, "", _MODEL_LIMIT)
        value = msgspec.json.decode(own)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    except Exception as error:
        _raise_if_it_may_pass(error)
        return None
    name = value.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) and name.strip() else None
