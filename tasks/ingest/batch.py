"""Reading one batch of task files into one Parquet part, in a worker process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.catalog import Catalogue
from tasks.files import DAMAGED, is_storage_failure, open_member, reading_together
from tasks.ingest.attach import Attachments
from tasks.ingest.discover import TaskFile
from tasks.ingest.payload import (
    STRUCTURED,
    Payload,
    Unreadable,
    instance_id,
    prediction,
    reference,
    reference_field,
    top_level_reference,
)
from tasks.ingest.plain import plain_predictions, plain_references
from tasks.ingest.quarantine import refusal
from tasks.ingest.read import BadRow, DamagedFile, TaskFileReader
from tasks.schema import INSTANCE_SCHEMA, QUARANTINE_SCHEMA, TaskEntry
from tasks.storage import PARQUET_OPTIONS, Store, quote_name

#: Raise it when a change here alters what is stored for the same bytes: everything is read again.
READER_VERSION = "3"

#: Rows, or characters of payload, after which a row group is written: what bounds the memory.
_GROUP_ROWS = 50_000
_GROUP_CHARACTERS = 16 * 2**20
#: Refused rows of one file that are told one by one: a file may hold millions of them.
_MOST_TOLD = 100_000
_PACKED_ROWS = 10_000


@dataclass(slots=True)
class BatchResult:
    """What came of a batch: manifest entries, refused files by task, quarantine rows, counts."""

    entries: list[TaskEntry] = field(default_factory=list)
    refused_files: dict[str, str] = field(default_factory=dict)
    quarantine: pa.Table = field(default_factory=QUARANTINE_SCHEMA.empty_table)
    rows: int = 0


@reading_together()
def ingest_batch(
    store: Store,
    kind: str,
    model: str | None,
    files: Sequence[TaskFile],
    catalogue: Catalogue,
    attachments: Callable[[TaskFile], Attachments] = Attachments,
) -> BatchResult:
    """Reads the files and writes their rows as one part.

    Args:
        kind: `references` or `predictions`.
        model: the model's name, None for references.
        files: task files of one source.
        attachments: finds the files that the rows of a task file name.

    A file that cannot be read at all is refused whole and the others go on. Errors of the storage
    itself are raised: they may pass, and the batch is tried again.
    """
    result = BatchResult()
    quarantine = [QUARANTINE_SCHEMA.empty_table()]
    part = _part_name(kind, model, files, catalogue)

    def write(handle: Any) -> None:
        with pq.ParquetWriter(handle, INSTANCE_SCHEMA, **PARQUET_OPTIONS) as writer:
            groups = _RowGroups(writer)
            for file in files:
                _ingest_file(groups, file)
            groups.flush()

    def _ingest_file(groups: _RowGroups, file: TaskFile) -> None:
        rows = _Rows(kind, model, file, catalogue.payload(file.task_id), attachments)
        first, written = groups.open_group, 0
        for table in rows.read():
            groups.add(table)
            written += table.num_rows
        quarantine.extend(rows.quarantine())
        if rows.refused and not written:
            result.refused_files[file.task_id] = file.fingerprint
            return
        result.rows += written
        result.entries.append(
            TaskEntry(
                task_id=file.task_id,
                source=file.source,
                fingerprint=file.fingerprint,
                content_sha256=rows.content_sha256(),
                part=part,
                row_groups=(first, groups.end if written else first),
                rows=written,
                quarantined=rows.quarantined,
                task_type=rows.task_type,
                title=rows.title,
            )
        )

    folder = ("references",) if model is None else ("predictions", quote_name(model))
    store.write(write, *folder, "parts", part)
    result.quarantine = pa.concat_tables(quarantine)
    return result


class _RowGroups:
    """Row groups of a part: small files share one, as each costs more than its rows."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._waiting: list[pa.Table] = []
        self._rows = self._bytes = 0
        #: Number of the row group that the next rows go to.
        self.open_group = 0

    @property
    def end(self) -> int:
        """One past the row group that the last rows went to."""
        return self.open_group + bool(self._waiting)

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=self._rows)
            self.open_group += 1
        self._waiting, self._rows, self._bytes = [], 0, 0


