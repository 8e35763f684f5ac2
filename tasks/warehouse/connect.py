"""Reading what was published: read-only connections, with views over the stored rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from tasks.errors import UserError
from tasks.schema import Manifest
from tasks.storage import Store
from tasks.warehouse.build import literal


@contextmanager
def connect(store: Store) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the last published results.

    A local database is opened in place: a publish that happens meanwhile swaps the file, and this
    connection goes on reading the one it opened. A remote one is copied first. The temporary views
    `instance_scores`, `predictions` and `references_` read the store's Parquet parts.

    Raises:
        UserError: when nothing has been published in this store.
    """
    if not store.exists("results.duckdb"):
        raise UserError(
            f"{store.url} holds no published results",
            "run `general-level run --example mini`, or name the store with --store",
        )
    with tempfile.TemporaryDirectory(prefix="general-level-") as folder:
        path = store.path("results.duckdb")
        if not store.is_local:
            path = str(Path(folder, "results.duckdb"))
            Path(path).write_bytes(store.read_bytes("results.duckdb"))
        with duckdb.connect(path, read_only=True) as database:
            if not store.is_local:
                database.register_filesystem(store.fs)
            _add_views(database, store)
            yield database


def leaderboard(
    store: Store,
    board_id: str = "A",
    profile: str = "corrected",
    aggregation: str = "modality_mean",
) -> pl.DataFrame:
    """One board of the last published run, best first."""
    with connect(store) as database:
        return database.sql(
            "FROM leaderboards WHERE board_id = ? AND profile = ? AND aggregation = ? "
            "ORDER BY rank, model",
            params=[board_id, profile, aggregation],
        ).pl()


def _add_views(database: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Views over the parts that the manifests name; stale parts are never read."""
    names = store.names("predictions")
    files = {
        "references_": _parts(store, "references"),
        "predictions": [p for name in names for p in _parts(store, "predictions", name)],
        "instance_scores": [
            f"scores/{name}/instances/{part}"
            for name in store.names("scores")
            for part in store.names("scores", name, "instances")
        ],
    }
    scheme = "" if store.is_local else f"{store.url.split('://')[0]}://"
    for view, found in files.items():
        if not found:
            continue
        listed = ", ".join(literal(f"{scheme}{store.path(path)}") for path in found)
        database.execute(
            f"CREATE TEMP VIEW {view} AS FROM read_parquet([{listed}], filename = true)"
        )


def _parts(store: Store, *folder: str) -> list[str]:
    manifest = store.read_struct(Manifest, *folder, "manifest.json")
    parts = {entry.part for entry in manifest.tasks.values()} if manifest else set()
    return ["/".join((*folder, "parts", part)) for part in sorted(parts)]
