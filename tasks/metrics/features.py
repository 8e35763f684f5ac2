"""What metrics on features share: files read by row, and the mean of one value an instance.

Neural networks run elsewhere; what arrives here are their outputs: features, embeddings, scores.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any, ClassVar

import polars as pl

from tasks.blocks import StoredRows, array_blocks
from tasks.media import Array, Refused, decode, load_array, name_of, numbers
from tasks.metrics.base import Batch, MeanMetric


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

    def blocks(self, value: Any) -> Iterator[Array]:
        """The numbers of `load`, those of a whole file in blocks of its rows.

        Raises:
            Refused: perhaps after the first good blocks.
        """
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
    return isinstance(value, dict) and "$file" in value


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
