"""What one night did, as tables and text: for the flow run's page, its log and its alerts.

The tables are lists of rows with readable column names; nothing here knows Prefect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import duckdb

from tasks.storage import Store
from tasks.warehouse import StageRun, connect

Row = dict[str, Any]

#: Rows that a page shows of a long list; the store has them all.
FIRST_ROWS = 20
#: A fall below this is rounding: levels are read to two decimals.
SMALLEST_FALL = 0.005


class Ingested(Protocol):
    """What was read of one source: files by state, rows kept and refused, what failed."""

    name: str
    files: dict[str, int]
    rows: int
    quarantined: int
    failures: list[str]


class Scored(Protocol):
    """What was scored of one model (reason -> tasks), what was left alone, what failed."""

    model: str
    scored: dict[str, int]
    unchanged: int
    removed: int
    refused: dict[str, str]
    instances: int
    worker_seconds: float
    failures: list[str]


@dataclass(frozen=True, slots=True)
class Regression:
    """A level score of a model that fell, or went, since the run before (board A, corrected)."""

    model: str
    level: int
    score: float | None
    score_before: float

    def __str__(self) -> str:
        now = "is gone" if self.score is None else f"fell to {self.score:.2f}"
        return f"{self.model}: level {self.level} {now} (was {self.score_before:.2f})"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the published results say after a run.

    Attributes:
        coverage: one row a model.
        quarantine: refused rows and files counted by stage and reason, most frequent first.
        quarantine_rows: the first `FIRST_ROWS` refused rows, with source and position.
        refused: all refused rows and files, counted.
        regressions: level scores that fell since the run before.
        causes: what else changed since then, that can move levels by itself.
    """

    coverage: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    quarantine_rows: list[Row] = field(default_factory=list)
    refused: int = 0
    regressions: list[Regression] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)


def read_standing(store: Store) -> Standing:
    """Reads coverage, quarantine and regressions of the last published run."""
    with connect(store, rows=False) as database:
        standing = Standing(
            coverage=rows(database, "FROM coverage ORDER BY model"),
            regressions=regressions(database),
            causes=_causes(database),
        )
        if not has(database, "quarantine"):
            return standing
        (total,) = database.execute("SELECT count(*) FROM quarantine").fetchall()[0]
        return Standing(
            coverage=standing.coverage,
            quarantine=rows(
                database,
                "SELECT stage, reason, count(*) AS rows, count(DISTINCT model) AS models, "
                "count(DISTINCT task_id) AS tasks FROM quarantine "
                "GROUP BY stage, reason ORDER BY rows DESC, stage, reason LIMIT ?",
                FIRST_ROWS,
            ),
            quarantine_rows=rows(
                database,
                "SELECT stage, model, task_id, source, position, instance_id, reason "
                "FROM quarantine ORDER BY ALL LIMIT ?",
                FIRST_ROWS,
            ),
            refused=total,
            regressions=standing.regressions,
            causes=standing.causes,
        )


def rows(database: duckdb.DuckDBPyConnection, query: str, *values: object) -> list[Row]:
    """The rows of a query, by column name; `values` are for its question marks."""
    result = database.execute(query, list(values))
    columns = [column[0] for column in result.description or []]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]


