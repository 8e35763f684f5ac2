"""The files of a submission: how large they are, which of them its rows name, and which nothing does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from tasks.files import ARCHIVES, DAMAGED, is_storage_failure, list_archive, open_member
from tasks.ingest.attach import Attachments
from tasks.ingest.discover import TaskFile
from tasks.ingest.quarantine import printable
from tasks.ingest.tree import Tree

_LOCAL = "file://"


class Listing:
    """Every file of a submission, those in its archives too.

    Attributes:
        sizes: bytes of each, by `place`.
    """

    def __init__(self, tree: Tree) -> None:
        self.sizes: dict[str, int] = {}
        self._used: set[str] = set()
        for path, info in tree.files:
            url = _url(tree.fs, path)
            if tree.is_archive:
                self._add_archive(url, 0)
            elif path.lower().endswith(ARCHIVES):
                self._add_archive(url, int(info["size"]))
            else:
                self.sizes[place(url)] = int(info["size"])

    def _add_archive(self, url: str, size: int) -> None:
        try:
            entries = list_archive(url)
        except Exception as error:
            if not isinstance(error, DAMAGED) or is_storage_failure(error):
                raise
            self.sizes[place(url)] = size
            return
        for entry in entries:
            self.sizes[place(url, entry.name)] = entry.size

    def take(self, where: str) -> int:
        """Notes that a file is read; its bytes, or 0 when it was taken before or is not listed."""
        if where in self._used or where not in self.sizes:
            return 0
        self._used.add(where)
        return self.sizes[where]

    def take_sources(self, sources: Iterable[str]) -> None:
        """`take` for files as people name them (`TaskFile.source`); folders are let pass."""
        for source in sources:
            self.take(place(source))

    def not_taken(self) -> list[str]:
        """Places of the files that nothing reads, sorted."""
        return sorted(self.sizes.keys() - self._used)


def place(url: str, member: str = "") -> str:
    """How a file is called in a listing, however its URL is spelt."""
    url = url.removeprefix(_LOCAL)
    return f"{url}!{member}" if member else url


class SeenFiles(Attachments):
    """Files that rows name, looked for but not read: the metric opens them later.

    Attributes:
        size: bytes of the files named, each once in the submission.
    """

    def __init__(self, file: TaskFile, listing: Listing | None = None) -> None:
        super().__init__(file)
        self.size = 0
        self._listing = listing

    def digest_of(self, url: str, member: str) -> str:
        """Nothing, if the file is there: what is scored once needs no hash.

        Raises:
            As `tasks.files.open_member`.
        """
        where = place(url, member)
        if self._listing is None or where not in self._listing.sizes:
            with open_member(url, member):
                pass
        if self._listing is not None:
            self.size += self._listing.take(where)
        return ""


def _url(fs: Any, path: str) -> str:
    return printable(path if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(path))
