"""Reading published results for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.storage import Store
from tasks.warehouse import connect


def board(store_url: str, board_id: str, profile: str, aggregation: str) -> list[dict[str, Any]]:
    """One board's rows, best first. Raises `UserError` when there is no such board."""
    with connect(Store(store_url)) as database:
        rows = _dicts(
            database.execute(
                "FROM leaderboards WHERE board_id = ? AND profile = ? AND aggregation = ? "
                "ORDER BY rank, model",
                [board_id, profile, aggregation],
            )
        )
        if not rows:
            known = database.execute(
                "SELECT DISTINCT board_id, profile, aggregation FROM leaderboards ORDER BY ALL"
            ).fetchall()
            boards, profiles, aggregations = (sorted({row[i] for row in known}) for i in range(3))
            wanted = f"board {board_id!r}, profile {profile!r}, aggregation {aggregation!r}"
            if not known:
                raise UserError(f"{store_url} holds no scored model", "general-level run --help")
            raise UserError(
                f"no results for {wanted}",
                f"boards: {', '.join(boards)}; profiles: {', '.join(profiles)}; "
                f"aggregations: {', '.join(aggregations)}",
            )
        return rows


def task(
    store_url: str, name: str, catalogue_files: Sequence[str], base: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A task's entry in the catalogue, and its published scores, best first.

    The catalogue of the published results is looked at first, then the one given.
    """
    store = Store(store_url)
    if store.exists("results.duckdb"):
        with connect(store) as database:
            found = _dicts(
                database.execute(
                    "FROM tasks WHERE task_id = $name OR lower(title) = lower($name) "
                    "OR lower(short_title) = lower($name) ORDER BY task_id",
                    {"name": name},
                )
            )
            if found:
                about = _only(name, found)
                scores = _dicts(
                    database.execute(
                        "SELECT model, profile, status, raw_score, score, specialist_raw, wins, "
                        "coverage, n_instances, n_missing, reason FROM task_results "
                        "WHERE task_id = ? ORDER BY profile, score DESC, model",
                        [about["task_id"]],
                    )
                )
                return about, scores
    catalogue = load_catalogue(catalogue_files, base=base)
    wanted = name.casefold()
    found = [
        row
        for row in catalogue.tasks.iter_rows(named=True)
        if wanted in (str(row[key]).casefold() for key in ("task_id", "title", "short_title"))
    ]
    if not found:
        near = [
            row["task_id"]
            for row in catalogue.tasks.iter_rows(named=True)
            if wanted in f"{row['task_id']} {row['title']}".casefold()
        ][:8]
        raise UserError(
            f"no task is called {name!r}",
            f"near it: {', '.join(near)}" if near else "general-level sql 'FROM tasks' lists them",
        )
    return _only(name, found), []


def query(store_url: str, text: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Runs one SQL text, read-only; column names and rows. SQL errors become `UserError`."""
    with connect(Store(store_url)) as database:
        try:
            result = database.execute(text)
            if result.description is None:
                return [], []
            return [column[0] for column in result.description], result.fetchall()
        except duckdb.Error as error:
            raise UserError(str(error), "general-level sql 'SHOW TABLES' lists tables") from None


def _only(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    if len(found) > 1:
        ids = ", ".join(row["task_id"] for row in found)
        raise UserError(f"{name!r} is the title of {len(found)} tasks", f"name one: {ids}")
    return found[0]


def _dicts(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    columns = [column[0] for column in result.description or []]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
