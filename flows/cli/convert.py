"""`general-level convert`: logs of another harness become a submission."""

from __future__ import annotations

from dataclasses import asdict

from flows.cli import console
from tasks.catalog import Catalogue
from tasks.report.convert import convert_logs

#: Problems that are shown.
_MOST = 50


def show_conversion(
    log: str,
    harness: str,
    out: str,
    catalogue: Catalogue,
    task_map: str | None,
    dataset: str | None,
    model: str | None,
    *,
    as_json: bool,
) -> bool:
    """Converts and tells what became of every log and sample; whether something was left out.

    Raises:
        UserError: as `convert_logs`.
    """
    done = convert_logs(
        log, harness, out, catalogue, task_map=task_map, dataset=dataset, model=model
    )
    if as_json:
        console.print_json(asdict(done))
        return bool(done.problems or done.unmatched)
    columns = ["task", "samples", "written", "duplicate", "missing", "refused"]
    rows = [
        [t.task_id, t.samples, t.written, t.duplicate, t.missing, t.refused] for t in done.tasks
    ]
    if rows:
        console.print_table(f"submission {out}", columns, rows)
    if done.unmatched:
        unmatched = [[entry["log"] or "-", entry["reason"]] for entry in done.unmatched]
        console.print_table(f"{len(unmatched)} logs left out", ["log", "why"], unmatched)
    if done.problems:
        problems = [list(problem.values()) for problem in done.problems]
        more = f"{len(problems) - _MOST} more; --json shows all" if len(problems) > _MOST else ""
        columns = ["source", "row", "id", "problem"]
        console.print_table(f"{len(problems)} problems", columns, problems[:_MOST], more)
    for path in done.others:
        console.note(f"no per-sample log by its name: {path}")
    for task in done.tasks:
        if task.numbered:
            console.note(
                f"{task.task_id}: the ids are the samples' numbers; give --dataset, or id_field in "
                "a --task-map, if the instances are called otherwise"
            )
    console.note(f"check it: general-level validate {out}")
    return bool(done.problems or done.unmatched)
