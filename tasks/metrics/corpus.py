"""Corpus metrics of captioning: corpus BLEU in the COCO style, and CIDEr-D.

Corpus BLEU is not a mean over instances: its counts and lengths are pooled first. They are the
statistics kept, so that the score can be made anew for any set of instances.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from tasks.metrics.bags import Bags, Integers, of_lists, renamed
from tasks.metrics.base import Batch, MeanMetric, SumsMetric, register
from tasks.metrics.label import words

#: The constants of the COCO caption evaluation, which keep an empty corpus from dividing by zero.
_TINY, _SMALL = 1e-15, 1e-9

_Ngrams = Counter[tuple[str, ...]]


def _ngrams(words: Sequence[str], longest: int) -> _Ngrams:
    counts: _Ngrams = Counter()
    for n in range(1, longest + 1):
        counts.update(zip(*(words[i:] for i in range(n)), strict=False))
    return counts


def _matches(bags: Bags, instance: Integers, longest: int) -> Iterator[tuple[int, Integers]]:
    """By length n, the n-grams of each prediction that its references have too, shape (predictions,).

    An n-gram counts as often as the prediction has it, at most as often as the reference that has most.

    Args:
        bags: words of all predictions, then of all references.
        instance: whose prediction or reference each text is, shape (texts,).
    """
    count = int(instance.max(initial=-1)) + 1
    begin = np.arange(len(bags.item))
    gram = np.zeros(len(bags.item), np.int64)
    for n in range(1, longest + 1):
        # An n-gram is the one that is shorter by a word, and the word behind it.
        begin = begin[begin + n <= len(bags.item)]
        begin = begin[bags.row[begin] == bags.row[begin + n - 1]]
        known, numbers = np.unique(
            gram[begin] * len(bags.names) + bags.item[begin + n - 1], return_inverse=True
        )
        gram[begin] = numbers
        width = max(1, len(known))
        keys, counts = np.unique(bags.row[begin] * width + numbers, return_counts=True)
        cut = int(np.searchsorted(keys, count * width))
        expected = instance[keys[cut:] // width] * width + keys[cut:] % width
        order = np.argsort(expected, kind="stable")
        expected, firsts = np.unique(expected[order], return_index=True)
        most = np.maximum.reduceat(counts[cut:][order], firsts) if len(firsts) else counts[:0]
        both, ours, theirs = np.intersect1d(
            keys[:cut], expected, assume_unique=True, return_indices=True
        )
        shared = np.minimum(counts[:cut][ours], most[theirs])
        yield n, np.bincount(both // width, weights=shared, minlength=count).astype(np.int64)


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
        return self._counts(batch.predictions, batch.references)

    def worst(self, batch: Batch) -> pl.DataFrame:
        # Nothing said: no match, no length, and the whole reference missing.
        none = pl.Series([""], dtype=pl.String).new_from_index(0, len(batch.references))
        return self._counts(none, batch.references)

    def _counts(self, predictions: pl.Series, references: pl.Series) -> pl.DataFrame:
        count = len(predictions)
        texts = pl.concat(
            [s.cast(pl.String).rename("text") for s in (predictions, references.explode())]
        )
        bags = of_lists(words(texts))
        bags = renamed(bags, [name.lower() for name in bags.names])
        # The instance of each text: first the predictions, then the references.
        instances = np.arange(count)
        instance = np.concatenate(
            [instances, np.repeat(instances, references.list.len().to_numpy())]
        )
        sizes = bags.sizes()
        length = sizes[:count]
        columns = {f"matches_{n}": matches for n, matches in _matches(bags, instance, self.order)}
        columns |= {f"total_{n + 1}": np.maximum(length - n, 0) for n in range(self.order)}
        # One number orders by distance, then by length.
        base = sizes.max(initial=0) + 1
        nearness = np.abs(sizes - length[instance]) * base + sizes
        firsts = np.searchsorted(instance[count:], instances) + count
        closest = np.minimum.reduceat(nearness, firsts) % base if count else length
        columns |= {"length": length, "reference_length": closest}
        return pl.DataFrame({n: columns[n].astype(np.float64) for n in self.statistics})

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
