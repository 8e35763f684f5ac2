"""Names of tasks that a folder's unknown name may have meant."""

from __future__ import annotations

import posixpath

from rapidfuzz import fuzz, process

from tasks.catalog import MODALITIES, Catalogue
from tasks.catalog.model import fold, modality_of, paradigm_of, split_names
from tasks.files import ARCHIVES

#: Likeness of 0..100 below which two names have nothing to do with each other.
_ALIKE = 60
_MOST = 3


def nearest(catalogue: Catalogue, place: str) -> tuple[str, ...]:
    """Task ids whose titles or aliases are most like the folder's name, best first; at most three.

    Args:
        place: path of a task file below the source's root, archives included (`a.zip!b/c.json`).
    """
    parts = [part for part in posixpath.dirname(place.replace("!", "/")).split("/") if part]
    parts = [_without_suffix(part) for part in parts]
    modality = next((m for part in reversed(parts) if (m := modality_of(part))), None)
    named = [part for part in parts if not modality_of(part) and not paradigm_of(part)]
    if not named:
        return ()
    found: dict[str, float] = {}
    tasks = catalogue.tasks.filter(modality=modality) if modality in MODALITIES else catalogue.tasks
    columns = tasks.select("task_id", "title", "short_title", "aliases")
    for task_id, title, short_title, aliases in columns.iter_rows():
        names = [fold(name) for name in (title, short_title or "", *split_names(aliases)) if name]
        best = process.extractOne(fold(named[-1]), names, scorer=fuzz.ratio, score_cutoff=_ALIKE)
        if best is not None:
            found[task_id] = best[1]
    return tuple(sorted(found, key=lambda task_id: (-found[task_id], task_id))[:_MOST])


def _without_suffix(name: str) -> str:
    suffix = next((s for s in ARCHIVES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]
