"""Corpus metrics of captioning: corpus BLEU in the COCO style, and CIDEr-D.

Corpus BLEU is not a mean over instances: its counts and lengths are pooled first. They are the
statistics kept, so that the score can be made anew for any set of instances.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from tasks.metrics.base import Batch, MeanMetric, SumsMetric, register

#: The constants of the COCO caption evaluation, which keep an empty corpus from dividing by zero.
_TINY, _SMALL = 1e-15, 1e-9

_Ngrams = Counter[tuple[str, ...]]


def _ngrams(words: Sequence[str], longest: int) -> _Ngrams:
    counts: _Ngrams = Counter()
    for n in range(1, longest + 1):
        counts.update(zip(*(words[i:] for i in range(n)), strict=False))
    return counts


class _CorpusBleu(SumsMetric):
    """Corpus BLEU-n of the COCO caption evaluation (arXiv:1504.00325); 0..1.

    Text is lower-cased and split at white space, as the published captioning scorer does (it runs no
    PTB tokeniser). Matches are clipped by the reference that has most of an n-gram; the reference
    length is the one closest to the prediction's, the shorter of two equally close ones.

    The published library takes the average reference length when the corpus is one instance; ours
    takes the closest there too.
    """

    order: int

    def __init_subclass__(cls) -> None:
        orders = range(1, cls.order + 1)
        matches = tuple(f"matches_{n}" for n in orders)
        cls.statistics = (*matches, *(f"total_{n}" for n in orders), "length", "reference_length")

    def compute(self, batch: Batch) -> pl.DataFrame:
        pairs = zip(batch.predictions.to_list(), batch.references.to_list(), strict=True)
        return self._frame(self._row(prediction, references) for prediction, references in pairs)

    def worst(self, batch: Batch) -> pl.DataFrame:
        # Nothing said: no match, no length, and the whole reference missing.
        return self._frame(self._row("", references) for references in batch.references.to_list())

    def _frame(self, rows: Iterable[list[float]]) -> pl.DataFrame:
        schema = dict.fromkeys(self.statistics, pl.Float64)
        return pl.DataFrame(list(rows), schema=schema, orient="row")

    def _row(self, prediction: str, references: Sequence[str]) -> list[float]:
        words = prediction.lower().split()
        ceiling: _Ngrams = Counter()
        lengths = []
        for reference in references:
            others = reference.lower().split()
            lengths.append(len(others))
            ceiling |= _ngrams(others, self.order)
        matches = [0] * self.order
        for ngram, count in _ngrams(words, self.order).items():
            matches[len(ngram) - 1] += min(count, ceiling[ngram])
        totals = [max(0, len(words) - n) for n in range(self.order)]
        closest = min(lengths, key=lambda length: (abs(length - len(words)), length))
        return [float(value) for value in (*matches, *totals, len(words), closest)]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        rows = stats.iter_rows(named=True)
        return pl.Series([self.score_of(row) for row in rows], dtype=pl.Float64)

    def score_of(self, sums: Mapping[str, float]) -> float:
        product = 1.0
        for n in range(1, self.order + 1):
            product *= (sums[f"matches_{n}"] + _TINY) / (sums[f"total_{n}"] + _SMALL)
        score = product ** (1 / self.order)
        ratio = (sums["length"] + _TINY) / (sums["reference_length"] + _SMALL)
        return score * math.exp(1 - 1 / ratio) if ratio < 1 else score


@register
class CorpusBleu1(_CorpusBleu):
    """Corpus BLEU-1 of video captioning and video questions; 0..1."""

    id = "bleu_1_corpus"
    order = 1


@register
class Bleu4(_CorpusBleu):
    """Corpus BLEU-4 of 3D captioning; 0..1."""

    id = "bleu_4"
    order = 4


_PUNCTUATION = re.compile(r"[^\w\s]|_")


def cider_words(text: str) -> list[str]:
    """Words for CIDEr: lower case, punctuation dropped, split at white space.

    The COCO evaluation runs the PTB tokeniser, a Java program, and drops punctuation tokens; this
    comes closest to it without Java (contractions stay whole).
    """
    return _PUNCTUATION.sub("", text.lower()).split()


@register
class Cider(MeanMetric):
    """CIDEr-D (arXiv:1411.5726): mean over instances of 10 times the n-gram TF-IDF similarity, 0..10.

    n = 1..4, sigma = 6. Document frequencies come from the references of *all* the task's instances,
    answered or not. With a single instance every document frequency weighs nothing and the score
    is 0 by definition. As in the reference implementation a text's length is its number of bigrams.
    """

    id = "cider"
    needs_corpus = True
    _ORDER, _SIGMA = 4, 6.0

    def compute(self, batch: Batch) -> pl.DataFrame:
        corpus = batch.references if batch.corpus is None else batch.corpus
        frequencies: _Ngrams = Counter()
        for references in corpus.to_list():
            frequencies.update(
                {g for r in references for g in _ngrams(cider_words(r), self._ORDER)}
            )
        documents = math.log(len(corpus))
        weights = {g: documents - math.log(count) for g, count in frequencies.items()}
        scores = []
        pairs = zip(batch.predictions.to_list(), batch.references.to_list(), strict=True)
        for prediction, references in pairs:
            vector = self._vector(prediction, weights, documents)
            similar = [
                self._similarity(vector, self._vector(reference, weights, documents))
                for reference in references
            ]
            scores.append(10.0 * sum(similar) / len(similar))
        return pl.DataFrame({"score": pl.Series(scores, dtype=pl.Float64)})

    def _vector(
        self, text: str, weights: dict[tuple[str, ...], float], unseen: float
    ) -> tuple[dict[tuple[str, ...], float], list[float], int]:
        """TF-IDF weights by n-gram, their norms by order, and the number of bigrams."""
        counts = _ngrams(cider_words(text), self._ORDER)
        vector = {ngram: count * weights.get(ngram, unseen) for ngram, count in counts.items()}
        squares = [0.0] * self._ORDER
        bigrams = 0
        for ngram, weight in vector.items():
            squares[len(ngram) - 1] += weight * weight
            if len(ngram) == 2:
                bigrams += counts[ngram]
        return vector, [math.sqrt(square) for square in squares], bigrams

    def _similarity(
        self,
        prediction: tuple[dict[tuple[str, ...], float], list[float], int],
        reference: tuple[dict[tuple[str, ...], float], list[float], int],
    ) -> float:
        (vector, norms, length), (other, other_norms, other_length) = prediction, reference
        dots = [0.0] * self._ORDER
        for ngram, weight in vector.items():
            theirs = other.get(ngram)
            if theirs is not None:
                dots[len(ngram) - 1] += min(weight, theirs) * theirs
        total = 0.0
        for dot, norm, other_norm in zip(dots, norms, other_norms, strict=True):
            total += dot / (norm * other_norm) if norm and other_norm else dot
        penalty = math.exp(-((length - other_length) ** 2) / (2 * self._SIGMA**2))
        return total * penalty / self._ORDER