class _NoReference(Exception):
    """The row has no reference and needs none here."""


class _Rows:
    """The good rows of one file as tables, and its bad rows as quarantine."""

    def __init__(
        self,
        kind: str,
        model: str | None,
        file: TaskFile,
        payload: str,
        attachments: Callable[[TaskFile], Attachments],
    ) -> None:
        #: Rows that were refused, and the file itself if it was.
        self.quarantined = 0
        self.refused = False
        self.task_type = ""
        self.title = ""
        self._kind, self._model, self._file = kind, model, file
        self._payload = payload
        self._attachments = attachments(file) if payload in STRUCTURED else None
        self._seen: set[int] = set()
        self._sha256 = ""
        self._told: list[dict[str, Any]] = []
        self._packed: list[pa.Table] = []

    def content_sha256(self) -> str:
        """Hash of all that the stored rows depend on; known when all rows were read."""
        files = self._attachments.sha256 if self._attachments else ""
        parts = (READER_VERSION, self._kind, self._payload, self._sha256, files)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def quarantine(self) -> list[pa.Table]:
        """What was refused (`QUARANTINE_SCHEMA`), one by one up to `_MOST_TOLD`."""
        if self.quarantined > _MOST_TOLD:
            more = (
                f"{self.quarantined - _MOST_TOLD:,} more rows are refused, which are not told apart"
            )
            self._tell(more, None, None, None)
        if self._told:
            self._pack()
        return self._packed

    def read(self) -> Iterator[pa.Table]:
        """Tables of `INSTANCE_SCHEMA`, each to be one row group."""
        columns = _Columns(self._file.task_id)
        position = -1
        reader: TaskFileReader | None = None
        try:
            with open_member(self._file.url, self._file.member) as handle:
                reader = TaskFileReader(handle, self._file.size)
                if (plain := self._plain(reader)) is not None:
                    self.task_type, self.title = reader.task_type, reader.title
                    self._sha256 = reader.sha256
                    yield plain
                    return
                for position, row in enumerate(reader):
                    if position == 0:
                        self.task_type, self.title = reader.task_type, reader.title
                    self._take(columns, position, row)
                    if columns.full():
                        yield columns.table()
        except DamagedFile as damage:
            self.refused = position < 0
            self._refuse(str(damage), None if position < 0 else position + 1)
        except DAMAGED as error:
            if is_storage_failure(error):
                raise
            self.refused = position < 0
            self._refuse(f"cannot be read: {error}", None if position < 0 else position + 1)
        if reader is not None:
            self.task_type, self.title = reader.task_type, reader.title
            self._sha256 = reader.sha256
        if columns.position:
            yield columns.table()

    def _plain(self, reader: TaskFileReader) -> pa.Table | None:
        """The table of a file whose rows are all alike and good; None where each needs a look."""
        rows = reader.rows
        if not rows or len(rows) > _GROUP_ROWS or self._payload != "text":
            return None
        if self._kind == "references":
            found = plain_references(rows, reader.task_type)
        else:
            found = plain_predictions(rows)
        if found is None:
            return None
        nothing = {f.name: pa.nulls(len(rows), f.type) for f in INSTANCE_SCHEMA if f.nullable}
        columns = nothing | {
            "task_id": pa.repeat(self._file.task_id, len(rows)),
            "instance_id": found.ids,
            "position": pa.array(np.arange(len(rows))),
            "kind": pa.repeat("text", len(rows)),
            "text": found.texts,
        }
        return pa.Table.from_arrays(
            [columns[name] for name in INSTANCE_SCHEMA.names], schema=INSTANCE_SCHEMA
        )

    def _take(self, columns: _Columns, position: int, row: Any) -> None:
        key: str | None = None
        try:
            if isinstance(row, BadRow):
                raise Unreadable(row.reason)
            if not isinstance(row, dict):
                raise Unreadable("a row must be an object with an id")
            if "id" not in row:
                raise Unreadable("the row has no id")
            key = instance_id(row["id"])
            fingerprint = hash(key)
            again = fingerprint in self._seen
            self._seen.add(fingerprint)
            if again:
                # Repeated predictions are stored, so that scoring sees that the id is ambiguous.
                kept = self._kind == "predictions"
                told = "scored as wrong" if kept else "the first one counts"
                self._refuse(f"the id occurs more than once: {told}", position, key, row)
                if not kept:
                    return
            columns.add(key, position, *self._value(row))
        except _NoReference:
            return
        except Unreadable as error:
            self._refuse(str(error), position, key, row)

    def _value(self, row: dict[str, Any]) -> tuple[Payload, str | None, str | None]:
        """Payload, and path and hash of the file that it names, if it names one.

        Raises:
            Unreadable: when it cannot be taken.
            _NoReference: for a row of the close set, which holds inputs only.
        """
        if self._kind == "references":
            output = row.get("output")
            if output is None and self._attachments:
                output = top_level_reference(row)
            if output is None and self._payload != "features":
                raise _NoReference
            if self._attachments is None:
                return reference(output, self.task_type, self._payload == "number"), None, None
            value = reference_field(output, self.task_type, structured=True)
        else:
            value = _predicted(row)
            if self._attachments is None:
                return prediction(value), None, None
        return self._attachments.document(value, self._payload)

    def _refuse(
        self, reason: str, position: int | None, key: str | None = None, row: Any = None
    ) -> None:
        self.quarantined += 1
        if self.quarantined <= _MOST_TOLD:
            self._tell(reason, position, key, row)

    def _tell(self, reason: str, position: int | None, key: str | None, row: Any) -> None:
        self._told.append(
            refusal(
                self._file.source,
                reason,
                model=self._model,
                task_id=self._file.task_id,
                position=position,
                instance_id=key,
                excerpt=row.excerpt if isinstance(row, BadRow) else row,
            )
        )
        if len(self._told) >= _PACKED_ROWS:
            self._pack()

    def _pack(self) -> None:
        # As columns, refused rows take a tenth of the memory.
        self._packed.append(pa.Table.from_pylist(self._told, QUARANTINE_SCHEMA))
        self._told = []


