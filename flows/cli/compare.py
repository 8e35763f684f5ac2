"""`general-level compare`: which of two models is better, and how sure that is."""

from __future__ import annotations

from flows.cli import console
from tasks.storage import Store
from tasks.uncertainty.compare import compare

#: Tasks that are shown of each side.
_MOST = 15


def show_comparison(
    store: str, model: str, other: str, board: str, rate: float, *, as_json: bool
) -> None:
    """Prints the levels' and the tasks' differences.

    Raises:
        UserError: when nothing is published, or one of the models or the board is unknown.
    """
    found = compare(Store(store), model, other, board, rate)
    if as_json:
        console.print_json(
            {
                "model": model,
                "other": other,
                "board": board,
                "rate": rate,
                "levels": found.levels.to_dicts(),
                "tasks": found.tasks.to_dicts(),
            }
        )
        return
    columns = ["level", model, other, "difference", "low", "high", "p"]
    console.print_table(f"{model} against {other}, board {board}", columns, found.levels.rows())
    columns = ["task", model, other, "difference", "low", "high", "q"]
    shown = found.tasks.select("task_id", "score", "other_score", "difference", "low", "high", "q")
    for name in dict.fromkeys((model, other)):
        better = shown.filter(found.tasks["better"] == name)
        better = better.sort(better["difference"].abs(), descending=True)
        if better.height:
            more = f"{better.height - _MOST} more; --json shows all"
            title = f"{name} is better on {better.height} tasks (at most {rate:.0%} by chance)"
            rows = better.head(_MOST).rows()
            console.print_table(title, columns, rows, more if better.height > _MOST else "")
    undecided = found.tasks.filter(found.tasks["better"].is_null() & found.tasks["q"].is_not_null())
    untested = found.tasks.filter(found.tasks["q"].is_null()).height
    console.note(
        f"{undecided.height} tasks do not tell them apart; {untested} cannot be tested "
        "(only one model supports them, or a score was imported, or its metric keeps no instances)"
    )
