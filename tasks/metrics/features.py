"""What metrics on features share: files read by row, and the mean of one value an instance.

Neural networks run elsewhere; what arrives here are their outputs: features, embeddings, scores.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from itertools import repeat
from typing import Any, ClassVar

import polars as pl

from tasks.media import Array, Refused, array_of_file, decode, load_array, name_of
from tasks.metrics.base import Batch, MeanMetric


class ArrayFiles:
    """`load_array`, but a file whose rows are named one after the other is read once.

    One object a side and call: it holds the last such file, so that neither memory nor a file that
    changes later outlives the call.
    """

    def __init__(self) -> None:
        self._file: Any = None
        self._found: Array | Refused = Refused("no file was read")

    def load(self, value: Any) -> Array:
        """As `load_array`; what is wrong in one row does not touch the others. Raises `Refused`."""
        if not (isinstance(value, dict) and "$file" in value and "row" in value):
            return load_array(value)
        array, row = self._whole(value), value["row"]
        if not isinstance(row, int) or not array.ndim or not 0 <= row < len(array):
            raise Refused(f"{name_of(value)} has no row {row!r}")
        return load_array(array[row])

    def _whole(self, value: Any) -> Array:
        if value["$file"] != self._file:
            self._file = value["$file"]
            try:
                self._found = array_of_file(value)
            except Refused as error:
                self._found = error
        if isinstance(self._found, Refused):
            raise Refused(str(self._found))
        return self._found


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
