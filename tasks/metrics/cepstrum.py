"""Mel-cepstral distortion of generated speech against the recording."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.media import Refused, is_file
from tasks.metrics.base import register
from tasks.metrics.features import ArrayFiles, FeatureMean

#: Pairs of frames beyond which two recordings are refused: a few seconds of alignment and 1.6 GB.
_PAIR_LIMIT = 200_000_000
#: Larger coefficients are refused: their squares must stay inside float64.
_LARGEST = 1e100
_DECIBEL = 10 / math.log(10) * math.sqrt(2)

_Floats = npt.NDArray[np.floating[Any]]


@register
class MelCepstralDistortion(FeatureMean):
    """MCD in dB: 10 / ln 10 * sqrt(2) times the mean distance of aligned cepstra; 0.., lower.

    Prediction and reference: mel-cepstra (frames, coefficients) as nested lists, or a .npy, .npz or
    .parquet file. Coefficient 0, the energy, is left out: it says how loud, not which sound. Where
    the array starts at coefficient 1, say so with `"without_c0": true` beside the file's path, or in
    `{"cepstra": [...], "without_c0": true}`.

    The frames are aligned by dynamic time warping over Euclidean distances, steps (1,1), (1,0) and
    (0,1) of equal weight; the mean is over the pairs of the cheapest path (of several, the shortest).
    The task's score is the mean over the instances; an unanswered one makes it +inf.

    Kubichek 1993 (doi:10.1109/PACRIM.1993.407206). The published scorer calls pymcd in the mode
    "plain", which pads the shorter recording instead of aligning the two.
    """

    id = "mcd"
    is_fraction = False
    unanswered = math.inf

    def read_reference(self, value: Any, files: ArrayFiles) -> _Floats:
        return _cepstra(value, files)

    def measure(self, prediction: Any, reference: _Floats, files: ArrayFiles) -> float:
        from scipy.spatial.distance import cdist

        given = _cepstra(prediction, files)
        if given.shape[1] != reference.shape[1]:
            raise Refused(
                f"expected {reference.shape[1]} coefficients without c0, found {given.shape[1]}"
            )
        if len(given) * len(reference) > _PAIR_LIMIT:
            raise Refused(f"{len(given)} and {len(reference)} frames are too many to align")
        return _DECIBEL * mean_aligned(cdist(given, reference))


def _cepstra(value: Any, files: ArrayFiles) -> _Floats:
    """Coefficients 1 and up, (frames, coefficients)."""
    without_c0 = isinstance(value, dict) and value.get("without_c0", False)
    if isinstance(value, dict) and not is_file(value) and "cepstra" in value:
        value = value["cepstra"]
    array = files.load(value)
    if array.ndim != 2:
        shape = " x ".join(map(str, array.shape)) or "one number"
        raise Refused(f"expected cepstra (frames, coefficients), found {shape}")
    cepstra = array.astype(np.float64)
    if np.abs(cepstra).max() > _LARGEST:
        raise Refused(f"a coefficient is beyond {_LARGEST:g}")
    cepstra = cepstra if without_c0 else cepstra[:, 1:]
    if not cepstra.shape[1]:
        raise Refused("there is no coefficient beside c0")
    return cepstra


def mean_aligned(distances: _Floats) -> float:
    """Mean of the distances (n, m) along the cheapest warping path from corner to corner.

    A cell needs its neighbours above, left and diagonally before: all cells of one anti-diagonal can
    be made at once from the two diagonals before. Row i of a diagonal stands at index i + 1, with
    +inf around.
    """
    n, m = distances.shape
    flat = np.ascontiguousarray(distances).ravel()
    costs = [np.full(n + 1, np.inf) for _ in range(3)]
    lengths = [np.zeros(n + 1) for _ in range(3)]
    costs[0][0] = 0.0
    # Diagonal k holds the cells (i, k - i): k = -2 is the start, before the corner.
    for k in range(n + m - 1):
        low, high = max(0, k - m + 1), min(n, k + 1)
        (before2, before, now), (steps2, steps, ahead) = costs, lengths
        here, above = slice(low + 1, high + 1), slice(low, high)
        # Corner-wise, the cell (i, k - i) has (i - 1, k - i - 1) two diagonals before.
        diagonal, up, left = before2[above], before[above], before[here]
        best = np.minimum(np.minimum(diagonal, up), left)
        shortest = np.where(diagonal == best, steps2[above], np.inf)
        np.minimum(shortest, np.where(up == best, steps[above], np.inf), out=shortest)
        np.minimum(shortest, np.where(left == best, steps[here], np.inf), out=shortest)
        now.fill(np.inf)
        # (i, k - i) lies at i * m + k - i of the flat array.
        first = low * (m - 1) + k
        cells = (
            flat[first : first + (high - low - 1) * (m - 1) + 1 : m - 1]
            if m > 1
            else flat[k : k + 1]
        )
        now[here] = best + cells
        ahead[here] = shortest + 1
        costs = [before, now, before2]
        lengths = [steps, ahead, steps2]
    return float(costs[1][n] / lengths[1][n])
