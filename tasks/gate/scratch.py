"""A store in memory for one task at a time: nothing is written to disk."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl
import pyarrow.parquet as pq

from tasks.catalog import Catalogue
from tasks.ingest import BatchResult, TaskFile, ingest_batch
from tasks.ingest.attach import Attachments
from tasks.storage import Store, quote_name


@contextmanager
def scratch_store() -> Iterator[Store]:
    """Yields a store that is gone afterwards."""
    store = Store(f"memory://general-level-{uuid.uuid4().hex}")
    try:
        yield store
    finally:
        if store.fs.exists(store.root):
            store.fs.rm(store.root, recursive=True)


def read_task(
    store: Store,
    kind: str,
    model: str | None,
    file: TaskFile,
    catalogue: Catalogue,
    attachments: Callable[[TaskFile], Attachments],
) -> tuple[BatchResult, pl.DataFrame, int]:
    """What ingest makes of one task's file: the result, its rows (`INSTANCE_SCHEMA`), and the bytes
    that they take in a store. Arguments as `ingest_batch`."""
    result = ingest_batch(store, kind, model, [file], catalogue, attachments)
    where = (kind, "parts") if model is None else (kind, quote_name(model), "parts")
    frames: list[pl.DataFrame] = []
    size = 0
    for part in store.names(*where):
        stored = pq.ParquetFile(io.BytesIO(store.read_bytes(*where, part)))
        frames.append(pl.DataFrame(pl.from_arrow(stored.read())))
        groups = (stored.metadata.row_group(i) for i in range(stored.num_row_groups))
        size += sum(g.column(i).total_compressed_size for g in groups for i in range(g.num_columns))
        store.delete(*where, part)
    return result, pl.concat(frames), size
