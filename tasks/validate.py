"""Checking one submission before it is scored, without writing anything into the store."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, fields
from typing import Any

from tasks.catalog import Catalogue
from tasks.errors import UserError
from tasks.ingest import finish, ingest_batch, plan
from tasks.schema import Manifest
from tasks.score.batch import score_batch
from tasks.score.plan import plan_scores
from tasks.storage import Store, quote_name


@dataclass(frozen=True, slots=True)
class TaskCheck:
    """How one task's predictions meet its instances, in numbers of instances."""

    task_id: str
    n_instances: int
    n_scored: int
    n_missing: int
    n_unreadable: int
    n_duplicate: int
    n_extra: int


@dataclass(slots=True)
class ValidationReport:
    """All that would be refused or missing if this submission were scored now."""

    model: str
    tasks: list[TaskCheck] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)


def validate_submission(
    submission: str, catalogue: Catalogue, *, store_url: str, dataset: str | None = None
) -> ValidationReport:
    """Reads and scores the submission in a temporary store and tells what is wrong with it.

    Args:
        submission: folder, archive or URL of one model's outputs.
        store_url: store whose references are used when no dataset is given.
        dataset: dataset with the references.

    Raises:
        UserError: when there are no references at all, or the submission does not exist.
    """
    model = submission.rstrip("/").rsplit("/", 1)[-1]
    report = ValidationReport(model)
    with tempfile.TemporaryDirectory(prefix="general-level-validate-") as folder:
        scratch = Store(folder)
        predictions = _ingest(scratch, "predictions", model, submission, catalogue)
        if dataset is not None:
            _ingest(scratch, "references", None, dataset, catalogue)
            references_in = scratch
        else:
            references_in = Store(store_url)
        references = references_in.read_struct(Manifest, "references", "manifest.json")
        if references is None:
            raise UserError(
                f"no references to check against: {store_url} holds none",
                "give the dataset with --dataset, or ingest it first",
            )
        if references_in is not scratch:
            _copy_references(references_in, scratch, references, set(predictions.tasks))
        scores = plan_scores(scratch, model, catalogue, references)
        for batch in scores.batches:
            result = score_batch(scratch, model, batch)
            report.problems += result.quarantine.to_pylist()
            for task_id, reason in result.failed.items():
                report.problems.append(_problem(task_id, predictions.tasks[task_id].source, reason))
            for row in result.rows:
                if row["profile"] != "corrected" or row["status"] == "refused":
                    continue
                report.tasks.append(
                    TaskCheck(row["task_id"], *(row[field.name] for field in fields(TaskCheck)[1:]))
                )
        for task_id, (_, reason) in scores.unscorable.items():
            report.problems.append(_problem(task_id, predictions.tasks[task_id].source, reason))
        report.problems += _quarantined(scratch, model)
    report.tasks.sort(key=lambda check: check.task_id)
    for check in report.tasks:
        if check.n_missing:
            source = predictions.tasks[check.task_id].source
            reason = f"{check.n_missing} of {check.n_instances} instances have no prediction"
            report.problems.append(_problem(check.task_id, source, reason))
    return report


def _ingest(
    store: Store, kind: str, model: str | None, source: str, catalogue: Catalogue
) -> Manifest:
    todo = plan(store, kind, model, source, catalogue)
    results = [ingest_batch(store, kind, model, batch, catalogue) for batch in todo.batches]
    return finish(store, todo, results)


def _copy_references(source: Store, target: Store, manifest: Manifest, tasks: set[str]) -> None:
    """Brings over the parts that the submission's tasks need."""
    for part in {entry.part for task_id, entry in manifest.tasks.items() if task_id in tasks}:
        target.write_bytes(
            source.read_bytes("references", "parts", part), "references", "parts", part
        )


def _quarantined(store: Store, model: str) -> list[dict[str, Any]]:
    try:
        return store.read_table("quarantine", "ingest", f"{quote_name(model)}.parquet").to_pylist()
    except FileNotFoundError:
        return []


def _problem(task_id: str, source: str, reason: str) -> dict[str, Any]:
    return {
        "stage": "validate",
        "task_id": task_id,
        "source": source,
        "position": None,
        "instance_id": None,
        "reason": reason,
    }
