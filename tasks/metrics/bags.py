"""Bags of items (tokens, labels) of many texts as columns of numbers, and how much two share.

Texts are cut into pieces in Polars; equal pieces get one number, so that whatever Python has to do
with a piece (tokenise it, stem it) is done once however often the piece occurs; what is shared is
counted on sorted numbers. No Python runs per text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from tasks.metrics.base import Batch

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Each prediction beside each of its references: `row` is the instance, ascending."""

    row: Integers
    predictions: pl.Series
    references: pl.Series

    @classmethod
    def of(cls, batch: Batch) -> Pairs:
        lengths = batch.references.list.len().to_numpy().astype(np.int64)
        predictions, references = batch.predictions, batch.references.explode()
        row = np.arange(len(lengths))
        if len(references) != len(row):
            row = np.repeat(row, lengths)
            predictions = predictions.gather(pl.Series(row))
        return cls(row, predictions.cast(pl.String), references.cast(pl.String))

    def __len__(self) -> int:
        return len(self.row)

    def texts(self) -> pl.Series:
        """All predictions, then all references: cut together, they share their numbers."""
        return pl.concat([self.predictions.rename("text"), self.references.rename("text")])

    def best(self, scores: Floats) -> pl.DataFrame:
        """The best score of each instance over its references: one column `score`."""
        firsts = self.firsts()
        # With one reference each there is nothing to choose.
        best = scores if len(firsts) == len(scores) else np.maximum.reduceat(scores, firsts)
        return pl.DataFrame({"score": pl.Series(best, dtype=pl.Float64)})

    def firsts(self) -> Integers:
        """Where the pairs of each instance begin, shape (instances,)."""
        if not len(self.row) or self.row[-1] + 1 == len(self.row):
            return self.row
        return np.flatnonzero(np.diff(self.row, prepend=-1))


@dataclass(frozen=True, slots=True)
class Bags:
    """The items of `count` texts.

    Attributes:
        row: the text of each item, ascending, shape (items,).
        item: the item's number, shape (items,); in a text, items stand in their order.
        names: what the numbers stand for.
        count: number of texts, with or without items.
    """

    row: Integers
    item: Integers
    names: Sequence[str]
    count: int

    def sizes(self) -> Integers:
        """Number of items of each text, shape (count,)."""
        return np.bincount(self.row, minlength=self.count).astype(np.int64)

    def to_lists(self) -> list[list[str]]:
        """The items of each text by name."""
        bounds = np.concatenate([[0], np.cumsum(self.sizes())]).tolist()
        names = list(self.names)
        items = [names[i] for i in self.item.tolist()]
        return [items[a:b] for a, b in pairwise(bounds)]

    def halves(self) -> tuple[Bags, Bags]:
        """The bags of `Pairs.texts()` as those of the predictions and those of the references."""
        half = self.count // 2
        cut = int(np.searchsorted(self.row, half))
        left = Bags(self.row[:cut], self.item[:cut], self.names, half)
        return left, Bags(self.row[cut:] - half, self.item[cut:], self.names, half)

    def counted(self) -> tuple[Integers, Integers]:
        """Distinct (text, item) as one sorted number each, and how often each occurs."""
        return np.unique(self.row * max(1, len(self.names)) + self.item, return_counts=True)


def shared(left: Bags, right: Bags, *, distinct: bool = False) -> Integers:
    """Number of items that text i of `left` and text i of `right` share, shape (count,).

    An item counts as often as both have it (clipped matches), or once if `distinct`.
    """
    # One sort of both sides: what both have stands side by side, the left one's key even.
    width = 2 * max(1, len(left.names))
    keys = np.concatenate([left.row, right.row])
    keys *= width
    keys[: len(left.row)] += 2 * left.item
    keys[len(left.row) :] += 2 * right.item + 1
    keys.sort()
    begins = np.flatnonzero(np.diff(keys, prepend=-1))
    keys = keys[begins]
    both = np.flatnonzero((keys[1:] ^ keys[:-1]) == 1)
    rows = keys[both] // width
    if distinct:
        return np.bincount(rows, minlength=left.count).astype(np.int64)
    counts = np.diff(begins, append=len(left.row) + len(right.row))
    matches = np.minimum(counts[both], counts[both + 1])
    return np.bincount(rows, weights=matches, minlength=left.count).astype(np.int64)


def distinct_sizes(bags: Bags) -> Integers:
    """Number of distinct items of each text, shape (count,)."""
    keys, _ = bags.counted()
    return np.bincount(keys // max(1, len(bags.names)), minlength=bags.count).astype(np.int64)


def cut(texts: pl.Series, pieces: pl.Expr, *, keep_empty: bool = False) -> Bags:
    """Bags of the pieces of each text.

    Args:
        texts: `pl.String` without nulls.
        pieces: expression over the column `text` that gives its pieces as a list of strings.
        keep_empty: whether an empty piece is an item.
    """
    return of_lists(pl.DataFrame({"text": texts}).select(pieces).to_series(), keep_empty=keep_empty)


def of_lists(lists: pl.Series, *, keep_empty: bool = False) -> Bags:
    """Bags of lists of strings (`pl.List(pl.String)`, null for none); `keep_empty` as for `cut`."""
    item, names = numbered(lists.explode())
    # A text without a list of pieces, or with an empty one, explodes into one null.
    row = np.repeat(np.arange(len(lists)), lists.list.len().fill_null(0).clip(1).to_numpy())
    dropped = item < 0
    if not keep_empty and "" in names:
        dropped |= item == names.index("")
    if dropped.any():
        row, item = row[~dropped], item[~dropped]
    return Bags(row, item, names, len(lists))


def numbered(values: pl.Series) -> tuple[Integers, list[Any]]:
    """The number of each value, equal ones alike and -1 for null, and what the numbers stand for."""
    encoded = values.to_arrow().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    indices = encoded.indices.fill_null(-1) if encoded.null_count else encoded.indices
    return indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def renamed(bags: Bags, names: Sequence[str]) -> Bags:
    """The same items under other names: items whose new names are equal become one."""
    numbers: dict[str, int] = {}
    new = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
    return Bags(bags.row, new[bags.item] if len(new) else bags.item, list(numbers), bags.count)


def without_empty(bags: Bags) -> Bags:
    """The same bags without items of an empty name."""
    kept = np.array([name != "" for name in bags.names], bool)
    if kept.all():
        return bags
    chosen = kept[bags.item]
    return Bags(bags.row[chosen], bags.item[chosen], bags.names, bags.count)
