"""The check of a whole submission, one task at a time, in a store in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tasks.catalog import Catalogue
from tasks.files import reading_together
from tasks.gate.boards import board_coverage
from tasks.gate.ground import DatasetGround, Ground, StoredGround
from tasks.gate.listing import Listing
from tasks.gate.measure import Progress
from tasks.gate.names import nearest
from tasks.gate.report import Cost, Example, Finding, Kind, Report, TaskCheck, most_costly
from tasks.gate.scratch import scratch_store
from tasks.gate.task import TaskChecker
from tasks.ingest import list_source, place_files
from tasks.ingest.discover import check_model_name, model_name
from tasks.schema import Manifest
from tasks.storage import Store

#: Names of files that are told of those that are not read.
_NAMED = 10
#: Seconds of a task's own in scoring, beside its metric and replicates: 3 ms in a model of 700 tasks
#: (measured on 2 cores), up to 10 ms where there are few.
_PER_TASK = 0.003


@reading_together()
def check_submission(
    source: str,
    catalogue: Catalogue,
    *,
    store_url: str,
    dataset: str | None = None,
    quick_media: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Reads a submission as scoring would, and tells all that would be refused, missing or lost.

    Nothing is written. Without a dataset, and without references in the
    store, what needs none is checked.

    Args:
        source: folder, archive or URL of one model's outputs.
        store_url: store whose references are used when no dataset is given.
        dataset: dataset with the references, or with inputs alone.
        quick_media: answers with files that are opened of a task; None opens all.
        progress: called with (stage, done, total); stages are `tasks`, and `files` inside a task.

    Raises:
        UserError: when the submission or the dataset does not exist, or no model can be called that.
        StorageFailure: when a storage fails.
    """
    tree = list_source(source, "predictions")
    root = tree.root
    model = model_name(tree.fs, root)
    check_model_name(model)
    with scratch_store() as scratch:
        ground = _ground(store_url, dataset, catalogue, scratch)
        found = place_files(tree, catalogue, model)
        listing = Listing(tree)
        listing.take_sources([file.source for file in found.files])
        listing.take_sources([row["source"] for row in found.refused])
        listing.take_sources([f"{root}/model.json"])
        checker = TaskChecker(model, catalogue, scratch, listing, ground, quick_media, progress)
        report = Report(model, source, root, ground.told)
        findings = _of_sources(found.refused, {f.task_id for f in found.files}, root, catalogue)
        for done, file in enumerate(found.files):
            if progress is not None:
                progress("tasks", done, len(found.files))
            check, of_task = checker.check(file)
            report.tasks.append(check)
            findings += of_task
        findings += _ignored(listing, root)
        report.findings = most_costly(findings)
        report.unchecked = _unchecked(report.tasks, ground, catalogue)
        report.boards = _boards(report.tasks, ground, catalogue)
        report.cost = _cost(report.tasks)
    return report


def _ground(url: str, dataset: str | None, catalogue: Catalogue, scratch: Store) -> Ground:
    if dataset is not None:
        return DatasetGround(dataset, catalogue, scratch)
    store = Store(url)
    manifest = store.read_struct(Manifest, "references", "manifest.json")
    return Ground() if manifest is None else StoredGround(store, manifest)


def _of_sources(
    refused: Sequence[dict[str, Any]], read: set[str], root: str, catalogue: Catalogue
) -> list[Finding]:
    """Findings of the files and folders that no task was read from."""
    findings = []
    for row in refused:
        task_id, source, reason = row["task_id"], row["source"], row["reason"]
        kind: Kind = "file"
        lost, names = float(task_id not in read), ()
        if reason.startswith("no task of the catalogue is called"):
            kind, lost = "unknown_task", 1.0
            names = nearest(catalogue, source.removeprefix(root).lstrip("/!"))
        elif "was already found at" in reason:
            kind, lost = "two_folders", 1.0
        elif task_id is None and reason.endswith("in this folder"):
            kind, lost = "ignored", 0.0
        findings.append(Finding(kind, task_id, source, 1, lost, reason, nearest=names))
    return findings


