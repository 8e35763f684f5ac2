"""Findings of one task, from refused rows, statuses, and what the metric did not take."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tasks.gate.answers import Answers
from tasks.gate.ground import Instances
from tasks.gate.measure import Measured
from tasks.gate.report import Example, Finding, Kind, TaskCheck
from tasks.ingest.attach import ABSENT, OUTSIDE
from tasks.ingest.discover import LEADS_OUT

#: Cases that are told of each finding.
_EXAMPLES = 5
#: Characters that are shown of a value.
_SHOWN = 60

_REASON, _ID = pl.col("reason"), pl.col("instance_id")
#: The kind of a refusal when the rows were read. A damaged file has neither an id nor an excerpt.
_KIND = (
    pl.when(_ID.is_null() & pl.col("excerpt").is_null() & ~_REASON.str.starts_with("a row must be"))
    .then(pl.lit("file"))
    .when(_REASON.str.starts_with("the id occurs more than once"))
    .then(pl.lit("duplicate"))
    .when(_REASON.is_in([OUTSIDE, LEADS_OUT]))
    .then(pl.lit("outside"))
    .when(_REASON.str.starts_with(ABSENT) | _REASON.str.contains(" cannot be read: "))
    .then(pl.lit("media"))
    .when(_ID.is_null() | _REASON.str.starts_with("the row has no"))
    .then(pl.lit("row"))
    .otherwise(pl.lit("type"))
)
_SUMMARY: dict[Kind, str] = {
    "file": "the file is damaged: what follows is lost",
    "row": "rows without a usable id or prediction",
    "media": "files that are absent, or cannot be opened and decoded",
    "outside": "files outside the submission, which are not read",
    "features": "features or scores that the metric does not take",
}


def whole_task(check: TaskCheck, kind: Kind, reason: str) -> Finding:
    """A finding that costs the whole task."""
    return Finding(kind, check.task_id, check.source, 1, 1.0, reason)


def task_findings(
    check: TaskCheck,
    refused: pl.DataFrame,
    answers: Answers,
    predictions: pl.DataFrame,
    measured: Measured,
    payload: str,
    instances: Instances,
) -> Iterator[Finding]:
    """All findings of a task.

    Args:
        check: with its counts.
        refused: rows that were refused when they were read (`QUARANTINE_SCHEMA`).
        predictions: stored rows (`INSTANCE_SCHEMA`).
        payload: of the task's metric.
    """
    refused = refused.with_columns(kind=_KIND)
    damaged = bool((refused["kind"] == "file").any())
    cases = [
        refused.filter(pl.col("kind") != "duplicate").select(
            "position", _ID, _REASON, "kind", stands_for=pl.lit(1.0)
        ),
        _wrong_types(answers.frame, predictions),
        _refused_by_metric(check, measured, answers, payload),
    ]
    for (kind,), rows in (
        pl.concat(cases).partition_by("kind", as_dict=True, maintain_order=True).items()
    ):
        yield _of_cases(check, kind, rows, measured)
    if check.n_missing:
        told = f"{check.n_missing:,} of {check.n_instances:,} instances have no prediction"
        lost = 0.0 if damaged else _share(check, check.n_missing)
        ids = answers.frame.filter(status="missing")
        yield _of_ids(check, "missing", check.n_missing, lost, told, ids)
    if check.n_duplicate:
        told = "instances with more than one prediction: none is believed"
        lost = _share(check, check.n_duplicate)
        rows = refused.filter(kind="duplicate")
        examples = _examples(rows.select("position", _ID, reason=pl.lit("")))
        yield Finding(
            *("duplicate", check.task_id, check.source),
            *(check.n_duplicate, lost, told, examples),
        )
    if check.n_extra:
        told = "predictions whose id no instance has: they are ignored"
        rows = answers.extra.with_columns(position="predicted_at")
        yield _of_ids(check, "extra", check.n_extra, 0.0, told, rows)
    yield from _of_references(check, instances, measured)


def _of_cases(check: TaskCheck, kind: Kind, rows: pl.DataFrame, measured: Measured) -> Finding:
    told = _SUMMARY.get(kind, f"expected {check.expected}")
    if kind == "file":
        # Nobody knows how many instances there would be when nothing tells.
        lost = 1.0 if check.ground == "nothing" else _share(check, check.n_missing)
    else:
        # Rows without an id show as missing instances.
        lost = _share(check, float(rows.filter(_ID.is_not_null())["stands_for"].sum()))
    if kind == "media" and measured.media_read < check.n_media:
        told += f" ({measured.media_read:,} of {check.n_media:,} were looked at)"
    examples = _examples(rows.select("position", _ID, _REASON))
    return Finding(kind, check.task_id, check.source, rows.height, lost, told, examples)


def _of_ids(
    check: TaskCheck,
    kind: Kind,
    count: int,
    lost: float,
    told: str,
    rows: pl.DataFrame,
) -> Finding:
    position = "position" if kind == "extra" else pl.lit(None, pl.Int64).alias("position")
    examples = _examples(rows.select(position, _ID, reason=pl.lit("")))
    return Finding(kind, check.task_id, check.source, count, lost, told, examples)


def _of_references(check: TaskCheck, instances: Instances, measured: Measured) -> Iterator[Finding]:
    read = pl.DataFrame(
        instances.refused, {"position": pl.Int64, "instance_id": pl.String, "reason": pl.String}
    )
    rows = pl.concat([read, measured.bad_references.select(read.columns)])
    if rows.height:
        source = instances.entry.source if instances.entry else instances.refused[0]["source"]
        told = "references that the metric does not take: these instances are left out"
        yield Finding("reference", check.task_id, source, rows.height, 0.0, told, _examples(rows))


def _wrong_types(frame: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Stored predictions of another type than asked: position, instance_id, reason, kind and for how
    many instances it stands."""
    wrong = frame.filter(
        pl.col("status").eq("unreadable")
        & pl.col("predicted_at").is_not_null()
        & pl.col("prediction").is_null()
    )
    found = predictions.join(
        wrong.select(position="predicted_at"), on="position", how="semi"
    ).select("position", "instance_id", found=_FOUND)
    return found.select(
        "position",
        "instance_id",
        reason=pl.lit("found ") + pl.col("found"),
        kind=pl.lit("type"),
        stands_for=pl.lit(1.0),
    )


