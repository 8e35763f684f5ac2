"""How tasks become an example's files: what the make.py of every example does alike."""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

#: As in the pipeline's task table.
COLUMNS = (
    "task_id",
    "modality",
    "paradigm",
    "title",
    "short_title",
    "aliases",
    "skill",
    "metric_id",
    "unit",
    "direction",
    "specialist_raw",
    "specialist_normalised",
    "specialist_model",
    "n_instances",
    "source",
    "note",
)
#: No clock in archives: the same content gives the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


# --- what is asked for ---------------------------------------------------------------------------


def makers_in(*rooms: ModuleType) -> dict[str, Any]:
    """Functions that make a task, by name; nothing is computed yet."""
    return {f"{r.__name__}.{f.__name__}": f for r in rooms for f in r.TASKS}


def arguments(about: str, makers: dict[str, Any], here: Path) -> argparse.Namespace:
    """The makers to run (`only`; all if none is named) and the folder to write to (`out`)."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help=f"makers, e.g. {next(iter(makers))}")
    parser.add_argument("--out", type=Path, default=here, help="where to write")
    options = parser.parse_args()
    if unknown := set(options.only) - set(makers):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(makers)}")
    if options.only and options.out.resolve() == here.resolve():
        parser.error(
            "--only makes a part, and the example is whole: name another folder with --out"
        )
    return options


# --- annotations and predictions -----------------------------------------------------------------


def to_json(value: Any) -> str:
    """JSON with one instance a line, so that a changed instance is one changed line."""
    if not isinstance(value, dict):
        return "[\n" + ",\n".join(map(_line, value)) + "\n]\n"
    head = "".join(f"{_line(k)}: {_line(v)},\n" for k, v in value.items() if k != "data")
    return "{\n" + head + '"data": ' + to_json(value["data"]).rstrip() + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- folders and archives ------------------------------------------------------------------------


def cleared(out: Path, *names: str) -> list[Path]:
    """Folders to write to, without what an earlier run made: it would be delivered again."""
    folders = [out / name for name in names]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return folders


def write_files(folder: Path, files: dict[str, bytes], archive: str = "") -> None:
    """A folder of files, or in its place one archive of it: `archive` is its ending."""
    if archive:
        inside = {f"{folder.name}/{name}": data for name, data in sorted(files.items())}
        folder, files = folder.parent, {folder.name + archive: _PACK[archive](inside)}
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _zip(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _tar_gz(files: dict[str, bytes]) -> bytes:
    plain, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    with gzip.GzipFile("", "wb", 9, packed, mtime=0) as file:
        file.write(plain.getvalue())
    return packed.getvalue()


_PACK = {".zip": _zip, ".tar.gz": _tar_gz}


# --- tables --------------------------------------------------------------------------------------


def catalogue_row(task: Any, **specialist: Any) -> dict[str, Any]:
    """What a task says of itself, and beside it what its specialist is and reaches."""
    return {
        "task_id": task.task_id,
        "modality": task.modality,
        "paradigm": task.paradigm,
        "title": task.title,
        "short_title": task.short_title,
        "skill": task.skill,
        "metric_id": task.metric,
        "unit": task.unit,
        "source": task.source,
        "note": task.note,
        **specialist,
    }


def write_catalogue(path: Path, rows: list[dict[str, Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["task_id"]))


def write_table(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
