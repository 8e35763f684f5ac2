"""What the store already has of a source, what must be read, and how new rows come in.

Parts are written first and never changed, the quarantine next, the manifest last and at once: a
crash leaves either the old state or the new one. Parts that no manifest names are superseded.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import pyarrow as pa

from tasks.catalog import Catalogue
from tasks.ingest.batch import READER_VERSION, BatchResult
from tasks.ingest.discover import TaskFile, check_model_name, place_files
from tasks.ingest.tree import list_source
from tasks.schema import QUARANTINE_SCHEMA, Manifest
from tasks.storage import Store, quote_name
from tasks.superseded import drop_superseded

#: A batch is one unit of work for a process, and one part.
BATCH_BYTES = 16 * 2**20
BATCH_FILES = 400


@dataclass(slots=True)
class Plan:
    """What one source needs: batches to be read, and the counts of files by state.

    `listing` tells the source's listing from any other. It is empty where something was refused
    that is to be looked at again; `stored` is what the store had, where the listing is still that.
    """

    kind: str
    model: str | None
    source: str
    listing: str = ""
    stored: Manifest | None = None
    batches: list[list[TaskFile]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unchanged: dict[str, TaskFile] = field(default_factory=dict)
    pending: dict[str, TaskFile] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)

    @property
    def folder(self) -> tuple[str, ...]:
        """Where the rows lie in the store."""
        return ("references",) if self.model is None else ("predictions", quote_name(self.model))

    @property
    def quarantine(self) -> tuple[str, ...]:
        """Where the refused rows lie in the store. References have a name no model's file has."""
        name = "references" if self.model is None else quote_name(self.model)
        folder = "ingest-references" if self.model is None else "ingest"
        return ("quarantine", folder, f"{name}.parquet")


def plan(
    store: Store,
    kind: str,
    model: str | None,
    source: str,
    catalogue: Catalogue,
    *,
    force: bool = False,
) -> Plan:
    """Compares a source with what the store has of it, by the files' cheap fingerprints.

    Raises:
        UserError: when the source does not exist, or the store cannot hold a model of that name.
    """
    if model is not None:
        check_model_name(model)
    result = Plan(kind, model, source)
    before = store.read_struct(Manifest, *result.folder, "manifest.json") or Manifest(kind=kind)
    tree = list_source(source, kind)
    listing = hashlib.sha256(
        f"{source}\n{READER_VERSION}\n{catalogue.fingerprint}\n{tree.mark()}".encode()
    ).hexdigest()
    if listing == before.listing and not force:
        # Most submissions on most nights: nothing is placed or compared file by file.
        result.listing, result.stored = listing, before
        result.counts.update(unchanged=len(before.tasks), refused=len(before.refused))
        return result
    found = place_files(tree, catalogue, model)
    result.listing = "" if found.refused else listing
    result.refused = found.refused
    result.counts["refused"] = len({row["source"] for row in found.refused})
    for file in found.files:
        entry = before.tasks.get(file.task_id)
        known = entry.fingerprint if entry else before.refused.get(file.task_id)
        same_place = entry is None or entry.source == file.source
        # A task whose payload changed in the catalogue is read differently from the same bytes.
        fingerprint = _with_payload(file, catalogue)
        if known == fingerprint and same_place and not force:
            result.unchanged[file.task_id] = file
            result.counts["unchanged" if entry else "refused"] += 1
        else:
            result.pending[file.task_id] = file
            result.counts["changed" if entry else "new"] += 1
    arrived = {file.task_id for file in found.files}
    result.counts["removed"] = len(before.tasks.keys() - arrived)
    result.pending = {
        task_id: _fingerprinted(file, catalogue) for task_id, file in result.pending.items()
    }
    result.batches = _in_batches(list(result.pending.values()))
    return result


