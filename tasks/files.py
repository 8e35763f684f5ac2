"""Files where they lie: plain, on any storage that fsspec knows, or inside a .zip or .tar archive."""

from __future__ import annotations

import tarfile
import zipfile
from typing import BinaryIO

import fsspec

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")


def open_member(url: str, member: str = "") -> BinaryIO:
    """The bytes of the file at `url`, or of a member of the archive there.

    Raises:
        FileNotFoundError, KeyError: when there is no such file or member.
    """
    fs, path = fsspec.url_to_fs(url)
    if not member:
        return fs.open(path, "rb")
    if path.lower().endswith(".zip"):
        return zipfile.ZipFile(fs.open(path, "rb")).open(member)  # type: ignore[return-value]
    archive = tarfile.open(fileobj=fs.open(path, "rb"), mode="r:*")  # noqa: SIM115 - closed with the reader
    found = archive.extractfile(member)
    if found is None:
        raise FileNotFoundError(f"{url}!{member}")
    return found  # type: ignore[return-value]


def list_folder(url: str, member: str = "") -> list[tuple[str, str]]:
    """(url, member) of the files below a folder, sorted by name; empty when it is none."""
    fs, path = fsspec.url_to_fs(url)
    if not member:
        if not fs.isdir(path):
            return []
        return [(str(fs.unstrip_protocol(found)), "") for found in sorted(fs.find(path))]
    prefix = f"{member.rstrip('/')}/"
    with fs.open(path, "rb") as handle:
        if path.lower().endswith(".zip"):
            names = [i.filename for i in zipfile.ZipFile(handle).infolist() if not i.is_dir()]
        else:
            with tarfile.open(fileobj=handle, mode="r:*") as archive:
                names = [m.name for m in archive if m.isfile()]
    return [(url, name) for name in sorted(names) if name.startswith(prefix)]