#: What a stored prediction is, in words.
_FOUND = (
    pl.when(pl.col("kind") == "number")
    .then(pl.format("the number {}", "text"))
    .when(pl.col("kind") == "text")
    .then(pl.format('the text "{}"', pl.col("text").str.head(_SHOWN)))
    .when(pl.col("kind") == "texts")
    .then(pl.format("a list of {} texts", pl.col("texts").list.len()))
    .otherwise(pl.format("the structure {}", pl.col("json").str.head(_SHOWN)))
)


def _refused_by_metric(
    check: TaskCheck, measured: Measured, answers: Answers, payload: str
) -> pl.DataFrame:
    """Answers that the metric refused, as `_wrong_types`; of a sample, each stands for several."""
    share = check.n_media / measured.media_read if measured.media_read else 1.0
    named = answers.frame.select("instance_id", "has_file")
    kind = (
        pl.lit("features")
        if payload == "features"
        else pl.when("has_file").then(pl.lit("media")).otherwise(pl.lit("type"))
    )
    found = measured.refused.join(named, on="instance_id", how="left", maintain_order="left")
    stands_for = pl.when("has_file").then(share).otherwise(1.0)
    return found.select("position", "instance_id", "reason", kind=kind, stands_for=stands_for)


def _examples(rows: pl.DataFrame) -> tuple[Example, ...]:
    return tuple(Example(*row) for row in rows.head(_EXAMPLES).iter_rows())


def _share(check: TaskCheck, count: float) -> float:
    return min(1.0, count / check.n_instances) if check.n_instances else 1.0
