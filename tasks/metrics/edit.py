"""Edit-distance metrics: word error rate and ANLS."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from rapidfuzz.distance import Levenshtein

from tasks.metrics.base import Batch, MeanMetric, SumsMetric, register


@register
class WordErrorRate(SumsMetric):
    """WER: word edits over reference words, summed over the corpus; 0.. (lower is better).

    Words are what stands between white space; case and punctuation count, as in jiwer without
    transforms. Several references: the one with the lowest rate. An empty reference makes every
    predicted word an insertion over no words: errors are counted, words are not. A missing
    prediction is all words wrong (at least one error).
    """

    id = "wer"
    statistics = ("errors", "words")

    def compute(self, batch: Batch) -> pl.DataFrame:
        rows = [
            min((_errors(p.split(), r.split()) for r in references), key=_rate)
            for p, references in zip(
                batch.predictions.to_list(), batch.references.to_list(), strict=True
            )
        ]
        return _frame(rows, self.statistics)

    def worst(self, batch: Batch) -> pl.DataFrame:
        lengths = (
            max(len(r.split()) for r in references) for references in batch.references.to_list()
        )
        return _frame([(max(1, length), length) for length in lengths], self.statistics)

    def score_of(self, sums: Mapping[str, float]) -> float:
        if sums["words"] == 0:
            return float("inf") if sums["errors"] else 0.0
        return sums["errors"] / sums["words"]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        rate = stats["errors"] / stats["words"]
        return pl.select(pl.when(stats["words"] > 0).then(rate))[:, 0]


def _errors(predicted: list[str], expected: list[str]) -> tuple[int, int]:
    return Levenshtein.distance(predicted, expected), len(expected)


def _rate(counts: tuple[int, int]) -> tuple[float, int]:
    errors, words = counts
    return (errors / words if words else float(errors > 0), errors)


def _frame(rows: list[tuple[int, int]], names: tuple[str, ...]) -> pl.DataFrame:
    schema = dict.fromkeys(names, pl.Float64)
    return pl.DataFrame([(float(a), float(b)) for a, b in rows], schema=schema, orient="row")


@register
class Anls(MeanMetric):
    """ANLS: 1 - normalised Levenshtein distance, 0 from a distance of 0.5 on; mean, 0..1.

    Biten et al. 2019 (arXiv:1905.13648), equation 1: best reference, case ignored, surrounding
    white space stripped, threshold 0.5. Two empty texts are equal (1).
    """

    id = "anls"

    def compute(self, batch: Batch) -> pl.DataFrame:
        scores = [
            max(_similarity(p.strip().lower(), r.strip().lower()) for r in references)
            for p, references in zip(
                batch.predictions.to_list(), batch.references.to_list(), strict=True
            )
        ]
        return pl.DataFrame({"score": pl.Series(scores, dtype=pl.Float64)})


def _similarity(prediction: str, reference: str) -> float:
    distance = Levenshtein.normalized_distance(prediction, reference)
    return 1.0 - distance if distance < 0.5 else 0.0
