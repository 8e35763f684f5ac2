"""What a submission is held against: references, ids of instances without references, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tasks.catalog import Catalogue
from tasks.files import DAMAGED, is_storage_failure, open_member
from tasks.gate.listing import SeenFiles
from tasks.gate.scratch import read_task
from tasks.ingest import TaskFile, discover, read_instances
from tasks.ingest.payload import Unreadable, instance_id
from tasks.ingest.read import DamagedFile, TaskFileReader
from tasks.schema import Manifest, TaskEntry
from tasks.storage import Store


@dataclass(slots=True)
class Instances:
    """The instances of one task, as far as they are known.

    Attributes:
        references: rows of `INSTANCE_SCHEMA`; None when there are none.
        entry: what was said of their file; goes with `references`.
        ids: instance_id and position of rows without references; None when nothing is known.
        refused: refused references (`QUARANTINE_SCHEMA`).
    """

    references: pl.DataFrame | None = None
    entry: TaskEntry | None = None
    ids: pl.DataFrame | None = None
    refused: list[dict[str, Any]] = field(default_factory=list)


class Ground:
    """Nothing: neither a dataset nor a store that has references.

    Attributes:
        told: what it is, in words.
    """

    told = "nothing: there are no references"
    known = False

    def of(self, task_id: str) -> Instances:
        """The instances of a task."""
        return Instances()

    def count(self, task_id: str) -> int | None:
        """How many instances a task has; None when that is not known."""
        return None


class StoredGround(Ground):
    """The references that a store has."""

    known = True

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.told = f"the references in {store.url}"
        self._store, self._manifest = store, manifest

    def of(self, task_id: str) -> Instances:
        entry = self._manifest.tasks.get(task_id)
        if entry is None or entry.rows == 0:
            return Instances()
        rows = read_instances(self._store, "references", None, task_id, self._manifest)
        return Instances(rows, entry)

    def count(self, task_id: str) -> int | None:
        entry = self._manifest.tasks.get(task_id)
        return None if entry is None else entry.rows


class DatasetGround(Ground):
    """A dataset, read one task at a time.

    Raises:
        UserError: when it does not exist.
    """

    known = True

    def __init__(self, url: str, catalogue: Catalogue, scratch: Store) -> None:
        self.told = f"the dataset {url}"
        self._catalogue, self._scratch = catalogue, scratch
        found = discover(url, "references", catalogue)
        self._files = {file.task_id: file for file in found.files}

    def of(self, task_id: str) -> Instances:
        file = self._files.get(task_id)
        if file is None:
            return Instances()
        result, rows, _ = read_task(
            self._scratch, "references", None, file, self._catalogue, SeenFiles
        )
        refused = result.quarantine.to_pylist()
        if not result.entries:
            return Instances(refused=refused)
        if rows.is_empty():
            return Instances(ids=_ids(file), refused=refused)
        return Instances(rows, result.entries[0], refused=refused)

    def count(self, task_id: str) -> int | None:
        file = self._files.get(task_id)
        return None if file is None else _ids(file).height


def _ids(file: TaskFile) -> pl.DataFrame:
    """instance_id and position of the rows of a task file, up to where it is damaged; each id once."""
    ids: dict[str, int] = {}
    try:
        with open_member(file.url, file.member) as handle:
            for position, row in enumerate(TaskFileReader(handle, file.size)):
                try:
                    ids.setdefault(instance_id(row["id"]), position)
                except (Unreadable, TypeError, KeyError):
                    continue  # no instance: ingest refuses the row
    except DamagedFile:
        pass
    except DAMAGED as error:
        if is_storage_failure(error):
            raise
    columns = {"instance_id": pl.String, "position": pl.Int64}
    return pl.DataFrame({"instance_id": list(ids), "position": list(ids.values())}, columns)