def finish(store: Store, plan: Plan, results: Sequence[BatchResult]) -> Manifest:
    """Brings results into the store's state; may be called after each batch with all so far.

    Tasks still to be read keep what the store had of them until their own batch is in.
    """
    if plan.stored is not None:
        _drop_superseded(store, plan, plan.stored)
        return plan.stored
    before = store.read_struct(Manifest, *plan.folder, "manifest.json") or Manifest(kind=plan.kind)
    done = {entry.task_id: entry for result in results for entry in result.entries}
    refused = {task: mark for result in results for task, mark in result.refused_files.items()}
    waiting = plan.pending.keys() - done.keys() - refused.keys()
    stay = plan.unchanged.keys() | waiting
    manifest = Manifest(
        kind=plan.kind,
        model=plan.model,
        source=plan.source,
        listing="" if waiting else plan.listing,
        tasks=dict(sorted(({t: e for t, e in before.tasks.items() if t in stay} | done).items())),
        refused={t: m for t, m in before.refused.items() if t in stay} | refused,
    )
    _write_quarantine(store, plan, results, stay)
    if manifest != before:
        store.write_struct(manifest, *plan.folder, "manifest.json")
    if not waiting:
        _drop_superseded(store, plan, manifest)
    return manifest


def _drop_superseded(store: Store, plan: Plan, manifest: Manifest) -> None:
    live = {entry.part for entry in manifest.tasks.values()}
    drop_superseded(store, live, *plan.folder, "parts")


def read_instances(
    store: Store,
    kind: str,
    model: str | None,
    task_id: str,
    manifest: Manifest,
    columns: list[str] | None = None,
) -> pl.DataFrame:
    """The stored rows of one task, in the order of their source."""
    entry = manifest.tasks[task_id]
    folder = ("references",) if model is None else ("predictions", quote_name(model))
    where = (*folder, "parts", entry.part)
    table = store.read_row_groups(entry.row_groups, *where, columns=columns)
    return pl.DataFrame(pl.from_arrow(table)).filter(pl.col("task_id") == task_id)


def _write_quarantine(
    store: Store, plan: Plan, results: Sequence[BatchResult], stay: set[str]
) -> None:
    """Rows of files that were not read again stay; all others are made anew."""
    empty = pl.DataFrame(pl.from_arrow(QUARANTINE_SCHEMA.empty_table()))
    try:
        before = pl.DataFrame(pl.from_arrow(store.read_table(*plan.quarantine)))
    except FileNotFoundError:
        before = empty
    known = {file.source for file in (plan.unchanged | plan.pending).values()}
    kept = before.filter(pl.col("task_id").is_in(list(stay)) & pl.col("source").is_in(list(known)))
    fresh = pa.concat_tables(
        [pa.Table.from_pylist(plan.refused, QUARANTINE_SCHEMA), *(r.quarantine for r in results)]
    )
    merged = pl.concat([kept, pl.DataFrame(pl.from_arrow(fresh))])
    if not merged.equals(before):
        store.write_table(merged.to_arrow().cast(QUARANTINE_SCHEMA), *plan.quarantine)


def _with_payload(file: TaskFile, catalogue: Catalogue) -> str:
    return f"{file.fingerprint}|{READER_VERSION}|{catalogue.payload(file.task_id)}"


def _fingerprinted(file: TaskFile, catalogue: Catalogue) -> TaskFile:
    return replace(file, fingerprint=_with_payload(file, catalogue))


def _in_batches(files: Sequence[TaskFile]) -> list[list[TaskFile]]:
    """Files by size into batches, neighbours together; a tar is one batch, as it is read in turn."""
    batches: list[list[TaskFile]] = []
    size = 0
    for file in sorted(files, key=lambda f: (f.url, f.task_id)):
        if not batches or size + file.size > BATCH_BYTES or len(batches[-1]) >= BATCH_FILES:
            batches.append([])
            size = 0
        batches[-1].append(file)
        size += file.size
    return sorted(batches, key=lambda batch: -sum(file.size for file in batch))
