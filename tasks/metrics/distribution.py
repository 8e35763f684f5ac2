"""Frechet distances between two sets of features: FID, FVD, FAD."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.media import Array, Refused, decode, is_file
from tasks.metrics.base import Batch, Metric, register
from tasks.metrics.features import ArrayFiles
from tasks.metrics.samples import Samples

T = TypeVar("T")
_Floats = npt.NDArray[np.floating[Any]]

#: Fewest rows that are merged at once: small merges would be all overhead.
_BLOCK = 1024
#: Larger features are refused: products of two covariances must stay inside float64.
_LARGEST = 1e60


class FeatureSet:
    """Number, mean and covariance of feature rows that are added in any pieces.

    Rows are held until there are as many as a row is wide, and from then on merged into mean and
    scatter block by block (Chan, Golub and LeVeque 1983), in float64: memory does not grow with the
    number of rows. Sets smaller than that stay rows: a smaller form of their covariance, which has
    not full rank.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._merged = 0
        self._mean: _Floats = np.zeros(width)
        self._scatter: _Floats | None = None
        self._held: list[Array] = []
        self._n_held = 0

    def __len__(self) -> int:
        return self._merged + self._n_held

    def add(self, rows: Array) -> None:
        """Adds rows (n, width)."""
        block = max(_BLOCK, self.width + 1)
        for start in range(0, len(rows), block):
            piece = rows[start : start + block]
            self._held.append(piece)
            self._n_held += len(piece)
            if self._n_held >= block:
                self._merge()

    def absorb(self, other: FeatureSet) -> None:
        """Adds the rows of another set of the same width, which is not to be used afterwards."""
        if other._scatter is not None:
            self._combine(other._merged, other._mean, other._scatter)
        for rows in other._held:
            self.add(rows)

    def _merge(self) -> None:
        mean, centred = self._centre_held()
        self._combine(len(centred), mean, centred.T @ centred)
        self._held, self._n_held = [], 0

    def _combine(self, count: int, mean: _Floats, scatter: _Floats) -> None:
        """Brings in the moments of `count` other rows; `scatter` is not to be used afterwards."""
        before, step = self._merged, mean - self._mean
        if before:
            scatter += np.outer(step, step) * (before * count / (before + count))
        if self._scatter is None:
            self._scatter = scatter
        else:
            self._scatter += scatter
        self._mean = self._mean + step * (count / (before + count))
        self._merged += count

    def _centre_held(self) -> tuple[_Floats, _Floats]:
        rows = np.concatenate(self._held).astype(np.float64, copy=False)
        mean = rows.mean(axis=0)
        return mean, rows - mean

    def moments(self) -> tuple[_Floats, _Floats]:
        """Mean, and a factor F (r, width) of the covariance F' F. At least two rows."""
        if self._held and len(self) > self.width:
            self._merge()
        if self._scatter is not None:
            return self._mean, _factor(self._scatter / (self._merged - 1))
        mean, centred = self._centre_held()
        return mean, centred / np.sqrt(len(centred) - 1)


def _factor(covariance: _Floats) -> _Floats:
    """F (rank, d) with covariance = F' F, by a Cholesky decomposition that takes the largest
    remaining variance next and stops where only rounding remains: it needs no full rank."""
    from scipy.linalg import get_lapack_funcs

    (pstrf,) = get_lapack_funcs(("pstrf",), (covariance,))
    upper, pivots, rank, _ = pstrf(covariance)
    factor = np.zeros((rank, len(covariance)))
    factor[:, pivots - 1] = np.triu(upper)[:rank]
    return factor


