"""Files that a row names: found, hashed, and written into its document by where they lie.

A file becomes `{"$file": {"path", "url", "member"}}`, a folder of frames `{"$files": [...]}`;
`tasks/media.py` opens them when they are scored. A path never leaves the folder of its row's file,
and a link never the submission; a document that names files by itself is refused.
"""

from __future__ import annotations

import hashlib
import posixpath
from pathlib import Path
from typing import Any

import msgspec

from tasks.files import DAMAGED, is_storage_failure, list_folder, open_member
from tasks.ingest.discover import LEADS_OUT, TaskFile
from tasks.ingest.payload import Payload, Unreadable, structure
from tasks.ingest.tree import is_inside
from tasks.storage import file_system

#: Why a path is refused that is absolute or leads out, and how the reason for an absent file begins.
OUTSIDE = "the path must be relative and stay inside its folder"
ABSENT = "there is no file "


class Attachments:
    """The files that the rows of one task file name.

    Attributes:
        sha256: hash of the contents of all of them, in the order of the rows.
    """

    def __init__(self, file: TaskFile) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        #: By path, as many rows may name the same file; and by folder, whether it is inside.
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}
        self._inside: dict[str, bool] = {}

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def document(self, value: Any, payload: str) -> tuple[Payload, str | None, str | None]:
        """The value with its file resolved, and the file's relative path and hash if there is one.

        Args:
            value: a structure, a text that holds one as JSON, a path, or `{"path": ..., ...}`.
            payload: the payload of the task's metric; `media` is always a file.

        Raises:
            Unreadable: when a file is absent or its path leaves the folder, the value is no file
                although the metric needs one, or cannot be stored (`structure`).
        """
        if isinstance(value, str):
            text = value.strip()
            if payload != "media" and text[:1] in ("[", "{"):
                try:
                    return structure(msgspec.json.decode(text)), None, None
                except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
                    raise Unreadable(f"the text is not valid JSON ({error})") from None
            if payload == "features" and (number := _number(text)) is not None:
                return structure(number), None, None
            return self._attached(value, {})
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            others = {name: item for name, item in value.items() if name != "path"}
            return self._attached(value["path"], others)
        if payload == "media":
            raise Unreadable("the value must be the path of a file beside the rows")
        return structure(value), None, None

    def digest_of(self, url: str, member: str) -> str:
        """SHA-256 of a file's content, 64 hex digits. Raises as `tasks.files.open_member`."""
        digest = hashlib.sha256()
        with open_member(url, member) as handle:
            while chunk := handle.read(2**20):
                digest.update(chunk)
        return digest.hexdigest()

    def _attached(self, name: str, others: dict[str, Any]) -> tuple[Payload, str, str]:
        path = posixpath.normpath(name.replace("\\", "/")) if name else ""
        if not path or "://" in name or path.startswith(("/", "..")) or ":" in path.split("/")[0]:
            raise Unreadable(OUTSIDE)
        try:
            if path not in self._known:
                self._known[path] = self._found(path)
            digest, found = self._known[path]
        except DAMAGED as error:
            if is_storage_failure(error):
                raise
            raise Unreadable(f"{path} cannot be read: {error}") from None
        self._digest.update(digest.encode())
        return structure(others, found), path, digest

    def _found(self, path: str) -> tuple[str, dict[str, Any]]:
        """Hash and document of the file or folder at a path."""
        url, member = self._beside(path)
        try:
            document = {"$file": {"path": path, "url": url, "member": member}}
            return self._digest_of_own(url, member), document
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            files = list_folder(url, member)
        if not files:
            raise Unreadable(ABSENT + path)
        digest = hashlib.sha256(
            "".join(self._digest_of_own(*file) for file in files).encode()
        ).hexdigest()
        listed = [{"path": posixpath.basename(m or u), "url": u, "member": m} for u, m in files]
        return digest, {"$files": listed}

    def _digest_of_own(self, url: str, member: str) -> str:
        """`digest_of`, for a file that no link leads out to. Raises `Unreadable` for another."""
        if self._file.confined_to and not member:
            path = Path(url.removeprefix("file://"))
            folder = str(path.parent)
            if folder not in self._inside:
                self._inside[folder] = self._is_inside(path.parent)
            if not self._inside[folder] or (path.is_symlink() and not self._is_inside(path)):
                raise Unreadable(LEADS_OUT)
        return self.digest_of(url, member)

    def _is_inside(self, path: Path) -> bool:
        return is_inside(path, self._file.confined_to)

    def _beside(self, path: str) -> tuple[str, str]:
        here = self._file
        if here.member:
            return here.url, posixpath.join(posixpath.dirname(here.member), path)
        fs, file = file_system(here.url)
        return str(fs.unstrip_protocol(posixpath.join(posixpath.dirname(file), path))), ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
