"""Two independent implementations of the levels agree on 100,000 random tables of scores."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from benchmarks.levels import in_sql
from tasks.catalog.normalise import normalise
from tasks.schema import TASK_SCORE_SCHEMA
from tests.reference_levels import Result, levels
from tests.test_levels import catalogue_of

MODELS = 100_000

#: Every map and direction, one modality without generation, and language tasks.
TASKS = [
    ("image", "comprehension", "Ic1", "mae", 3.0),
    ("image", "generation", "Ig1", "psnr", 21.0),
    ("audio", "comprehension", "Ac1", "wer", 20.0),
    ("audio", "generation", "Ag1", "mos", 3.5),
    ("video", "comprehension", "Vc1", "accuracy", 40.0),
    ("language", "language", "L1", "micro_f1", 55.0),
    ("language", "language", "L2", "rmse", 1.5),
]


def test_sql_and_python_agree_on_100_000_tables(tmp_path) -> None:
    catalogue = catalogue_of(tmp_path, TASKS)
    tasks = list(catalogue.tasks.iter_rows(named=True))
    rng = np.random.default_rng(11)
    frames, normalised, won = [], [], []
    for task in tasks:
        # Around the specialist, the specialist itself, the ends of the range, and unsupported.
        low, high = task["minimum"], task["maximum"]
        raw = task["specialist_raw"] * rng.uniform(0.3, 1.7, MODELS)
        kind = rng.random(MODELS)
        raw = np.where(kind < 0.1, task["specialist_raw"], raw)
        raw = np.where(kind > 0.95, low, raw)
        if math.isfinite(high):
            raw = np.where((kind > 0.9) & (kind <= 0.95), high, raw)
        raw = np.clip(raw, low, high)
        supported = rng.random(MODELS) < 0.8
        frames.append(
            pl.DataFrame(
                {
                    "model": [f"m{i:06d}" for i in range(MODELS)],
                    "task_id": task["task_id"],
                    "metric_id": task["metric_id"],
                    "raw_score": pl.Series(raw).set(pl.Series(~supported), None),
                    "status": pl.Series(supported).replace_strict(
                        {True: "scored", False: "unsupported"}, return_dtype=pl.String
                    ),
                }
            )
        )
        bounds = {"minimum": low, "maximum": high}
        shape = task["map"], task["threshold"], task["unit"]
        scores = [
            normalise(*shape, x, **bounds) if s else 0.0
            for x, s in zip(raw, supported, strict=True)
        ]
        better = (
            raw >= task["specialist_raw"]
            if task["direction"] == "higher"
            else raw <= task["specialist_raw"]
        )
        normalised.append(scores)
        won.append((better & supported).tolist())
    scores = pl.concat(frames).with_columns(
        profile=pl.lit("corrected"), origin=pl.lit("imported"), scorer_version=pl.lit("test")
    )
    empty = pl.DataFrame(pl.from_arrow(TASK_SCORE_SCHEMA.empty_table()))
    _, _, found = in_sql(pl.concat([empty, scores], how="diagonal").to_arrow(), catalogue)
    assert len(found) == MODELS
    groups = [(task["modality"], task["paradigm"]) for task in tasks]
    worst = 0.0
    levels_found = found[["level_2", "level_3", "level_4", "level_5"]].to_numpy()
    for i, ours in enumerate(levels_found):
        results = [
            Result(*group, s[i], w[i]) for group, s, w in zip(groups, normalised, won, strict=True)
        ]
        expected = levels(results, "modality_mean")
        worst = max(worst, *(abs(a - b) for a, b in zip(ours, expected, strict=True)))
    assert worst < 1e-9
    # The tables are worth it: every level is reached by some, and by some not.
    assert 0.02 < (levels_found[:, 3] > 0).mean() < 0.98
