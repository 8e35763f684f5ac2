"""Stored payloads as what a metric reads: text, or lists of numbers. Null where they cannot be."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import polars as pl

#: Metrics that compare sets of labels; a prediction given as a list of labels is one such set.
_LABEL_SET_METRICS = frozenset({"micro_f1", "micro_f1_published", "f_score"})
_LABEL_SEPARATOR = "<p>"


def reference_payload(rows: pl.DataFrame, payload: str) -> pl.Series:
    """References as `pl.List(pl.String)` (text), `pl.List(pl.Float64)` (number), or JSON documents
    (all other payloads); null where they cannot be."""
    if payload not in ("text", "number"):
        return rows["json"]
    if payload == "number":
        return _numbers(rows)
    return rows.select(
        pl.when(pl.col("kind") == "texts")
        .then(pl.when(pl.col("texts").list.len() > 0).then(pl.col("texts")))
        .when(pl.col("kind").is_in(["text", "number"]))
        .then(pl.concat_list("text"))
        .cast(pl.List(pl.String))
        .alias("reference")
    )["reference"]


def prediction_payload(rows: pl.DataFrame, payload: str, metric_id: str) -> pl.Series:
    """Predictions as `pl.String` (text), `pl.List(pl.Float64)` (number), or JSON documents (all
    other payloads); null where they cannot be.

    A list of strings is one label set for the label-set metrics, its only element if it has one,
    and otherwise unreadable: a metric that expects one answer cannot choose among several.
    """
    if payload not in ("text", "number"):
        return rows["json"]
    if payload == "number":
        return _numbers(rows)
    many = pl.col("texts").list.len()
    if metric_id in _LABEL_SET_METRICS:
        from_list = pl.col("texts").cast(pl.List(pl.String)).list.join(_LABEL_SEPARATOR)
    else:
        from_list = pl.when(many == 1).then(pl.col("texts").list.first())
    return rows.select(
        pl.when(pl.col("kind").is_in(["text", "number"]))
        .then(pl.col("text"))
        .when(pl.col("kind") == "texts")
        .then(from_list)
        .cast(pl.String)
        .alias("prediction")
    )["prediction"]


def _numbers(rows: pl.DataFrame) -> pl.Series:
    """Each row as a list of finite numbers: a number, text that is one, or a (nested) JSON array."""
    values: list[list[float] | None] = [None] * rows.height
    columns = rows.select("kind", "text", "texts", "number", "json")
    for i, (kind, text, texts, number, json) in enumerate(columns.iter_rows()):
        if kind == "number":
            found: Any = number
        elif kind == "json":
            found = msgspec.json.decode(json)
        else:
            found = texts if kind == "texts" else text
        values[i] = _flatten(found)
    return pl.Series("numbers", values, pl.List(pl.Float64))


def _flatten(value: Any) -> list[float] | None:
    if isinstance(value, list):
        nested = [_flatten(item) for item in value]
        if not nested or any(item is None for item in nested):
            return None
        return [number for item in nested if item is not None for number in item]
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return [number] if math.isfinite(number) else None
