"""The shapes of what the pipeline stores: Arrow schemas of the tables, and the manifests.

Every Parquet file in a store has one of these schemas; every folder of parts has one manifest.
"""

from __future__ import annotations

import msgspec
import pyarrow as pa

#: References and predictions: one row an instance. Exactly one payload is set, by `kind`
#: (a JSON number sets `number` and, as Python prints it, `text`).
INSTANCE_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("instance_id", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("text", pa.large_string()),
        pa.field("texts", pa.large_list(pa.large_string())),
        pa.field("number", pa.float64()),
        pa.field("json", pa.large_string()),
        pa.field("media_path", pa.string()),
        pa.field("media_sha256", pa.string()),
    ]
)

#: Refused rows and files. `position` is the row in the source, null when the file itself is refused.
QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("model", pa.string()),
        pa.field("task_id", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("position", pa.int64()),
        pa.field("instance_id", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("excerpt", pa.string()),
    ]
)

#: Per-instance statistics: what a task score is made of, so that re-aggregation needs no re-scoring.
#: `stats` holds the metric's statistics in the order of `Metric.statistics`.
INSTANCE_SCORE_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("metric_id", pa.string(), nullable=False),
        pa.field("instance_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("stats", pa.list_(pa.float64()), nullable=False),
        pa.field("group", pa.string()),
    ]
)

#: What a task score would have been on other draws of the instances, in the task's unit: one row a
#: task score (corrected profile) whose metric allows it; see `tasks.uncertainty.bootstrap`.
REPLICATE_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("metric_id", pa.string(), nullable=False),
        pa.field("replicates", pa.list_(pa.float64()), nullable=False),
    ]
)

#: One row a (model, task, profile). `raw_score` is in the task's unit, null when unsupported or refused.
#: With `stale_since` it is the last good score of a task that could not be scored since, for `reason`.
TASK_SCORE_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("profile", pa.string(), nullable=False),  # corrected | published | quick
        pa.field("metric_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # scored | unsupported | refused
        pa.field("raw_score", pa.float64()),
        pa.field("raw_score_answered", pa.float64()),  # over the answered instances only
        pa.field("n_instances", pa.int64()),
        pa.field("n_scored", pa.int64()),
        pa.field("n_missing", pa.int64()),
        pa.field("n_unreadable", pa.int64()),
        pa.field("n_duplicate", pa.int64()),
        pa.field("n_extra", pa.int64()),
        pa.field("coverage", pa.float64()),  # n_scored / n_instances, 0..1
        pa.field("reason", pa.string()),
        pa.field("origin", pa.string(), nullable=False),  # scored | imported
        pa.field("scorer_version", pa.string(), nullable=False),
        pa.field("score_key", pa.string()),
        pa.field("duration_s", pa.float64()),
        pa.field("source", pa.string()),
        pa.field("stale_since", pa.timestamp("us", tz="UTC")),
    ]
)

#: What `scores/<model>/task_scores.parquet` holds: the scores, what they were made of, and where
#: their per-instance statistics lie (`instances/<part>`, half-open range of row groups, which hold
#: the rows of other tasks too).
SCORE_STATE_SCHEMA = pa.schema(
    [
        *TASK_SCORE_SCHEMA,
        pa.field("prediction_sha256", pa.string()),
        pa.field("reference_sha256", pa.string()),
        pa.field("part", pa.string()),
        pa.field("row_group_start", pa.int64()),
        pa.field("row_group_end", pa.int64()),
    ]
)


class TaskEntry(msgspec.Struct, kw_only=True, gc=False):  # holds no cycle
    """Where one task's rows lie, and what they were made of.

    `row_groups` is the half-open range of row groups inside the part; small tasks share one.
    `fingerprint` is the cheap identity of the source (size and change time, or ETag, or archive
    CRC) and `content_sha256` the hash of its bytes: the first decides whether to look, the second
    whether to work.
    """

    task_id: str
    source: str
    fingerprint: str
    content_sha256: str
    part: str
    row_groups: tuple[int, int]
    rows: int
    quarantined: int = 0
    task_type: str = ""
    title: str = ""


class Manifest(msgspec.Struct, kw_only=True):
    """The whole state of one folder of parts; swapped in atomically after the parts are written."""

    kind: str  # references | predictions
    model: str | None = None
    source: str = ""
    #: What the source's whole listing came down to when all of it was read; empty when some was not.
    listing: str = ""
    tasks: dict[str, TaskEntry] = msgspec.field(default_factory=dict)
    #: Sources that were read and refused whole, by their fingerprint, so that they are not read again.
    refused: dict[str, str] = msgspec.field(default_factory=dict)