def frechet_distance(first: FeatureSet, second: FeatureSet) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) of the two sets, each of at least two rows.

    The trace of the root is the sum of the singular values of F1 F2', for any factors of the
    covariances S = F' F. For sets of fewer rows than dimensions this is their small cross Gram
    matrix. Unlike the root of a product of covariances, singular values keep all their digits when
    the covariances are singular, or span many orders of magnitude.
    """
    (mean1, factor1), (mean2, factor2) = first.moments(), second.moments()
    step = mean1 - mean2
    root = np.linalg.svd(factor1 @ factor2.T, compute_uv=False).sum()
    variance = np.square(factor1).sum() + np.square(factor2).sum()
    # Rounding may carry the distance of a set from itself below 0.
    return max(0.0, float(step @ step + variance - 2 * root))


class _FrechetDistance(Metric):
    """Frechet distance between the features of all predictions and of all references; 0.., lower.

    Prediction and reference of an instance: features (d,) or (n, d), as a list of numbers, or a .npy,
    .npz or .parquet file, also one `row` of it. The reference set is that of all the task's
    instances, answered or not. A file that several instances name as a whole (the usual way to give
    the features of all real images) is read once and counts once, on either side. Covariances are
    unbiased (n - 1), as in `numpy.cov`; features go through float64.

    The width d is that of the first reference that can be read; rows of another width are refused,
    and so are sets of fewer than two rows, which have no covariance.

    The distance belongs to the set: every row's statistic is the set's distance, the score is the
    largest one, and a single instance has no value of its own. An unanswered instance makes it +inf,
    as it does for MAE: a model that leaves out what it does badly would otherwise look better.
    """

    payload = "features"
    statistics = ("distance",)
    is_fraction = False
    needs_corpus = True

    def compute(self, batch: Batch) -> pl.DataFrame:
        references = _Reader()
        real = references.collect(_corpus(batch))
        if real is None or len(real) < 2:
            return _frame(None, [None] * len(batch.references), [_TOO_FEW] * len(batch.references))
        left_out = references.reasons(batch.references)
        usable = pl.Series([reason is None for reason in left_out], dtype=pl.Boolean)
        predictions = _Reader(real.width)
        generated = predictions.collect(batch.predictions.filter(usable))
        if generated is None or len(generated) < 2:
            refused = [reason or _TOO_FEW for reason in predictions.reasons(batch.predictions)]
            return _frame(None, refused, left_out)
        distance = frechet_distance(generated, real)
        return _frame(distance, predictions.reasons(batch.predictions), left_out)

    def worst(self, batch: Batch) -> pl.DataFrame:
        nothing: list[str | None] = [None] * len(batch.references)
        width = _width_of_references(_corpus(batch))
        if width is None:
            return _frame(None, nothing, [_TOO_FEW] * len(batch.references))
        references = _Reader(width)
        for _ in references.read(batch.references, _count):
            pass
        return _frame(math.inf, nothing, references.reasons(batch.references))

    def aggregate(self, stats: pl.DataFrame) -> float:
        return float(stats["distance"].max())  # type: ignore[arg-type]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return pl.Series([None], dtype=pl.Float64).new_from_index(0, stats.height)

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> None:
        """None: of each instance the distance of the whole set is kept, not its features."""


_TOO_FEW = "the set has fewer than two rows of features: it has no covariance"


class _Reader:
    """Reads the feature rows of documents, all of one width: that given, or that of the first."""

    def __init__(self, width: int | None = None) -> None:
        self.width = width
        self._files = ArrayFiles()
        self._refused: dict[str, str] = {}

    def reasons(self, documents: pl.Series) -> list[str | None]:
        """Why each document was refused, null for the others, once they have been read."""
        return [self._refused.get(document) for document in documents]

    def collect(self, documents: pl.Series) -> FeatureSet | None:
        """All rows of the documents; None when there are none."""
        found: FeatureSet | None = None
        for rows in self.read(documents, _set_of):
            if found is None:
                found = rows
            else:
                found.absorb(rows)
        return found

    def read(self, documents: pl.Series, make: Callable[[Iterator[Array]], T]) -> Iterator[T]:
        """What `make` makes of the features (n, width) of each document, which come in blocks; a
        document that is refused counts for nothing, a repeated file comes once."""
        for run in self._runs(documents):
            if len(run) > 1:
                # Once for all; one by one only to find what is wrong with which.
                with suppress(Refused):
                    yield make(self._checked(run[0][1], len(run)))
                    continue
            for document, value in run:
                try:
                    yield make(self._checked(value))
                except Refused as error:
                    self._refused[document] = str(error)

    def _runs(self, documents: pl.Series) -> Iterator[list[tuple[str, Any]]]:
        """The documents with their values: those that name rows of one file that follow each other
        together, others alone, and repeated files once."""
        seen = set[str]()
        run: list[tuple[str, Any]] = []
        for document in documents:
            if document in seen:
                continue
            value = decode(document)
            if is_file(value):
                seen.add(document)
            if run and not (len(run) < _BLOCK and _follows(value, run[-1][1])):
                yield run
                run = []
            run.append((document, value))
        if run:
            yield run

    def _checked(self, value: Any, rows_named: int = 1) -> Iterator[Array]:
        for features in self._files.blocks(value, rows_named):
            if features.ndim not in (1, 2):
                shape = f"{features.ndim} dimensions" if features.ndim else "one number"
                raise Refused(f"expected features (d,) or (n, d), found {shape}")
            rows = np.atleast_2d(features)
            if self.width is not None and rows.shape[1] != self.width:
                raise Refused(f"expected features of width {self.width}, found {rows.shape[1]}")
            if max(float(rows.max()), -float(rows.min())) > _LARGEST:
                raise Refused(f"a feature is beyond {_LARGEST:g}")
            yield rows
        self.width = rows.shape[1]


def _follows(value: Any, before: Any) -> bool:
    """Whether two values name a row of a file and the one before it."""
    if not (isinstance(value, dict) and isinstance(before, dict) and "$file" in value):
        return False
    row, last = value.get("row"), before.get("row")
    named = type(row) is int and type(last) is int and row == last + 1
    return named and value["$file"] == before.get("$file")


def _set_of(blocks: Iterator[Array]) -> FeatureSet:
    first = next(blocks)
    found = FeatureSet(first.shape[1])
    for rows in chain((first,), blocks):
        found.add(rows)
    return found


def _count(blocks: Iterator[Array]) -> int:
    return sum(map(len, blocks))


def _corpus(batch: Batch) -> pl.Series:
    return batch.references if batch.corpus is None else batch.corpus


def _width_of_references(documents: pl.Series) -> int | None:
    """Width of the reference features, as `compute` finds it; None when they are too few."""
    reader, count = _Reader(), 0
    for rows in reader.read(documents, _count):
        count += rows
        if count >= 2:
            return reader.width
    return None


def _frame(
    distance: float | None, refused: Sequence[str | None], reference_refused: Sequence[str | None]
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "distance": pl.Series([distance] * len(refused), dtype=pl.Float64),
            "refused": pl.Series(refused, dtype=pl.String),
            "reference_refused": pl.Series(reference_refused, dtype=pl.String),
        }
    )


@register
class FrechetInceptionDistance(_FrechetDistance):
    """FID over Inception features of images, or motion features in 3D (arXiv:1706.08500); 0.. ."""

    id = "fid"


@register
class FrechetVideoDistance(_FrechetDistance):
    """FVD over features of videos (arXiv:1812.01717); 0.. ."""

    id = "fvd"


@register
class FrechetAudioDistance(_FrechetDistance):
    """FAD over embeddings of audio (arXiv:1812.08466); 0.. ."""

    id = "fad"
