"""Reading what was published: read-only connections, with views over the stored rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import polars as pl

from tasks.errors import UserError
from tasks.schema import Manifest
from tasks.storage import Store
from tasks.warehouse.tables import literal

#: Times that the rows' files are looked for while a run goes on beside.
_ATTEMPTS = 5


@contextmanager
def connect(store: Store, *, rows: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the last published results.

    A local database is opened in place: a publish that happens meanwhile swaps the file, and this
    connection goes on reading the one it opened. A remote one is copied first. The temporary views
    `instance_scores`, `predictions`, `references_` and `quarantine` read the store's Parquet files.

    Args:
        rows: whether the first three views are wanted: each model's state is read for them.

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
            _add_views_of_now(database, store, rows)
            yield database


def leaderboard(
    store: Store,
    board_id: str = "A",
    profile: str = "corrected",
    aggregation: str = "modality_mean",
) -> pl.DataFrame:
    """One board of the last published run, best first."""
    with connect(store, rows=False) as database:
        return database.sql(
            "FROM leaderboards WHERE board_id = ? AND profile = ? AND aggregation = ? "
            "ORDER BY rank, model",
            params=[board_id, profile, aggregation],
        ).pl()


def _add_views_of_now(database: duckdb.DuckDBPyConnection, store: Store, rows: bool) -> None:
    """Adds the views, again from the state as it is by then when a run has replaced a file
    meanwhile: the quarantine is one, and parts go an hour after the state has stopped naming them."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(duckdb.IOException):
            _add_views(database, store, rows)
            return
    _add_views(database, store, rows)


def _add_views(database: duckdb.DuckDBPyConnection, store: Store, rows: bool) -> None:
    """Views over the rows that the state points to; superseded rows in old parts are not seen."""
    scheme = "" if store.is_local else f"{store.url.split('://')[0]}://"
    _add_quarantine(database, store, scheme)
    if not rows:
        return
    for view, live in (
        ("references_", _stored(store, "references")),
        (
            "predictions",
            [
                row
                for name in store.names("predictions")
                for row in _stored(store, "predictions", name)
            ],
        ),
        (
            "instance_scores",
            [row for name in store.names("scores") for row in _scored(store, name)],
        ),
    ):
        if not live:
            continue
        table = pl.DataFrame(live, schema=["model", "task_id", "file"], orient="row").unique()
        table = table.with_columns(file=pl.lit(scheme) + pl.col("file"))
        database.register("live_rows", table.to_arrow())
        database.execute(f"CREATE OR REPLACE TEMP TABLE live_{view} AS FROM live_rows")
        database.unregister("live_rows")
        listed = ", ".join(literal(path) for path in table["file"].unique().sort())
        model = "" if view == "references_" else "live.model, "
        database.execute(
            f"CREATE OR REPLACE TEMP VIEW {view} AS SELECT {model}stored.* EXCLUDE (filename) "
            f"FROM read_parquet([{listed}], filename = true) AS stored "
            f"INNER JOIN live_{view} AS live "
            "ON stored.filename = live.file AND stored.task_id = live.task_id"
        )


def _add_quarantine(database: duckdb.DuckDBPyConnection, store: Store, scheme: str) -> None:
    """The view `quarantine` over all refused rows."""
    files = [
        store.path("quarantine", stage, name)
        for stage in store.names("quarantine")
        for name in store.names("quarantine", stage)
    ]
    if files:
        listed = ", ".join(literal(scheme + path) for path in files)
        database.execute(f"CREATE OR REPLACE TEMP VIEW quarantine AS FROM read_parquet([{listed}])")


def _stored(store: Store, *folder: str) -> list[tuple[str | None, str, str]]:
    """(model, task, file) of the rows that a manifest points to."""
    manifest = store.read_struct(Manifest, *folder, "manifest.json")
    tasks = manifest.tasks.values() if manifest else ()
    model = manifest.model if manifest else None
    return [(model, e.task_id, store.path(*folder, "parts", e.part)) for e in tasks]


def _scored(store: Store, name: str) -> list[tuple[str | None, str, str]]:
    """(model, task, file) of the per-instance statistics of a model's current scores."""
    where = ("scores", name, "task_scores.parquet")
    if not store.exists(*where):
        return []
    table = store.read_table(*where, columns=["model", "task_id", "part"])
    rows = zip(*(table[c].to_pylist() for c in ("model", "task_id", "part")), strict=True)
    return [(m, t, store.path("scores", name, "instances", p)) for m, t, p in rows if p]
