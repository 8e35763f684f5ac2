"""Corpus metrics of captioning: corpus BLEU in the COCO style, and CIDEr-D.

Corpus BLEU is not a mean over instances: its counts and lengths are pooled first. They are the
statistics kept, so that the score can be made anew for any set of instances.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from tasks.metrics.bags import Bags, Floats, Integers, of_lists, renamed, without_empty
from tasks.metrics.base import Batch, MeanMetric, SumsMetric, register
from tasks.metrics.label import words

#: The constants of the COCO caption evaluation, which keep an empty corpus from dividing by zero.
_TINY, _SMALL = 1e-15, 1e-9


def _word_bags(*columns: pl.Series) -> Bags:
    """The words between white space of all texts of the columns, one column after the other."""
    return of_lists(words(pl.concat([c.cast(pl.String).rename("text") for c in columns])))


@dataclass(frozen=True, slots=True)
class _Grams:
    """The n-grams of one length of many texts: each text's distinct ones, as they first appear.

    Attributes:
        row: the text of each, ascending, shape (entries,).
        gram: the n-gram's number, shape (entries,).
        counts: how often the text has it, shape (entries,).
        width: how many distinct n-grams there are, at least 1.
    """

    row: Integers
    gram: Integers
    counts: Integers
    width: int

    def keys(self, row: Integers) -> Integers:
        """Entries as one number each, of `row` in place of the text and the n-gram."""
        return row * self.width + self.gram


def _grams(bags: Bags, longest: int) -> Iterator[_Grams]:
    """The n-grams of n = 1 to `longest` items."""
    begin = np.arange(len(bags.item))
    shorter = np.zeros(len(bags.item), np.int64)
    for n in range(1, longest + 1):
        # An n-gram is the one that is shorter by a word, and the word behind it.
        begin = begin[begin + n <= len(bags.item)]
        begin = begin[bags.row[begin] == bags.row[begin + n - 1]]
        known, number = np.unique(
            shorter[begin] * len(bags.names) + bags.item[begin + n - 1], return_inverse=True
        )
        shorter[begin] = number
        width = max(1, len(known))
        keys, firsts, counts = np.unique(
            bags.row[begin] * width + number, return_index=True, return_counts=True
        )
        order = np.argsort(firsts)
        row, gram = np.divmod(keys[order], width)
        yield _Grams(row, gram, counts[order], width)


def _matches(grams: _Grams, instance: Integers, count: int) -> Integers:
    """How many n-grams of each prediction its references have too, shape (predictions,).

    An n-gram counts as often as the prediction has it, at most as often as the reference that has most.

    Args:
        grams: of all predictions, then of all references.
        instance: whose prediction or reference each text is, shape (texts,).
        count: number of predictions.
    """
    keys = grams.keys(instance[grams.row])
    cut = int(np.searchsorted(grams.row, count))
    order = np.lexsort((grams.counts[cut:], keys[cut:]))
    expected = keys[cut:][order]
    # Of equal ones the last has most.
    lasts = np.flatnonzero(np.diff(expected, append=-1))
    expected, most = expected[lasts], grams.counts[cut:][order][lasts]
    both, ours, theirs = np.intersect1d(
        keys[:cut], expected, assume_unique=True, return_indices=True
    )
    shared = np.minimum(grams.counts[ours], most[theirs])
    return np.bincount(both // grams.width, weights=shared, minlength=count).astype(np.int64)


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
        return self._counts(batch.silence(), batch.references)

    def _counts(self, predictions: pl.Series, references: pl.Series) -> pl.DataFrame:
        count = len(predictions)
        bags = _word_bags(predictions, references.explode())
        bags = renamed(bags, [name.lower() for name in bags.names])
        # The instance of each text: first the predictions, then the references.
        instances = np.arange(count)
        instance = np.concatenate(
            [instances, np.repeat(instances, references.list.len().to_numpy())]
        )
        sizes = bags.sizes()
        length = sizes[:count]
        columns = {
            f"matches_{n}": _matches(grams, instance, count)
            for n, grams in enumerate(_grams(bags, self.order), 1)
        }
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
        predictions, references = batch.predictions, batch.references
        corpus = references if batch.corpus is None else batch.corpus
        count, lengths = len(predictions), references.list.len().to_numpy()
        bags = _word_bags(predictions, references.explode(), corpus.explode())
        # A chunk between white space is one word, or nothing.
        bags = renamed(bags, ["".join(cider_words(name)) for name in bags.names])
        bags = without_empty(bags)
        instance = np.repeat(np.arange(count), lengths)
        document = np.repeat(np.arange(len(corpus)), corpus.list.len().to_numpy())
        bigrams = np.zeros(bags.count, np.int64)
        total = np.zeros(len(instance))
        for n, grams in enumerate(_grams(bags, self._ORDER), 1):
            if n == 2:
                bigrams = np.bincount(grams.row, grams.counts, bags.count).astype(np.int64)
            total += self._cosines(grams, instance, document, count)
        apart = bigrams[instance] - bigrams[count : count + len(instance)]
        penalty = _each(lambda d: math.exp(-(d**2) / (2 * self._SIGMA**2)), apart)
        similar = total * penalty / self._ORDER
        sums = np.bincount(instance, similar, count)
        scores = 10.0 * sums / lengths
        return pl.DataFrame({"score": pl.Series(scores, dtype=pl.Float64)})

    def _cosines(self, grams: _Grams, instance: Integers, document: Integers, count: int) -> Floats:
        """Of each reference, the clipped cosine of its TF-IDF weights and its prediction's, shape
        (references,).

        Args:
            grams: of all predictions, then all references, then the corpus.
            instance: of each reference.
            document: of each text of the corpus.
            count: number of predictions.
        """
        texts = count + len(instance)
        cuts = np.searchsorted(grams.row, [count, texts])
        ours, theirs, others = (
            slice(a, b) for a, b in pairwise([0, *cuts.tolist(), len(grams.row)])
        )
        seen = np.unique(document[grams.row[others] - texts] * grams.width + grams.gram[others])
        frequencies = np.bincount(seen % grams.width, minlength=grams.width)
        documents = math.log(document[-1] + 1) if len(document) else 0.0
        inverse = _each(lambda f: documents - math.log(f) if f else documents, frequencies)
        weights = grams.counts * inverse[grams.gram]
        norms = np.sqrt(np.bincount(grams.row, weights**2, texts))
        # Each n-gram of a reference that its prediction has, in the order of the prediction's.
        keys = grams.keys(grams.row)[ours]
        if not len(keys):
            return np.zeros(len(instance))
        wanted = instance[grams.row[theirs] - count] * grams.width + grams.gram[theirs]
        order = np.argsort(keys)
        found = order[np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)]
        both = np.flatnonzero(keys[found] == wanted)
        found, reference = found[both], grams.row[theirs][both] - count
        in_order = np.lexsort((found, reference))
        found, both, reference = found[in_order], both[in_order], reference[in_order]
        theirs_weighed = weights[theirs][both]
        shares = np.minimum(weights[found], theirs_weighed) * theirs_weighed
        dots = np.bincount(reference, shares, len(instance)).astype(np.float64)
        scale = norms[instance] * norms[count:texts]
        nonzero = (norms[instance] != 0) & (norms[count:texts] != 0)
        return np.divide(dots, scale, out=dots.copy(), where=nonzero)


def _each(function: Callable[[int], float], numbers: Integers) -> Floats:
    """A function of each number, called once for equal ones: NumPy's own differ in the last bit."""
    known, which = np.unique(numbers, return_inverse=True)
    return np.array([function(number) for number in known.tolist()], np.float64)[which]