def _ignored(listing: Listing, root: str) -> list[Finding]:
    names = [where.removeprefix(root).lstrip("/!") for where in listing.not_taken()]
    if not names:
        return []
    size = sum(listing.sizes[where] for where in listing.not_taken())
    # What may have been meant as predictions first.
    names.sort(key=lambda name: not name.lower().endswith((".json", ".jsonl", ".csv")))
    told = (
        f"{len(names):,} files ({size / 1e6:,.1f} MB) are read by nothing: "
        "no prediction.json names them, and no task's folder holds them under that name"
    )
    examples = tuple(Example(None, name, "") for name in names[:_NAMED])
    return [Finding("ignored", None, root, len(names), 0.0, told, examples)]


def _unchecked(tasks: Sequence[TaskCheck], ground: Ground, catalogue: Catalogue) -> list[str]:
    told = []
    alone = [task for task in tasks if task.ground != "references"]
    if not ground.known:
        told.append(
            "There are no references here: missing and unknown ids, and whatever has to agree with "
            "a reference (sizes, numbers of frames, widths), could not be looked at. Give the "
            "dataset with --dataset; its inputs alone will do for the ids."
        )
        published = {task.task_id: catalogue.task(task.task_id).n_instances or 0 for task in tasks}
        fewer = [task.task_id for task in tasks if task.n_instances < published[task.task_id]]
        if fewer:
            named = ", ".join(fewer[:3]) + (" ..." if len(fewer) > 3 else "")
            told.append(
                f"In {len(fewer)} of {len(tasks)} tasks there are fewer predictions than the "
                f"catalogue counts instances ({named}): a smaller release of the benchmark, or "
                "missing answers."
            )
    elif any(task.ground == "ids" for task in alone):
        told.append(
            f"Of {sum(task.ground == 'ids' for task in alone)} of {len(tasks)} tasks there are inputs "
            "without references: ids were compared, what has to agree with a reference was not."
        )
    n_media, n_read = sum(t.n_media for t in tasks), sum(t.n_media_read for t in tasks)
    if n_read < n_media:
        told.append(
            f"{n_read:,} of {n_media:,} answers with files were opened, evenly spread over each "
            "task; the others are taken to be good."
        )
    return told


def _boards(tasks: Sequence[TaskCheck], ground: Ground, catalogue: Catalogue) -> list[Any]:
    checked = {task.task_id: task for task in tasks}
    published = dict(catalogue.tasks.select("task_id", "n_instances").iter_rows())
    instances = {}
    for task_id, known in published.items():
        count = ground.count(task_id) if task_id not in checked else None
        seen = checked[task_id].n_instances if task_id in checked else 0
        exact = task_id in checked and checked[task_id].ground != "nothing"
        instances[task_id] = seen if exact else (count or max(known or 0, seen))
    answered = {task.task_id: task.n_answered for task in tasks}
    return board_coverage(catalogue, instances, answered)


def _cost(tasks: Sequence[TaskCheck]) -> Cost:
    known = [task for task in tasks if task.seconds is not None]
    instances = sum(task.n_instances for task in tasks)
    of_known = sum(task.n_instances for task in known)
    cores = os.cpu_count() or 1
    seconds = None
    if of_known:
        seconds = sum(task.seconds or 0.0 for task in known) * instances / of_known
        seconds += _PER_TASK * len(tasks)
    whole = all(t.n_media_read == t.n_media and t.ground == "references" for t in known)
    how = (
        "each task's metric was run on all its answers"
        if whole
        else "each task's metric, or where there are no references a part of its work, was run on "
        "this submission, and the time counted up to all answers"
    )
    return Cost(
        instances=instances,
        read_bytes=sum(task.files_bytes for task in tasks),
        store_bytes=sum(task.store_bytes for task in tasks),
        core_seconds=seconds,
        seconds=None if seconds is None else seconds / cores,
        cores=cores,
        how=how,
    )