def has(database: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether there is such a table or view: a store without refused rows has no `quarantine`."""
    query = "SELECT count(*) FROM information_schema.tables WHERE table_name = ?"
    return database.execute(query, [name]).fetchall()[0][0] > 0


def regressions(database: duckdb.DuckDBPyConnection) -> list[Regression]:
    """The level scores that the last published run lowered, or lost (board A, corrected,
    modality_mean), by model and level."""
    found = database.execute(
        "SELECT model, level, score, score_before FROM level_changes "
        "WHERE board_id = 'A' AND profile = 'corrected' AND aggregation = 'modality_mean' "
        "AND score_before > 0 AND (score IS NULL OR change < ?) ORDER BY model, level",
        [-SMALLEST_FALL],
    ).fetchall()
    return [Regression(*row) for row in found]


def _causes(database: duckdb.DuckDBPyConnection) -> list[str]:
    last_two = database.execute(
        "SELECT catalogue_sha256, scorer_version FROM runs "
        "ORDER BY published_at DESC, run_id DESC LIMIT 2"
    ).fetchall()
    if len(last_two) < 2:
        return []
    told = ("the catalogue (tasks or specialists) changed", "the scorer's version changed")
    return [what for what, now, before in zip(told, *last_two, strict=True) if now != before]


def ingested_table(reports: Iterable[Ingested]) -> list[Row]:
    """One row a source: files by state, rows read and refused."""
    states = ("new", "changed", "unchanged", "removed", "refused")
    return [
        {"source": report.name}
        | {f"files {state}": report.files.get(state, 0) for state in states}
        | {
            "rows read": report.rows,
            "rows in quarantine": report.quarantined,
            "failures": len(report.failures),
        }
        for report in reports
    ]


def rescored_table(reports: Iterable[Scored]) -> list[Row]:
    """One row a model: tasks scored again and why, those left alone, and what it took."""
    return [
        {
            "model": report.model,
            "tasks scored": sum(report.scored.values()),
            "why": why(report.scored),
            "unchanged": report.unchanged,
            "removed": report.removed,
            "without score": len(report.refused),
            "instances": report.instances,
            "worker seconds": round(report.worker_seconds, 2),
            "failures": len(report.failures),
        }
        for report in reports
    ]


def why(reasons: Mapping[str, int]) -> str:
    """Counts by reason, the most frequent first: `12 new, 3 predictions changed`."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ordered) or "nothing changed"


def stage_table(stages: Iterable[StageRun]) -> list[Row]:
    """One row a stage: wall time in seconds, and counts of what it did."""
    return [
        {
            "stage": stage.stage,
            "seconds": round(stage.seconds, 2),
            "tasks": stage.tasks,
            "unchanged": stage.unchanged,
            "instances": stage.instances,
            "failures": stage.failures,
        }
        for stage in stages
    ]


def one_line(stages: Sequence[StageRun], standing: Standing) -> str:
    """The night in one line of a log."""
    done = {stage.stage: stage for stage in stages}
    score = done.get("score")
    took = ", ".join(f"{stage.stage} {stage.seconds:.1f} s" for stage in stages)
    return (
        f"{score.tasks if score else 0} tasks scored, {score.unchanged if score else 0} unchanged, "
        f"{sum(stage.failures for stage in stages)} failures, {standing.refused} rows in "
        f"quarantine, {len(standing.regressions)} level scores fell; {took}"
    )


def summary(
    run_id: str,
    store: str,
    failures: Sequence[str],
    scores: Sequence[Scored],
    stages: Sequence[StageRun],
    standing: Standing,
) -> str:
    """The night as Markdown: what needs somebody first, then what was done, then what it took."""
    verdict = f"{_count(len(failures), 'failure')}" if failures else "no failure"
    parts = [
        f"# Night {run_id}",
        f"**{verdict}**, {_count(len(standing.regressions), 'level score')} fell, "
        f"{_count(standing.refused, 'row')} in quarantine. Store: `{store}`.",
    ]
    if failures:
        parts += [
            "## Failures",
            "What failed keeps its last good result; the rest is published.",
            _bullets(failures),
        ]
    if standing.regressions:
        parts += ["## Levels that fell", _bullets(map(str, standing.regressions))]
        if standing.causes:
            parts.append(f"Since the run before, {' and '.join(standing.causes)}.")
    changed = [row for row in rescored_table(scores) if row["tasks scored"]]
    parts.append("## Scored again")
    if changed:
        columns = ("model", "tasks scored", "why", "instances")
        parts.append(_table([{key: row[key] for key in columns} for row in changed]))
    else:
        parts.append("Nothing: no prediction, reference or metric changed.")
    if standing.quarantine:
        shown = ("stage", "reason", "rows")
        parts += [
            "## Quarantine, by reason",
            _table([{key: row[key] for key in shown} for row in standing.quarantine[:5]]),
        ]
    parts += ["## Stages", _table(stage_table(stages))]
    return "\n\n".join(parts) + "\n"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _bullets(lines: Iterable[str]) -> str:
    lines = list(lines)
    shown = [f"- {_text(line)}" for line in lines[:FIRST_ROWS]]
    if len(lines) > FIRST_ROWS:
        shown.append(f"- and {len(lines) - FIRST_ROWS} more")
    return "\n".join(shown)


def _table(table: Sequence[Row]) -> str:
    columns = list(table[0])
    lines = [columns, ["---"] * len(columns), *([_text(v) for v in r.values()] for r in table)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: object) -> str:
    """A value inside Markdown, on one line and read as text: models may be called anything."""
    text = " ".join(str(value).split())
    for mark in ("\\", "|", "*", "_", "`", "[", "]"):
        text = text.replace(mark, f"\\{mark}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
