"""What metrics on features share: files read by row, and the mean of one value an instance.

Neural networks run elsewhere; what arrives here are their outputs: features, embeddings, scores.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.blocks import StoredRows, array_blocks
from tasks.media import Array, Refused, decode, is_file, is_folder, load_array, name_of, numbers
from tasks.metrics.base import Batch, Floats, MeanMetric, scored_apart

Integers = npt.NDArray[np.int64]


class ArrayFiles:
    """`load_array`, but a file whose rows are named one after the other is read once, and a large
    one is never in memory as a whole.

    One object a side and call: it holds the last such file, so that neither memory nor a file that
    changes later outlives the call.
    """

    def __init__(self) -> None:
        self._file: Any = None
        self._found: StoredRows | Refused = Refused("no file was read")

    def load(self, value: Any) -> Array:
        """As `load_array`; what is wrong in one row does not touch the others. Raises `Refused`."""
        if not _is_plain_file(value) or "row" not in value:
            return load_array(value)
        rows, row = self._rows(value), value["row"]
        if not isinstance(row, int) or not 0 <= row < len(rows):
            raise Refused(f"{name_of(value)} has no row {row!r}")
        return load_array(rows[row])

    def blocks(self, value: Any, rows_named: int = 1) -> Iterator[Array]:
        """The numbers of `load`, those of a whole file in blocks of its rows.

        Args:
            rows_named: that many rows of a file, from the `row` of the value on, as one block.

        Raises:
            Refused: perhaps after the first good blocks; when any of the rows is bad.
        """
        if rows_named > 1:
            rows, first = self._rows(value), value["row"]
            if first < 0 or first + rows_named > len(rows):
                raise Refused(f"{name_of(value)} has not all of these rows")
            block = numbers(rows.run(first, rows_named), value)
            if block.ndim != 2:
                raise Refused(f"the rows of {name_of(value)} are no lists of numbers")
            yield block
            return
        if not _is_plain_file(value) or "row" in value:
            yield self.load(value)
            return
        for block in array_blocks(value):
            yield numbers(block, value)

    def _rows(self, value: Any) -> StoredRows:
        if value["$file"] != self._file:
            self._file = value["$file"]
            try:
                self._found = StoredRows(array_blocks(value))
            except Refused as error:
                self._found = error
        if isinstance(self._found, Refused):
            raise Refused(str(self._found))
        return self._found


def _is_plain_file(value: Any) -> bool:
    return is_file(value) and not is_folder(value)


class FeatureMean(MeanMetric):
    """The mean of one `score` an instance, each made of that instance's documents alone."""

    payload = "features"
    #: Score of an instance that counts as wrong.
    unanswered: ClassVar[float] = 0.0

    def read_reference(self, value: Any, files: ArrayFiles) -> Any:
        """The reference as `measure` takes it. Raises `Refused`.

        Unless overridden no reference is needed: whatever stands there is not looked at.
        """
        return None

    @abstractmethod
    def measure(self, prediction: Any, reference: Any, files: ArrayFiles) -> float:
        """The score of one answered instance. Raises `Refused`."""

    def compute(self, batch: Batch) -> pl.DataFrame:
        return self._frame(batch.predictions, batch.references)

    def worst(self, batch: Batch) -> pl.DataFrame:
        return self._frame(repeat(None, len(batch.references)), batch.references)

    def _frame(self, predictions: Iterable[str | None], references: pl.Series) -> pl.DataFrame:
        given, expected = ArrayFiles(), ArrayFiles()
        rows: list[tuple[float | None, str | None, str | None]] = []
        for prediction, document in zip(predictions, references, strict=True):
            try:
                reference = self.read_reference(decode(document), expected)
            except Refused as error:
                rows.append((None, None, str(error)))
                continue
            if prediction is None:
                rows.append((self.unanswered, None, None))
                continue
            try:
                rows.append((self.measure(decode(prediction), reference, given), None, None))
            except Refused as error:
                rows.append((None, str(error), None))
        kinds = {"score": pl.Float64, "refused": pl.String, "reference_refused": pl.String}
        return pl.DataFrame(rows, schema=kinds, orient="row")


class NumbersMean(FeatureMean):
    """A `FeatureMean` without references, whose predictions mostly are a number or a list of numbers.

    These are scored together, and only the others one by one.
    """

    @abstractmethod
    def of_numbers(self, values: Floats, firsts: Integers) -> Floats:
        """The scores that `measure` gives to predictions of a number or a list of numbers.

        Args:
            values: all the numbers, shape (numbers,).
            firsts: where those of each prediction begin, shape (predictions,).

        Returns:
            Shape (predictions,); NaN leaves one to `measure`, which says why it is refused.
        """

    def compute(self, batch: Batch) -> pl.DataFrame:
        scores = self._scores_of_numbers(batch.predictions)
        return scored_apart(scores, batch, super().compute)

    def _scores_of_numbers(self, documents: pl.Series) -> Floats:
        """NaN where `of_numbers` gives it, or is not asked."""
        scores = np.full(len(documents), np.nan)
        plain = documents.str.contains(_NUMBERS)
        if not plain.any():
            return scores
        texts = documents.filter(plain).str.strip_chars("[]")
        try:
            values = np.array(_FLOATS.decode(f"[{texts.str.join(',').item()}]"))
        except msgspec.DecodeError:
            return scores
        lengths = texts.str.count_matches(",", literal=True).to_numpy().astype(np.int64) + 1
        scores[plain.to_numpy()] = self.of_numbers(values, np.cumsum(lengths) - lengths)
        return scores


#: A document of one number or a list of numbers.
_NUMBERS = r"^(?:-?[0-9][-+.0-9eE]*|\[ *-?[0-9][-+.0-9eE, ]*\])$"
_FLOATS = msgspec.json.Decoder(list[float])


def means_within(values: Floats, firsts: Integers, low: float, high: float) -> Floats:
    """The mean of each list of numbers, NaN where one is out of the range; as in `of_numbers`."""
    inside = np.minimum.reduceat(values, firsts) >= low
    inside &= np.maximum.reduceat(values, firsts) <= high
    lengths = np.diff(firsts, append=len(values))
    return np.where(inside, np.add.reduceat(values, firsts) / lengths, np.nan)
