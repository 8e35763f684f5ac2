"""Answers without references: what a metric, and readers of files, can say of them alone."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from tasks.media import Refused, is_file, load_array, load_image, name_of, read_bytes
from tasks.metrics import Metric
from tasks.metrics.base import StructureMetric
from tasks.metrics.features import ArrayFiles, FeatureMean
from tasks.metrics.frames import IMAGES, FrameMetric

_ARRAYS = (".npy", ".npz", ".parquet")


class Alone:
    """Looks at the answers of one task, one after the other.

    What has to agree with the reference (a size, a number of frames or points) cannot be told; that
    features are of one width can.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._files = ArrayFiles()
        self._width: int | None = None

    def look_at(self, value: Any) -> None:
        """Returns when nothing is wrong with a decoded prediction.

        Raises:
            Refused: when the metric would not take it, whatever the reference.
            StorageFailure, PermissionError: when the storage fails.
        """
        metric = self._metric
        if isinstance(metric, FrameMetric):
            for _ in metric.read(metric.read_prediction(value)):
                pass
        elif isinstance(metric, FeatureMean) and _needs_no_reference(metric):
            metric.measure(value, None, self._files)
        elif metric.payload == "features":
            self._look_at_features(value)
        elif isinstance(metric, StructureMetric) and _reads_predictions(metric):
            metric.read_prediction(value)
        else:
            for file in _files_of(value):
                _decode(file)

    def _look_at_features(self, value: Any) -> None:
        if not is_file(value) and not isinstance(value, list):
            return
        for block in self._files.blocks(value):
            width = block.shape[-1] if block.ndim else 1
            if self._width is not None and width != self._width:
                raise Refused(f"the first features are of width {self._width}, these of {width}")
        self._width = width


def _needs_no_reference(metric: FeatureMean) -> bool:
    return type(metric).read_reference is FeatureMean.read_reference


def _reads_predictions(metric: StructureMetric) -> bool:
    return type(metric).read_prediction is not StructureMetric.read_prediction


def _files_of(value: Any) -> Iterator[Any]:
    if isinstance(value, dict) and "$files" in value:
        yield from ({"$file": file} for file in value["$files"])
    elif is_file(value):
        yield value


def _decode(file: Any) -> None:
    """Opens a file as its suffix says; one of another kind is read."""
    suffix = posixpath.splitext(name_of(file))[1].lower()
    if suffix in IMAGES:
        load_image(file, "label")
    elif suffix in _ARRAYS:
        load_array(file, finite=False)
    else:
        read_bytes(file)
