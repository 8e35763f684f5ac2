"""One task's instances beside the predictions, as scoring will put them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tasks.gate.ground import Instances
from tasks.metrics import Metric
from tasks.schema import TaskEntry
from tasks.score.align import STATUS, StoredRows, align
from tasks.score.payload import prediction_payload
from tasks.score.plan import ScoreJob


@dataclass(slots=True)
class Answers:
    """Instances of a task, each with its status, and predictions that belong to none.

    Attributes:
        task_id: the task.
        frame: one row an instance: instance_id, status, position (of the reference), predicted_at,
            has_file, prediction, reference (null where there are no references).
        extra: instance_id and predicted_at of predictions whose id no instance has, each id once.
    """

    task_id: str
    frame: pl.DataFrame
    extra: pl.DataFrame

    @classmethod
    def of(
        cls,
        predictions: pl.DataFrame,
        refused: pl.DataFrame,
        instances: Instances,
        metric: Metric,
        entry: TaskEntry,
    ) -> Answers:
        """Puts them side by side.

        Args:
            predictions: stored rows of the task (`INSTANCE_SCHEMA`).
            refused: task_id and instance_id of rows that were refused when they were read.
            entry: of the predictions.

        Raises:
            ValueError: when the task has references and the metric can read none.
        """
        refused = refused.unique().with_columns(refused=pl.lit(True))
        once = predictions.unique("instance_id", keep="first", maintain_order=True)
        if instances.references is not None and instances.entry is not None:
            columns = [c for c in predictions.columns if not c.startswith("media_")]
            job = ScoreJob(
                entry.task_id, "", entry, instances.entry, {"corrected": metric.id}, "", ""
            )
            stored = StoredRows(
                instances.references.select(columns), predictions.select(columns), refused
            )
            frame = align(stored, "", [job]).frame
            known = instances.references
        else:
            known = instances.ids
            if known is None:
                known = pl.concat([once.select("instance_id"), refused.select("instance_id")])
                known = known.unique(maintain_order=True).with_columns(
                    position=pl.lit(None, pl.Int64)
                )
            frame = _without_references(known, predictions, refused, metric)
        has_file = once.select("instance_id", has_file=pl.col("media_path").is_not_null())
        frame = frame.join(has_file, on="instance_id", how="left", maintain_order="left")
        extra = once.join(known, on="instance_id", how="anti").select(
            "instance_id", predicted_at="position"
        )
        return cls(entry.task_id, frame, extra)

    def count(self, status: str) -> int:
        """Instances of a status."""
        return self.frame.filter(status=status).height

    @property
    def answered(self) -> pl.DataFrame:
        """Instances that the metric will look at."""
        return self.frame.filter(status="scored")


def _without_references(
    known: pl.DataFrame, predictions: pl.DataFrame, refused: pl.DataFrame, metric: Metric
) -> pl.DataFrame:
    read = predictions.select(
        "instance_id",
        predicted_at="position",
        prediction=prediction_payload(predictions, metric.payload, metric.id),
        copies=pl.len().over("instance_id"),
    ).unique("instance_id", keep="first", maintain_order=True)
    return (
        known.join(read, on="instance_id", how="left", maintain_order="left")
        .join(refused.drop("task_id"), on="instance_id", how="left", maintain_order="left")
        .with_columns(status=STATUS, reference=pl.lit(None, pl.String))
        .drop("copies", "refused")
    )
