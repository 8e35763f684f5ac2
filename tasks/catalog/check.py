"""What makes a catalogue sound: the same checks for the bundled one and for users' rows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from tasks.catalog.model import MODALITIES, PARADIGMS, Catalogue, duplicates, fold, split_names
from tasks.catalog.names import ambiguous_names
from tasks.catalog.normalise import MAPS, UNITS, normalise

_DIRECTIONS = ("higher", "lower")
_PAYLOADS = ("text", "number", "json", "media", "features")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
#: A task may show a metric in another unit only when one is a hundredth of the other.
_SAME_UNIT = ({"percent", "fraction"},)
_TOLERANCE = 1e-6


def check_catalogue(catalogue: Catalogue) -> list[str]:
    """Everything wrong with a catalogue, one sentence a problem; empty when it is sound."""
    metrics = {row["metric_id"]: row for row in catalogue.metrics.iter_rows(named=True)}
    problems = [f"metric id {m} occurs twice" for m in duplicates(catalogue.metrics["metric_id"])]
    for row in metrics.values():
        problems += [f"metric {row['metric_id']}: {text}" for text in _metric_problems(row)]
    problems += _shared_metric_names(metrics)
    problems += [f"task id {t} occurs twice" for t in duplicates(catalogue.tasks["task_id"])]
    for row in catalogue.tasks.iter_rows(named=True):
        metric = metrics.get(row["metric_id"])
        found = (
            [text for text, _ in problems_of_row(row, metric)]
            if metric
            else [f"unknown metric {row['metric_id']!r}"]
        )
        if row["specialist_normalised"] is None:  # a user's row may leave it out, a loaded one not
            found.append("no specialist_normalised")
        problems += [f"task {row['task_id']}: {text}" for text in found]
    return problems + ambiguous_names(catalogue.tasks)


def problems_of_row(row: dict[str, Any], metric: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(problem, remedy) pairs of one task's row whose metric is known."""
    yield from _identity_problems(row)
    unit, metric_id = row["unit"], metric["metric_id"]
    if unit not in UNITS:
        yield f"unknown unit {unit!r}", f"use one of {', '.join(UNITS)}"
        return
    if unit != metric["unit"] and {unit, metric["unit"]} not in _SAME_UNIT:
        yield (
            f"unit {unit} does not fit {metric_id}, which is in {metric['unit']}",
            "leave the unit empty to take the metric's",
        )
        return
    if row["direction"] != metric["direction"]:
        yield (
            f"direction {row['direction']!r}, but {metric_id} is {metric['direction']}-is-better",
            "leave the direction empty: it belongs to the metric",
        )
    if row.get("n_instances") is not None and row["n_instances"] < 1:
        yield f"n_instances is {row['n_instances']}", "leave it empty when it is not known"
    yield from _specialist_problems(row, metric)


def _identity_problems(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    modality, paradigm = row["modality"], row["paradigm"]
    if modality not in MODALITIES:
        yield f"unknown modality {modality!r}", f"use one of {', '.join(MODALITIES)}"
    if paradigm not in PARADIGMS:
        yield f"unknown paradigm {paradigm!r}", f"use one of {', '.join(PARADIGMS)}"
    if (modality == "language") != (paradigm == "language"):
        yield (
            f"modality {modality} with paradigm {paradigm}",
            "language tasks have the paradigm language, and only they",
        )
    if not fold(row["title"] or ""):
        yield "no title", "give the task a title"
    prefix = "language." if modality == "language" else f"{modality}.{paradigm}."
    if not row["task_id"].startswith(prefix) or not _SLUG.fullmatch(
        row["task_id"].removeprefix(prefix)
    ):
        yield (
            f"task_id {row['task_id']!r} is not {prefix}<slug>",
            "write the slug in small ASCII letters and digits with single hyphens",
        )


def _specialist_problems(row: dict[str, Any], metric: dict[str, Any]) -> Iterator[tuple[str, str]]:
    raw, unit = row["specialist_raw"], row["unit"]
    scale = metric_scale(metric["unit"], unit)
    low, high = metric["minimum"] * scale, metric["maximum"] * scale
    if raw is None or math.isnan(raw) or not low <= raw <= high or math.isinf(raw):
        yield (
            f"specialist_raw is {raw}, outside {low:g}..{high:g} ({unit}) of {metric['metric_id']}",
            f"give the specialist's figure in the unit {unit}, or another unit or metric",
        )
        return
    stored = row.get("specialist_normalised")
    if stored is None:
        return
    mapped = normalise(metric["map"], metric["threshold"], unit, raw, minimum=low, maximum=high)
    if not abs(stored - mapped) <= _TOLERANCE:
        yield (
            f"specialist_normalised is {stored}, but {raw} maps to {mapped:.6f}",
            "leave specialist_normalised empty: it follows from specialist_raw",
        )


def metric_scale(metric_unit: str, task_unit: str) -> float:
    """What the metric's range is multiplied by to be in the task's unit."""
    if metric_unit == task_unit:
        return 1.0
    return 0.01 if metric_unit == "percent" else 100.0


def _metric_problems(row: dict[str, Any]) -> Iterator[str]:
    for column, choices in (
        ("unit", UNITS),
        ("direction", _DIRECTIONS),
        ("map", MAPS),
        ("payload", _PAYLOADS),
    ):
        if row[column] not in choices:
            yield f"{column} {row[column]!r} is none of {', '.join(choices)}"
    if (row["threshold"] is None) == (row["map"] == "tanh_ratio"):
        yield f"map {row['map']} with threshold {row['threshold']}"
    if not row["minimum"] < row["maximum"]:
        yield f"range {row['minimum']}..{row['maximum']}"


def _shared_metric_names(metrics: dict[str, dict[str, Any]]) -> list[str]:
    """Ids, titles and aliases must mean one metric; published spellings may mean several."""
    names = [
        folded
        for metric_id, row in metrics.items()
        for folded in {
            fold(name) for name in (metric_id, row["title"], *split_names(row["aliases"]))
        }
    ]
    return [f"metric name {name!r} means several metrics" for name in duplicates(names)]
