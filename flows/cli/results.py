"""Reading published results for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from tasks.catalog import load_catalogue
from tasks.errors import UserError, near
from tasks.storage import Store
from tasks.warehouse import connect


def board(store_url: str, board_id: str, profile: str, aggregation: str) -> list[dict[str, Any]]:
    """One board's rows, best first. Raises `UserError` when there is no such board."""
    with connect(Store(store_url), rows=False) as database:
        rows = _dicts(
            database.execute(
                "FROM leaderboards WHERE board_id = ? AND profile = ? AND aggregation = ? "
                "ORDER BY rank, model",
                [board_id, profile, aggregation],
            )
        )
        if not rows:
            raise _no_board(database, store_url, board_id, profile, aggregation)
        return rows


def boards(store_url: str) -> list[dict[str, Any]]:
    """All boards: id, title, highest level, number of tasks."""
    with connect(Store(store_url), rows=False) as database:
        return _dicts(
            database.execute(
                "SELECT board_id, title, max_level, tasks FROM boards "
                "ORDER BY scope, modalities, paradigms, board_id"
            )
        )


def _no_board(
    database: duckdb.DuckDBPyConnection,
    store_url: str,
    board_id: str,
    profile: str,
    aggregation: str,
) -> UserError:
    """Why there are no results of a board: which of the three names is unknown, and what is near."""
    known = database.execute("SELECT DISTINCT profile, aggregation FROM leaderboards").fetchall()
    if not known:
        return UserError(f"{store_url} holds no scored model", "general-level run --help")
    profiles, aggregations = (sorted({row[i] for row in known}) for i in (0, 1))
    if profile not in profiles or aggregation not in aggregations:
        return UserError(
            f"no results for profile {profile!r} and aggregation {aggregation!r}",
            f"profiles: {', '.join(profiles)}; aggregations: {', '.join(aggregations)}",
        )
    tasks = dict(database.execute("SELECT board_id, tasks FROM boards").fetchall())
    if board_id in tasks:
        return UserError(
            f"board {board_id!r} has no tasks in the catalogue of {store_url}",
            "general-level levels --boards lists all boards with their tasks",
        )
    alike = near(board_id, tasks)
    lists = f"general-level levels --boards lists all {len(tasks)}"
    return UserError(
        f"no board is called {board_id!r}",
        f"near it: {', '.join(alike)}; {lists}" if alike else lists,
    )


def task(
    store_url: str, name: str, catalogue_files: Sequence[str], base: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A task's entry in the catalogue, and its published scores, best first.

    The catalogue of the published results is looked at first, then the one given.
    """
    store = Store(store_url)
    if store.exists("results.duckdb"):
        with connect(store, rows=False) as database:
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
        alike = [
            row["task_id"]
            for row in catalogue.tasks.iter_rows(named=True)
            if wanted in f"{row['task_id']} {row['title']}".casefold()
        ][:8]
        raise UserError(
            f"no task is called {name!r}",
            f"near it: {', '.join(alike)}"
            if alike
            else "general-level sql 'FROM tasks' lists them",
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
