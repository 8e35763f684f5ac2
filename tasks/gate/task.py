"""The check of one task of a submission."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from tasks.catalog import Catalogue
from tasks.errors import UserError
from tasks.files import is_storage_failure
from tasks.gate.answers import Answers
from tasks.gate.findings import task_findings, whole_task
from tasks.gate.ground import Ground, Instances
from tasks.gate.listing import Listing, SeenFiles
from tasks.gate.measure import Measured, Progress, look_alone, measure
from tasks.gate.report import Finding, TaskCheck
from tasks.gate.scratch import read_task
from tasks.ingest import TaskFile
from tasks.metrics import Metric, get_metric, has_metric
from tasks.storage import Store
from tasks.uncertainty.bootstrap import REPLICATES

#: Bytes in the store of an instance's scores, of each statistic beside, and of a replicate: what the
#: examples and a full model take, within a half.
_SCORE_BYTES, _STATISTIC_BYTES, _REPLICATE_BYTES = 8, 4, 8

#: What a prediction has to be, by payload.
_EXPECTED = {
    "text": "a text",
    "number": "a number, or a list of numbers",
    "json": "a structure, or the path of a file",
    "media": "the path of a file or a folder of frames",
    "features": "numbers, or the path of an array (.npy, .npz, .parquet)",
}


@dataclass(slots=True)
class TaskChecker:
    """Checks the tasks of one submission, one after the other.

    Attributes:
        scratch: a store that is thrown away.
        quick_media: answers with files that are looked at of a task; None for all.
    """

    model: str
    catalogue: Catalogue
    scratch: Store
    listing: Listing
    ground: Ground
    quick_media: int | None = None
    progress: Progress | None = None

    def check(self, file: TaskFile) -> tuple[TaskCheck, list[Finding]]:
        """Reads, aligns and measures one task's predictions; only that task is in memory."""
        task = self.catalogue.task(file.task_id)
        check = TaskCheck(
            task_id=task.task_id,
            title=task.title,
            modality=task.modality,
            paradigm=task.paradigm,
            metric_id=task.metric_id,
            expected=_EXPECTED[task.payload],
            source=file.source,
            ground="nothing",
            n_instances=self.ground.count(file.task_id) or 0,
            files_bytes=file.size,
        )
        if not has_metric(task.metric_id):
            told = f"metric {task.metric_id} is not computed from predictions: import its figure"
            return check, [whole_task(check, "unscorable", told)]
        instances = self.ground.of(file.task_id)
        if self.ground.known and instances.references is None and instances.ids is None:
            told = f"{self.ground.told} holds no instance of this task"
            return check, [whole_task(check, "unscorable", told)]
        try:
            return self._checked(check, file, instances)
        except Exception as error:
            # Scoring would refuse the task and go on, and try again what the storage failed at.
            if isinstance(error, UserError) or (
                is_storage_failure(error) and not isinstance(error, PermissionError)
            ):
                raise
            told = f"{type(error).__name__}: {error}".strip()
            return check, [whole_task(check, "unscorable", told)]

    def _checked(
        self, check: TaskCheck, file: TaskFile, instances: Instances
    ) -> tuple[TaskCheck, list[Finding]]:
        seen: list[SeenFiles] = []

        def files_of(file: TaskFile) -> SeenFiles:
            seen.append(SeenFiles(file, self.listing))
            return seen[-1]

        result, predictions, stored = read_task(
            self.scratch, "predictions", self.model, file, self.catalogue, files_of
        )
        check = replace(check, files_bytes=file.size + sum(found.size for found in seen))
        refused = pl.DataFrame(result.quarantine)
        if not result.entries:
            return check, [whole_task(check, "file", refused["reason"][0])]
        (entry,) = result.entries
        metric = get_metric(check.metric_id)
        ids = refused.select("task_id", "instance_id").drop_nulls()
        answers = Answers.of(predictions, ids, instances, metric, entry)
        answered = answers.answered
        measured = self._measured(answers, instances, metric)
        bad = measured.bad_references.height
        n = answers.frame.height - bad
        check = replace(
            check,
            ground=_ground(instances),
            n_instances=n,
            n_answered=answered.height - measured.refused.height - bad,
            n_missing=answers.count("missing"),
            n_unreadable=answers.count("unreadable") + measured.refused.height,
            n_duplicate=answers.count("duplicate"),
            n_extra=answers.extra.height,
            n_media=answered.filter("has_file").height,
            n_media_read=measured.media_read,
            store_bytes=stored + _score_bytes(metric, n),
            seconds=measured.seconds,
        )
        findings = task_findings(
            check, refused, answers, predictions, measured, metric.payload, instances
        )
        return check, list(findings)

    def _measured(self, answers: Answers, instances: Instances, metric: Metric) -> Measured:
        if instances.entry is None:
            return look_alone(answers.answered, metric, self.quick_media, self.progress)
        corpus = answers.frame["reference"] if metric.needs_corpus else None
        task_type = instances.entry.task_type.lower()
        return measure(
            answers.answered,
            metric,
            answers.task_id,
            task_type,
            corpus,
            self.quick_media,
            self.progress,
        )


def _ground(instances: Instances) -> Literal["references", "ids", "nothing"]:
    if instances.references is not None:
        return "references"
    return "nothing" if instances.ids is None else "ids"


def _score_bytes(metric: Metric, instances: int) -> int:
    """About what the scores of so many instances take in the store."""
    statistics = 1 if metric.variable else len(metric.statistics)
    return (
        instances * (_SCORE_BYTES + _STATISTIC_BYTES * statistics) + REPLICATES * _REPLICATE_BYTES
    )
