"""The state of scoring: one `task_scores.parquet` a model, which also says where the statistics lie.

That one object is the whole state: it is written after the parts it points to and swapped in
atomically, so that a crash at any point leaves the last good scores readable.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa

from tasks.schema import QUARANTINE_SCHEMA, SCORE_STATE_SCHEMA
from tasks.storage import Store, quote_name, unquote_name
from tasks.superseded import drop_superseded


def scored_models(store: Store) -> list[str]:
    """Models that have task scores."""
    return [unquote_name(name) for name in store.names("scores")]


def read_task_scores(store: Store, model: str, columns: list[str] | None = None) -> pl.DataFrame:
    """The task scores of one model (`SCORE_STATE_SCHEMA`); empty when it was never scored."""
    where = ("scores", quote_name(model), "task_scores.parquet")
    table = SCORE_STATE_SCHEMA.empty_table().select(columns or SCORE_STATE_SCHEMA.names)
    with suppress(FileNotFoundError):
        # A column that an earlier version did not write is null.
        stored = store.read_table(*where, columns=columns)
        table = pa.concat_tables([table, stored], promote_options="default")
    return pl.DataFrame(pl.from_arrow(table))


def finish_scores(
    store: Store,
    model: str,
    rows: Iterable[dict[str, object]],
    quarantine: pa.Table,
    *,
    removed: Iterable[str] = (),
) -> None:
    """Merges new task scores into the model's state.

    May be called after each batch: what it has written then survives a kill. A task that is refused
    keeps its last good score, marked `stale_since` the first refusal, with the reason of the last.

    Args:
        rows: task score rows (`SCORE_STATE_SCHEMA`), all profiles of each task they name.
        quarantine: refused rows of the tasks that `rows` name (`QUARANTINE_SCHEMA`).
        removed: tasks whose predictions are gone; their scores go too.
    """
    rows, removed = list(rows), list(removed)
    if not rows and not removed:
        return
    fresh = pl.DataFrame(pl.from_arrow(pa.Table.from_pylist(rows, SCORE_STATE_SCHEMA)))
    before = read_task_scores(store, model)
    stale = _last_good(before, fresh)
    fresh = pl.concat([fresh.filter(~pl.col("task_id").is_in(stale["task_id"].to_list())), stale])
    touched = set(fresh["task_id"]).union(removed)
    state = pl.concat([before.filter(~pl.col("task_id").is_in(list(touched))), fresh])
    state = state.sort("task_id", "profile")
    if state.equals(before):
        return
    _replace_quarantine(store, model, touched - set(stale["task_id"]), quarantine)
    name = quote_name(model)
    table = state.to_arrow().cast(SCORE_STATE_SCHEMA)
    store.write_table(table, "scores", name, "task_scores.parquet")


def _last_good(before: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """The rows in `before` of tasks that are refused in `fresh` and were scored, marked as stale.

    Without a key they are tried again by each run.
    """
    refused = fresh.filter(status="refused").select("task_id", why="reason")
    scored = before.filter(status="scored").select("task_id").unique()
    kept = before.join(refused.join(scored, on="task_id"), on="task_id")
    return kept.with_columns(
        reason="why",
        score_key=pl.lit(None, pl.String),
        stale_since=pl.col("stale_since").fill_null(datetime.now(UTC)),
    ).drop("why")


def drop_stale_parts(store: Store, model: str) -> None:
    """Deletes parts that no score points to, after their time. Only for when no batch of the model
    is under way: a part is written before the scores that point to it."""
    name = quote_name(model)
    live = set(read_task_scores(store, model, ["part"])["part"].drop_nulls())
    for folder in ("instances", "replicates"):
        drop_superseded(store, live, "scores", name, folder)


def _replace_quarantine(store: Store, model: str, touched: set[str], rows: pa.Table) -> None:
    where = ("quarantine", "score", f"{quote_name(model)}.parquet")
    try:
        before = pl.DataFrame(pl.from_arrow(store.read_table(*where)))
    except FileNotFoundError:
        before = pl.DataFrame(pl.from_arrow(QUARANTINE_SCHEMA.empty_table()))
    kept = before.filter(~pl.col("task_id").is_in(list(touched)))
    merged = pl.concat([kept, pl.DataFrame(pl.from_arrow(rows))])
    if not merged.equals(before):
        store.write_table(merged.to_arrow().cast(QUARANTINE_SCHEMA), *where)
