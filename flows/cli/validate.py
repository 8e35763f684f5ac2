"""`general-level validate`: what would become of a submission, as text, JSON and a page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flows.cli import console
from tasks.catalog import load_catalogue
from tasks.gate import READY, WORTHLESS, Report, check_submission, write_page
from tasks.gate.report import Finding

#: Rows of a table that are printed; --json and --page show all.
_MOST = 50
_PARTIAL, _WORTHLESS = 3, 1


def show_validation(
    submission: str,
    *,
    store: str,
    dataset: str | None,
    catalogue: list[str],
    base_catalogue: bool,
    quick_media: int | None,
    page: str | None,
    as_json: bool,
) -> int:
    """Checks a submission and prints the report; the exit code: 0 ready, 3 ready with losses,
    1 nothing can be scored.

    Raises:
        UserError: when the submission, the dataset or the page's folder does not exist.
    """
    loaded = load_catalogue(catalogue, base=base_catalogue)
    with console.progress_bars(
        enabled=not as_json and console.err.is_terminal, unit=""
    ) as progress:
        report = check_submission(
            submission,
            loaded,
            store_url=store,
            dataset=dataset,
            quick_media=quick_media,
            progress=progress,
        )
    code = {READY: 0, WORTHLESS: _WORTHLESS}.get(report.verdict, _PARTIAL)
    if page is not None:
        write_page(report, page)
    if as_json:
        console.print_json(_document(report, code))
    else:
        _print(report)
    if page is not None:
        console.note(f"open {page}")
    return code


def _document(report: Report, code: int) -> dict[str, Any]:
    def told(finding: Finding) -> dict[str, Any]:
        return asdict(finding) | {"label": finding.label, "remedy": finding.remedy}

    return asdict(report) | {
        "verdict": report.verdict,
        "exit_code": code,
        "findings": [told(finding) for finding in report.findings],
        "to_mend": [told(finding) for finding in report.to_mend],
    }


def _print(report: Report) -> None:
    _print_tasks(report)
    _print_findings(f"{len(report.losses)} findings that cost something", report, report.losses)
    _print_findings(f"{len(report.notes)} notes", report, report.notes)
    _print_boards(report)
    _print_cost(report)
    for told in report.unchecked:
        console.note(told)
    rows = [
        [f"{f.lost:.2f}", f.label, report.place(f.source), f.first.position, f.why, f.remedy]
        for f in report.to_mend
    ]
    if rows:
        columns = ["costs tasks", "what", "file", "row", "why", "what to do"]
        console.print_table("mend first", columns, rows)
    answered = sum(task.n_answered > 0 for task in report.tasks)
    facts = [
        ("verdict", report.verdict),
        ("held against", report.held_against),
        ("tasks with an answer", f"{answered} of {len(report.tasks)} that are there"),
    ]
    console.print_table(f"submission {report.model}", ["", ""], facts)


def _print_tasks(report: Report) -> None:
    columns = ["task", "instances", "answered", "missing", "unreadable", "duplicate", "extra"]
    columns.append("files opened")
    wanting = sorted(report.tasks, key=lambda t: (t.n_answered == t.n_instances, t.task_id))
    rows = [
        [
            *(t.task_id, t.n_instances, t.n_answered, t.n_missing, t.n_unreadable, t.n_duplicate),
            *(t.n_extra, f"{t.n_media_read} of {t.n_media}" if t.n_media else "-"),
        ]
        for t in wanting
    ]
    if rows:
        console.print_table("tasks, those with losses first", columns, rows[:_MOST], _more(rows))


def _print_findings(title: str, report: Report, findings: list[Finding]) -> None:
    columns = ["what", "file", "row", "id", "cases", "why"]
    rows = [
        [f.label, report.place(f.source), f.first.position, f.first.instance_id, f.count, f.why]
        for f in findings
    ]
    if rows:
        told = "row and id are those of the first case; rows count from 0. " + _more(rows)
        console.print_table(title, columns, rows[:_MOST], told)


def _print_boards(report: Report) -> None:
    listed = [board for board in report.boards if board.scope != "D"]
    skills = [board for board in report.boards if board.scope == "D"]
    rows = [
        [
            board.board_id,
            f"{board.tasks_answered} of {board.tasks}",
            f"{board.instances_answered:,} of {board.instances:,}",
            f"{board.reachable_level} of {board.max_level}",
            board.limited_by,
        ]
        for board in listed
    ]
    columns = ["board", "tasks answered", "instances answered", "reachable level", "limited by"]
    some = sum(board.tasks_answered > 0 for board in skills)
    more = f"{some} of {len(skills)} boards of single skills (scope D) have an answered task"
    console.print_table("boards, and the highest level that can come out", columns, rows, more)


def _print_cost(report: Report) -> None:
    cost = report.cost
    if cost is None:
        return
    rows = [
        ("instances", f"{cost.instances:,}"),
        ("to read", f"{cost.read_bytes / 1e6:,.2f} MB, and the references"),
        ("scoring", cost.time),
        ("in the store", f"about {cost.store_bytes / 1e6:,.2f} MB; media stay where they are"),
        ("estimated from", cost.how),
    ]
    console.print_table("what scoring it takes", ["", ""], rows)


def _more(rows: list[Any]) -> str:
    hidden = len(rows) - _MOST
    return f"{hidden} more; --json and --page show all" if hidden > 0 else ""
