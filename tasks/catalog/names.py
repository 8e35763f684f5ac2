"""Names that mean more than one task."""

from __future__ import annotations

from collections import defaultdict

import polars as pl

from tasks.catalog.model import fold, split_names


def ambiguous_names(tasks: pl.DataFrame) -> list[str]:
    """One sentence a title or alias that two tasks of one (modality, paradigm) share.

    Short titles are no part of this: the published ones collide, and then mean neither task.
    """
    owners: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    columns = tasks.select("modality", "paradigm", "task_id", "title", "aliases")
    for modality, paradigm, task_id, title, aliases in columns.iter_rows():
        for name in (title, *split_names(aliases)):
            owners[modality, paradigm, fold(name)][task_id] = name
    return [
        f"the name {next(iter(ids.values()))!r} means {' and '.join(sorted(ids))}"
        for ids in owners.values()
        if len(ids) > 1
    ]