class _Columns:
    """The rows of the next row group, as columns."""

    def __init__(self, task_id: str) -> None:
        self._task_id = task_id
        self._clear()

    def _clear(self) -> None:
        self.instance_id: list[str] = []
        self.position: list[int] = []
        self.payload: list[Payload] = []
        self.media: list[tuple[str | None, str | None]] = []
        self._characters = 0

    def add(
        self, key: str, position: int, payload: Payload, path: str | None, digest: str | None
    ) -> None:
        self.instance_id.append(key)
        self.position.append(position)
        self.payload.append(payload)
        self.media.append((path, digest))
        self._characters += len(payload.text or payload.json or "")
        self._characters += sum(map(len, payload.texts or ()))

    def full(self) -> bool:
        return len(self.position) >= _GROUP_ROWS or self._characters >= _GROUP_CHARACTERS

    def table(self) -> pa.Table:
        kinds, texts, lists, numbers, structures = zip(*self.payload, strict=True)
        paths, digests = zip(*self.media, strict=True)
        arrays = [
            [self._task_id] * len(self.position),
            self.instance_id,
            self.position,
            kinds,
            texts,
            lists,
            numbers,
            structures,
            paths,
            digests,
        ]
        typed = [pa.array(a, f.type) for a, f in zip(arrays, INSTANCE_SCHEMA, strict=True)]
        self._clear()
        return pa.Table.from_arrays(typed, schema=INSTANCE_SCHEMA)


def _predicted(row: dict[str, Any]) -> Any:
    for name in ("prediction", "prediction_final"):
        if name in row:
            return row[name]
    raise Unreadable('the row has no "prediction"')


def _part_name(
    kind: str, model: str | None, files: Sequence[TaskFile], catalogue: Catalogue
) -> str:
    """Named after what it is made of: reading the same batch again writes the same part."""
    parts = [READER_VERSION, kind, model or ""]
    for file in files:
        payload = catalogue.payload(file.task_id)
        parts += [file.task_id, file.source, file.fingerprint, payload]
    text = "\n".join(parts).encode("utf-8", "backslashreplace")
    return hashlib.sha256(text).hexdigest()[:24] + ".parquet"
