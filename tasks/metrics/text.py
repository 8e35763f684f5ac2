"""Metrics on free text, one answer against the best of its references: BLEU-1, ROUGE-1, ROUGE-L.

Counting is done on tokens looked up by chunk (`tokenize.py`, `rouge_tokens`), so that a word is
tokenised and stemmed once however often it occurs.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from tasks.metrics.base import Batch, MeanMetric, register
from tasks.metrics.tokenize import CACHE_SIZE, word_tokens


@register
class Bleu1(MeanMetric):
    """Sentence BLEU-1 on NLTK word tokens, best reference, mean over instances; 0..1.

    Published as `nltk.sentence_bleu(weights=(1, 0, 0, 0), smoothing_function=method4)`. With these
    weights the smoothing never shows: without a matching unigram NLTK returns 0 before it smooths,
    and with one only higher orders, of weight 0, are smoothed. What remains is the brevity penalty
    times the clipped unigram precision. An empty prediction or reference scores 0.
    """

    id = "bleu_1"

    def compute(self, batch: Batch) -> pl.DataFrame:
        return _best_of_references(batch, word_tokens, _bleu_1)


@register
class Rouge1(MeanMetric):
    """ROUGE-1 F-measure with stemming, best reference, mean over instances; 0..1 (rouge_score)."""

    id = "rouge_1"

    def compute(self, batch: Batch) -> pl.DataFrame:
        return _best_of_references(batch, rouge_tokens, _rouge_1)


@register
class RougeL(MeanMetric):
    """ROUGE-L F-measure with stemming, best reference, mean over instances; 0..1 (rouge_score).

    Longest common subsequence over the whole text, not sentence by sentence (`rougeL`, not
    `rougeLsum`).
    """

    id = "rouge_l"

    def compute(self, batch: Batch) -> pl.DataFrame:
        return _best_of_references(batch, rouge_tokens, _rouge_l)


def _best_of_references(
    batch: Batch,
    tokens: Callable[[str], Sequence[str]],
    score: Callable[[Sequence[str], Sequence[str]], float],
) -> pl.DataFrame:
    scores = []
    for prediction, references in zip(
        batch.predictions.to_list(), batch.references.to_list(), strict=True
    ):
        predicted = tokens(prediction)
        scores.append(max(score(predicted, tokens(reference)) for reference in references))
    return pl.DataFrame({"score": pl.Series(scores, dtype=pl.Float64)})


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    """Size of the multiset intersection: clipped matches."""
    if len(left) > len(right):
        left, right = right, left
    if not left:
        return 0
    unique = set(left)
    if len(unique) == len(left) and len(set(right)) == len(right):
        return len(unique.intersection(right))
    counts = Counter(right)
    matches = 0
    for token, count in Counter(left).items():
        other = counts.get(token, 0)
        matches += count if count < other else other
    return matches


def _bleu_1(prediction: Sequence[str], reference: Sequence[str]) -> float:
    matches = _common(prediction, reference)
    if not matches:
        return 0.0
    length = len(prediction)
    penalty = 1.0 if length > len(reference) else math.exp(1 - len(reference) / length)
    return penalty * matches / length


def _rouge_1(prediction: Sequence[str], reference: Sequence[str]) -> float:
    return _f_measure(_common(prediction, reference), len(prediction), len(reference))


def _rouge_l(prediction: Sequence[str], reference: Sequence[str]) -> float:
    if not prediction or not reference:
        return 0.0
    from rapidfuzz.distance import LCSseq

    common = LCSseq.similarity(prediction, reference)
    return _f_measure(common, len(prediction), len(reference))


def _f_measure(common: int, predicted: int, expected: int) -> float:
    if not common:
        return 0.0
    precision, recall = common / predicted, common / expected
    return 2 * precision * recall / (precision + recall)


_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")


def rouge_tokens(text: str) -> list[str]:
    """Tokens of the ROUGE reference implementation: lower case, ASCII letters and digits only,
    words longer than three stemmed (Porter, NLTK's extensions)."""
    cache = _stems()
    tokens: list[str] = []
    for word in _NOT_ALPHANUMERIC.sub(" ", text.lower()).split():
        stem = cache.get(word)
        if stem is None:
            if len(cache) >= CACHE_SIZE:
                cache.clear()
            stem = cache[word] = _stemmer().stem(word) if len(word) > 3 else word
        tokens.append(stem)
    return tokens


@lru_cache(maxsize=1)
def _stems() -> dict[str, str]:
    return {}


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()
