"""Bags of items (tokens, labels) of many texts as columns of numbers, and how much two share.

Texts are cut into pieces in Polars; equal pieces get one number, so that whatever Python has to do
with a piece (tokenise it, stem it) is done once however often the piece occurs; what is shared is
counted on sorted numbers. No Python runs per text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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
        starts = np.flatnonzero(np.diff(self.row, prepend=-1))
        best = np.maximum.reduceat(scores, starts) if len(starts) else scores
        return pl.DataFrame({"score": pl.Series(best, dtype=pl.Float64)})


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
    keys, counts = left.counted()
    other_keys, other_counts = right.counted()
    if not len(keys) or not len(other_keys):
        return np.zeros(left.count, np.int64)
    place = np.minimum(np.searchsorted(other_keys, keys), len(other_keys) - 1)
    found = other_keys[place] == keys
    matches = np.minimum(counts, other_counts[place])[found]
    rows = keys[found] // max(1, len(left.names))
    weights = None if distinct else matches
    return np.bincount(rows, weights=weights, minlength=left.count).astype(np.int64)


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
    frame = pl.DataFrame({"text": texts}).with_row_index("row")
    exploded = frame.select("row", piece=pieces).explode("piece").drop_nulls("piece")
    if not keep_empty:
        exploded = exploded.filter(pl.col("piece") != "")
    encoded = exploded["piece"].to_arrow().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return Bags(
        exploded["row"].to_numpy().astype(np.int64),
        encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        encoded.dictionary.to_pylist(),
        len(texts),
    )


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
