"""Classifiers of pixels, and objects made of pixels: what several tasks' algorithms share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from .core import SEED


def features(image: np.ndarray) -> np.ndarray:
    """Smoothed values, slopes and local spreads of each pixel, (height, width, 12)."""
    image = np.asarray(image, dtype=float)
    maps = [image]
    for sigma in (1, 2, 4):
        mean = ndimage.gaussian_filter(image, sigma)
        spread = ndimage.gaussian_filter((image - mean) ** 2, sigma) ** 0.5
        maps += [mean, spread, ndimage.gaussian_gradient_magnitude(image, sigma)]
    maps += [ndimage.gaussian_laplace(image, 1), ndimage.gaussian_laplace(image, 2)]
    return np.stack(maps, axis=-1)


def forest(**options: Any):
    from sklearn.ensemble import ExtraTreesClassifier

    settings = {"n_estimators": 40, "min_samples_leaf": 5} | options
    return ExtraTreesClassifier(random_state=SEED, **settings)


def boosting(**options: Any):
    from sklearn.ensemble import HistGradientBoostingClassifier

    settings = {"max_iter": 60, "max_leaf_nodes": 15} | options
    return HistGradientBoostingClassifier(random_state=SEED, **settings)


class PixelClassifier:
    """A classifier of scikit-learn over the features of single pixels."""

    def __init__(self, model: Any, images: Sequence[np.ndarray], labels: Sequence[np.ndarray]):
        rows = np.concatenate([features(image).reshape(-1, 12) for image in images])
        self.model = model.fit(rows, np.concatenate([np.ravel(label) for label in labels]))

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """(height, width, classes)."""
        found = self.model.predict_proba(features(image).reshape(-1, 12))
        return found.reshape(*image.shape, -1)


def parts(mask: np.ndarray, smallest: int) -> list[np.ndarray]:
    """Connected components of a mask, touching corners included."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    found = [labels == k for k in range(1, count + 1)]
    return [part for part in found if part.sum() >= smallest]


def box(mask: np.ndarray) -> list[int]:
    """[x, y, width, height] of a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    y, x = int(rows[0]), int(columns[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def ink(digit: np.ndarray, size: int) -> np.ndarray:
    """A digit of 8 x 8 enlarged to size x size, 0..1."""
    return np.clip(ndimage.zoom(digit, size / 8, order=1, grid_mode=True, mode="nearest"), 0, 1)


#: Ink from which a pixel belongs to the digit.
SOLID = 0.4


def place(random: np.random.Generator, canvas: np.ndarray, taken: np.ndarray, size: int):
    """A free place for a digit of a size, or None if there is none in 50 tries."""
    for _ in range(50):
        y, x = (int(random.integers(side - size + 1)) for side in canvas.shape)
        if not taken[y : y + size, x : x + size].any():
            return y, x
    return None
