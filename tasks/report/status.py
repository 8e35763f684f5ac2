"""How fresh and how whole the published results are, for operators and their monitoring."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.errors import UserError
from tasks.report.night import Regression, has, regressions, rows
from tasks.storage import Store
from tasks.warehouse import connect

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Status:
    """The last published run.

    Attributes:
        published_at: UTC.
        age_seconds: since then.
        stages: the last record of each stage: seconds and counts, and the run it is of.
        failures: what failed for good in that run.
        tasks: (model, task) pairs by state: scored, unsupported, refused.
        stale: scores among them that are of an earlier run, as the task failed since.
        instances: instances by state: scored, missing, unreadable, duplicate.
        quarantine: refused rows and files by stage.
        levels: one row a model: levels 2 to 5 (board A, corrected, modality_mean).
        regressions: level scores of these that fell since the run before.
    """

    store: str
    run_id: str
    published_at: datetime
    age_seconds: float
    stages: list[dict[str, Any]]
    failures: int
    tasks: dict[str, int]
    stale: int
    instances: dict[str, int]
    quarantine: dict[str, int]
    levels: list[dict[str, Any]]
    regressions: list[Regression]


def seconds_of(text: str) -> float:
    """A span of time in seconds: `90`, `45s`, `30m`, `26h`, `2d`.

    Raises:
        UserError: when it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if found is None:
        raise UserError(f"{text!r} is no span of time", "write it like 26h, 90m, 2d or 3600s")
    return float(found[1]) * _UNITS[found[2] or "s"]


def read_status(store: Store, now: datetime | None = None) -> Status | None:
    """The state of the last published run; None when nothing has been published.

    Args:
        now: the time to tell the age by (UTC), by default the present.
    """
    if not store.exists("results.duckdb"):
        return None
    with connect(store, rows=False) as database:
        (last,) = rows(
            database,
            "SELECT run_id, published_at FROM runs ORDER BY published_at DESC, run_id DESC LIMIT 1",
        )
        stages = []
        if has(database, "run_stages"):  # results of an earlier version have none
            stages = rows(
                database,
                "SELECT run_stages.* FROM run_stages INNER JOIN runs USING (run_id) QUALIFY "
                "row_number() OVER (PARTITION BY stage ORDER BY published_at DESC) = 1 "
                "ORDER BY published_at, array_position(['ingest', 'score', 'publish'], stage)",
            )
        (counts,) = rows(
            database,
            "SELECT " + ", ".join(f"coalesce(sum({c}), 0)::BIGINT AS {c}" for c in _COUNTS) + " "
            "FROM coverage",
        )
        quarantine = {}
        if has(database, "quarantine"):
            query = "SELECT stage, count(*) FROM quarantine GROUP BY stage ORDER BY stage"
            quarantine = dict(database.execute(query).fetchall())
        levels = rows(
            database,
            "SELECT model, level_reached, level_2, level_3, level_4, level_5 FROM leaderboard",
        )
        fell = regressions(database)
    stale = counts.pop("tasks_stale")
    at = last["published_at"].astimezone(UTC)
    return Status(
        store=store.url,
        run_id=last["run_id"],
        published_at=at,
        age_seconds=((now or datetime.now(UTC)) - at).total_seconds(),
        stages=stages,
        failures=sum(s["failures"] for s in stages if s["run_id"] == last["run_id"]),
        tasks=_part(counts, "tasks_"),
        stale=stale,
        instances=_part(counts, "instances_"),
        quarantine=quarantine,
        levels=levels,
        regressions=fell,
    )


_COUNTS = (
    *("tasks_scored", "tasks_unsupported", "tasks_refused", "tasks_stale"),
    *("instances_scored", "instances_missing", "instances_unreadable", "instances_duplicate"),
)


def _part(counts: dict[str, int], prefix: str) -> dict[str, int]:
    return {key.removeprefix(prefix): n for key, n in counts.items() if key.startswith(prefix)}


def prometheus(status: Status | None) -> str:
    """The state as metrics in the Prometheus text format, for the node exporter's textfile collector."""
    text = _metric("published", "Whether anything has been published.", [({}, float(bool(status)))])
    if status is None:
        return text
    last = status.published_at.timestamp()
    stages = [({"stage": stage["stage"]}, stage) for stage in status.stages]
    text += _metric("last_run_timestamp_seconds", "When the last run was published.", [({}, last)])
    for name, key, about in (
        ("stage_duration_seconds", "seconds", "Wall time of the stage's last run."),
        ("stage_tasks", "tasks", "Files read, (model, task) pairs scored, results published."),
        ("stage_unchanged", "unchanged", "Files or pairs that needed no work."),
        ("stage_instances", "instances", "Rows read, or instances scored, by the last run."),
        ("stage_failures", "failures", "What failed for good in the stage's last run."),
    ):
        text += _metric(name, about, [(labels, stage[key]) for labels, stage in stages])
    for name, about, counts in (
        ("tasks", "(model, task) pairs of the published results.", status.tasks),
        ("instances", "Instances of the published results.", status.instances),
    ):
        text += _metric(name, about, [({"state": state}, n) for state, n in counts.items()])
    about = "Task scores that are of an earlier run, as the task failed since."
    text += _metric("stale_tasks", about, [({}, status.stale)])
    about = "Level scores that fell since the run before (board A, corrected, modality_mean)."
    text += _metric("levels_fallen", about, [({}, len(status.regressions))])
    refused = [({"stage": stage}, n) for stage, n in status.quarantine.items()]
    text += _metric("quarantine_rows", "Refused rows and files.", refused)
    levels = [
        ({"model": row["model"], "level": str(level)}, row[f"level_{level}"])
        for row in status.levels
        for level in (2, 3, 4, 5)
    ]
    about = "Level score, 0..100 (board A, corrected profile, modality_mean)."
    return text + _metric("level_score", about, levels)


def _metric(name: str, about: str, values: Iterable[tuple[dict[str, str], float]]) -> str:
    name = f"general_level_{name}"
    lines = [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
    for labels, value in values:
        inside = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
