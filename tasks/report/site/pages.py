"""The site's pages, from templates that escape whatever they are given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from tasks.report.site.data import AGGREGATION, LEVELS, PROFILE, SiteData

_TEMPLATES = Path(__file__).parent / "templates"
#: Scope D has a board a skill: the synergy map shows them better than a list does.
_LISTED_SCOPES = ("A", "B", "C")
#: Steps of the synergy map's colour, by share of tasks won.
_SHADES = 5


def write_pages(data: SiteData, folder: Path) -> None:
    """Writes the pages of boards, tasks and comparison, and one a model and a task."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figure, "percent": percent}
    environment.globals |= {
        "run": data.run,
        "levels": LEVELS,
        "infinity": math.inf,
        "profile": PROFILE,
        "aggregation": AGGREGATION,
    }

    def write(name: str, template: str, **context: Any) -> None:
        root = "../" * name.count("/")
        text = environment.get_template(f"{template}.html.j2").render(root=root, **context)
        (folder / name).write_text(text, encoding="utf-8")

    first = data.boards.row(0, named=True) if data.boards.height else None
    write("index.html", "boards", board=first, models=data.models.height)
    write("tasks.html", "tasks", tasks=data.tasks.height)
    of_model = _ModelParts(data)
    slugs = dict(data.models.select("model", "slug").iter_rows())
    leaders = [slugs[model] for model in of_model.leaders]
    write("compare.html", "compare", models=data.models.height, leaders=leaders)
    write("about.html", "about")
    tasks = data.tasks.to_dicts()
    for model in data.models.to_dicts():
        write(
            f"model/{model['slug']}.html",
            "model",
            model=model,
            tasks=tasks,
            **of_model.parts(model["model"]),
        )
    for task in tasks:
        write(f"task/{task['slug']}.html", "task", task=task)


def figure(value: float | None) -> str:
    """A score as people read it: two decimals, three digits of what is smaller, a dash for none.

    The same as `figure` in assets/core.js.
    """
    if value is None:
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if 0 < abs(value) < 0.0001:
        return "< 0.0001" if value > 0 else "> −0.0001"
    shown = f"{abs(value):.2f}" if value == 0 or abs(value) >= 0.01 else f"{abs(value):.3g}"
    return f"−{shown}" if value < 0 else shown


def percent(share: float | None) -> str:
    """A share of 0..1 in whole percent; 100 % and 0 % are said of nothing less and nothing more."""
    if share is None:
        return "–"
    rounded = round(100 * share)
    if rounded == 100 and share < 1:
        return "> 99 %"
    return "< 1 %" if rounded == 0 and share > 0 else f"{rounded} %"


class _ModelParts:
    """What a model's page shows beside the table that its script holds."""

    def __init__(self, data: SiteData) -> None:
        default = (pl.col("profile") == PROFILE) & (pl.col("aggregation") == AGGREGATION)
        listed = data.boards.filter(pl.col("scope").is_in(_LISTED_SCOPES))
        places = data.places.filter(default).join(
            listed, on="board_id", how="inner", maintain_order="right", suffix="_of_board"
        )
        tied = pl.len().over("board_id", "rank") > 1
        of_board = pl.len().over("board_id")
        places = places.with_columns(tied=tied, ranked=of_board)
        #: The first two models of the first board.
        self.leaders: list[str] = places["model"].head(2).to_list()
        self._places = _by_model(places)
        self._synergy = _by_model(data.synergy)
        self._gains = _by_model(data.gains)
        self._path = _by_model(data.path)
        self._changes = _by_model(data.changes)

    def parts(self, model: str) -> dict[str, Any]:
        """The template's variables: boards, main (the first of them), synergy, gains, path, changes."""
        boards = self._places.get(model, [])
        return {
            "main": boards[0] if boards else None,
            "boards": boards,
            "synergy": _groups(self._synergy.get(model, [])),
            "gains": self._gains.get(model, []),
            "path": self._path.get(model, []),
            "changes": self._changes.get(model, []),
        }


def _by_model(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    parts = frame.partition_by("model", as_dict=True, maintain_order=True)
    return {str(model): part.to_dicts() for (model,), part in parts.items()}


def _groups(skills: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Skills by modality and paradigm, each with its shade: 0 for nothing won."""
    groups = []
    for (modality, paradigm), members in groupby(skills, lambda s: (s["modality"], s["paradigm"])):
        cells = [
            {**skill, "shade": math.ceil(_SHADES * skill["tasks_won"] / skill["tasks_total"])}
            for skill in members
        ]
        groups.append(
            {
                "modality": modality,
                "paradigm": paradigm,
                "skills": cells,
                "won": sum(cell["tasks_won"] for cell in cells),
                "supported": sum(cell["tasks_supported"] for cell in cells),
                "total": sum(cell["tasks_total"] for cell in cells),
            }
        )
    return groups
