"""The site as a whole: assets, the chart library, the tables as scripts, and the pages."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from tasks.errors import UserError
from tasks.report.site.data import LEVELS, SiteData, read
from tasks.report.site.files import MARKER, coded, data_script, numbers, swapped_in
from tasks.report.site.pages import write_pages
from tasks.storage import Store

_HERE = Path(__file__).parent
#: What the extra `site` brings: the chart library (whose package holds it as one script), templates.
_NEEDED = ("vl_convert", "jinja2")


@dataclass(frozen=True, slots=True)
class Site:
    """A site that was written: where, of which run, and how much of what.

    Attributes:
        folder: its folder; index.html is the first page.
        run_id: the published run that it shows.
        models, tasks, boards: pages of models and of tasks, and boards.
        files, size: files, and their bytes together.
    """

    folder: str
    run_id: str
    models: int
    tasks: int
    boards: int
    files: int
    size: int


def build_site(store: Store, out: str | os.PathLike[str]) -> Site:
    """Writes the last published results as a static site.

    The folder works from disk (file://) and behind any web server, and asks nothing of others.

    Args:
        store: any store, local or remote.
        out: a local folder, new, empty, or holding a site, which is replaced as a whole.

    Raises:
        UserError: nothing is published; `out` is remote or holds something else; the extra `site` is absent.
    """
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(
            f"the site needs {' and '.join(absent)}, which this installation lacks",
            "pip install 'general-level-pipeline[site]'; in a checkout: .venv/bin/pip install '.[site]'",
        )
    if "://" in os.fspath(out):
        raise UserError(
            f"{os.fspath(out)} is no local folder",
            "write it to one, and copy the folder from there",
        )
    with swapped_in(Path(out)) as folder:
        data = read(store)
        _write(data, folder)
        files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Site(
        folder=os.fspath(out),
        run_id=str(data.run["run_id"]),
        models=data.models.height,
        tasks=data.tasks.height,
        boards=data.boards.height,
        files=len(files),
        size=sum(files),
    )


def _write(data: SiteData, folder: Path) -> None:
    for name in ("assets", "model", "task", "data/board", "data/model", "data/task"):
        (folder / name).mkdir(parents=True)
    for path in (_HERE / "assets").iterdir():
        shutil.copy(path, folder / "assets")
    (folder / "assets" / "vega.js").write_text(_chart_library(), encoding="utf-8")
    _write_scripts(data, folder / "data")
    write_pages(data, folder)
    marker = {
        "run_id": data.run["run_id"],
        "models": data.models.height,
        "tasks": data.tasks.height,
        "boards": data.boards.height,
    }
    (folder / MARKER).write_bytes(msgspec.json.format(msgspec.json.encode(marker)))


def _chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that needs no other."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _write_scripts(data: SiteData, folder: Path) -> None:
    """The tables as scripts: what all pages share, and one a board, a model and a task."""

    def put(key: str, value: Any) -> None:
        (folder / f"{key}.js").write_text(data_script(key, value), encoding="ascii")

    put("models", _columns(data.models, "model", "slug", "instances", "instances_scored"))
    put("boards", _columns(data.boards, "board_id", "scope", "title", "max_level", "tasks", "slug"))
    put("catalogue", _catalogue(data))
    places = dict(data.places.partition_by("board_id", as_dict=True))
    rows = {name: row for row, name in enumerate(data.models["model"])}
    for board_id, name in data.boards.select("board_id", "slug").iter_rows():
        put(f"board/{name}", _board(places[(board_id,)], rows))
    history = dict(data.history.partition_by("model", as_dict=True))
    width, height = data.tasks.height, data.models.height
    for row, (model, name) in enumerate(data.models.select("model", "slug").iter_rows()):
        own = data.results.slice(row * width, width)
        past = history.get((model,), data.history.clear())
        put(f"model/{name}", {**_scores(own), "history": _history(past)})
    for row, name in enumerate(data.tasks["slug"]):
        put(f"task/{name}", _scores(data.results.gather_every(width, row).head(height)))


def _catalogue(data: SiteData) -> dict[str, Any]:
    """The tasks, with how well the models do on them."""
    best = (
        data.results.group_by("task", maintain_order=True)
        .agg(
            supported=(pl.col("status") == "scored").sum(),
            won=pl.col("wins").sum(),
            best_score=pl.col("score").filter(pl.col("status") == "scored").max(),
        )
        .sort("task")
    )
    names = (
        *("task_id", "title", "slug", "modality", "paradigm", "skill", "metric_title", "unit"),
        *("direction", "specialist_raw", "specialist_score"),
    )
    return _columns(data.tasks, *names) | _columns(best, "supported", "won", "best_score")


def _board(places: pl.DataFrame, rows: dict[str, int]) -> dict[str, dict[str, Any]]:
    """A board's places by profile and aggregation; models by their rows."""
    found: dict[str, dict[str, Any]] = {}
    for (profile, aggregation), part in places.partition_by(
        "profile", "aggregation", as_dict=True, maintain_order=True
    ).items():
        part = part.drop("profile", "aggregation", "board_id")
        known = [name for name in part.columns if part[name].null_count() < part.height]
        columns = _columns(part.drop("model"), *(name for name in known if name != "model"))
        columns["model"] = [rows[model] for model in part["model"]]
        found.setdefault(str(profile), {})[str(aggregation)] = columns
    return found


def _scores(results: pl.DataFrame) -> dict[str, Any]:
    """Task results as columns; texts that repeat are coded."""
    reasons, places = coded(results["reason"])
    known = [
        name
        for name in ("raw_low", "raw_high", "p_at_or_above_specialist")
        if results[name].null_count() < results.height
    ]
    return {
        "reasons": reasons,
        "reason": places,
        "status": results["status"].str.head(1).to_list(),
        "stale": results["stale_since"].dt.strftime("%Y-%m-%d").to_list(),
        "imported": numbers(results["origin"] == "imported"),
        "n": results["n_instances"].to_list(),
        **_columns(results, "raw_score", "score", "wins", "coverage", *known),
    }


def _columns(frame: pl.DataFrame, *names: str) -> dict[str, list[Any]]:
    rounded = {"score": 4, "coverage": 4, "p_at_or_above_specialist": 4, "best_score": 4}
    return {name: numbers(frame[name], rounded.get(name)) for name in names}


def _history(past: pl.DataFrame) -> dict[str, Any]:
    times = past["published_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").to_list()
    return {"published_at": times} | _columns(past, *(f"level_{level}" for level in LEVELS))
