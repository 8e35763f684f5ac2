"""The real data: what the wheels of installed packages carry."""

from __future__ import annotations

import functools

import numpy as np
from wheels import series

DIGITS = "scikit-learn digits"
PHOTOGRAPHS = "scikit-image photographs"
TEXTURES = "scikit-image textures"
PAGE = "scikit-image page"
HORSE = "scikit-image horse"
STEREO = "Middlebury motorcycle"
VOWELS = "JapaneseVowels"
TERRAIN = "Jacksboro fault elevation"


@functools.cache
def photo(name: str, shrink: int = 2) -> np.ndarray:
    """A photograph in grey, 0..255, shrunk by block means."""
    from skimage import data
    from skimage.transform import downscale_local_mean

    picture = getattr(data, name)().astype(float)
    if picture.ndim == 3:
        picture = picture[..., :3] @ [0.299, 0.587, 0.114]
    return downscale_local_mean(picture, (shrink, shrink)) if shrink > 1 else picture


def crops(names: tuple[str, ...], size: int, count: int, random: np.random.Generator) -> np.ndarray:
    """Square pieces of photographs at random places, of some contrast, (count, size, size)."""
    found = []
    while len(found) < count:
        picture = photo(names[int(random.integers(len(names)))])
        y, x = (int(random.integers(side - size + 1)) for side in picture.shape)
        piece = picture[y : y + size, x : x + size]
        if piece.std() > 15:
            found.append(piece)
    return np.stack(found)


@functools.cache
def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits (n, 8, 8) of 0..1 and their labels: 1200 for training, the rest to test."""
    from sklearn.datasets import load_digits

    found = load_digits()
    part = slice(0, 1200) if split == "train" else slice(1200, None)
    return found.images[part] / 16, found.target[part]


def texture(name: str, split: str) -> np.ndarray:
    """The left part of a texture for training, the right part to test; shrunk to half."""
    picture = photo(name)
    return picture[:, :120] if split == "train" else picture[:, 136:]


def stereo() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left and right picture in grey uint8 and the disparity of the left, NaN where unknown."""
    from skimage import data

    left, right, disparity = data.stereo_motorcycle()
    grey = [
        np.rint(side[..., :3] @ [0.299, 0.587, 0.114]).astype(np.uint8) for side in (left, right)
    ]
    return grey[0], grey[1], np.where(np.isfinite(disparity), disparity, np.nan)


@functools.cache
def utterances(split: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Cepstra (frames, 12) of vowels and the numbers 1 to 9 of their speakers."""
    arrays, speakers = series("JapaneseVowels", split)
    return [array.astype(np.float16) for array in arrays], np.array(speakers, dtype=int)
