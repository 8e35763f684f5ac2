"""Metrics on free text, one answer against the best of its references: BLEU-1, ROUGE-1, ROUGE-L.

Counting is done on numbered tokens of whole columns (`bags.py`), so that a word is tokenised and
stemmed once however often it occurs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from tasks.metrics.bags import Bags, Floats, Integers, Pairs, cut, renamed, shared
from tasks.metrics.base import Batch, MeanMetric, register
from tasks.metrics.tokenize import CACHE_SIZE, word_bags


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
        pairs = Pairs.of(batch)
        predicted, expected = word_bags(pairs.texts()).halves()
        matches, length = shared(predicted, expected), predicted.sizes()
        shortfall = expected.sizes() / np.maximum(length, 1)
        penalty = np.exp(np.minimum(1 - shortfall, 0))
        return pairs.best(penalty * matches / np.maximum(length, 1))


@register
class Rouge1(MeanMetric):
    """ROUGE-1 F-measure with stemming, best reference, mean over instances; 0..1 (rouge_score)."""

    id = "rouge_1"

    def compute(self, batch: Batch) -> pl.DataFrame:
        pairs = Pairs.of(batch)
        predicted, expected = rouge_bags(pairs.texts()).halves()
        return pairs.best(_f_measure(shared(predicted, expected), predicted, expected))


@register
class RougeL(MeanMetric):
    """ROUGE-L F-measure with stemming, best reference, mean over instances; 0..1 (rouge_score).

    Longest common subsequence over the whole text, not sentence by sentence (`rougeL`, not
    `rougeLsum`).
    """

    id = "rouge_l"

    def compute(self, batch: Batch) -> pl.DataFrame:
        from rapidfuzz.distance import LCSseq

        pairs = Pairs.of(batch)
        predicted, expected = rouge_bags(pairs.texts()).halves()
        texts = zip(predicted.to_lists(), expected.to_lists(), strict=True)
        common = np.array([LCSseq.similarity(p, e) for p, e in texts], np.int64)
        return pairs.best(_f_measure(common, predicted, expected))


def _f_measure(common: Integers, predicted: Bags, expected: Bags) -> Floats:
    """2PR / (P + R) with P and R the shares of predicted and expected tokens in common; 0..1."""
    precision = common / np.maximum(predicted.sizes(), 1)
    recall = common / np.maximum(expected.sizes(), 1)
    return 2 * precision * recall / np.where(common > 0, precision + recall, 1)


def rouge_bags(texts: pl.Series) -> Bags:
    """Tokens of the ROUGE reference implementation: lower case, ASCII letters and digits only,
    words longer than three stemmed (Porter, NLTK's extensions)."""
    letters = pl.col("text").str.to_lowercase().str.replace_all("[^a-z0-9]+", " ")
    words = cut(texts, letters.str.split(" "))
    return renamed(words, [_stem(word) for word in words.names])


@lru_cache(maxsize=CACHE_SIZE)
def _stem(word: str) -> str:
    return _stemmer().stem(word) if len(word) > 3 else word


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    from tasks.metrics.nltk_parts import PorterStemmer

    return PorterStemmer()
