"""Embedding scores: CLIP and CLAP similarities of a generation with its prompt, style or image."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.media import Array, Refused
from tasks.metrics.base import register
from tasks.metrics.features import ArrayFiles, FeatureMean


class _EmbeddingScore(FeatureMean):
    """Cosine similarity, not below 0, mean over the instances; 0..1, shown times 100.

    Prediction: an embedding (d,), or (n, d) of n frames, views or segments; a list of numbers, or a
    .npy, .npz or .parquet file, also one `row` of it. Reference: the embedding (d,) of the text,
    style or image, or (m, d) of several. An instance's score is max(0, mean of the n x m cosines):
    only the mean is cut at 0, so that a frame which points away weighs against the others. Length
    of a vector does not matter; one of zeros has no direction and is refused.

    A similarity that was computed elsewhere is taken under `{"score": x}` alone, on the printed
    scale 0..100 (a list: mean); it needs no reference, which may then be null. A bare number is
    refused: -1..1 and 0..100 cannot be told apart.

    arXiv:2104.08718 (CLIPScore) without its factor of 2.5, as torchmetrics' `CLIPScore` has it.
    """

    def read_reference(self, value: Any, files: ArrayFiles) -> Array | None:
        return None if value is None else _directions(files.load(value))

    def measure(self, prediction: Any, reference: Array | None, files: ArrayFiles) -> float:
        if isinstance(prediction, dict) and set(prediction) == {"score"}:
            scores = files.load(prediction["score"])
            if scores.ndim > 1 or scores.min() < 0 or scores.max() > 100:
                raise Refused('expected "score" to be a number or a list of numbers in 0..100')
            return float(scores.mean(dtype=np.float64)) / 100
        given = _directions(files.load(prediction))
        if reference is None:
            raise Refused('there is no reference embedding: expected {"score": 0..100}')
        if given.shape[1] != reference.shape[1]:
            raise Refused(
                f"expected an embedding of {reference.shape[1]} numbers, found {given.shape[1]}"
            )
        cosine = float(given.mean(axis=0) @ reference.mean(axis=0))
        # Rounding may carry the cosine of equal vectors above 1.
        return min(max(cosine, 0.0), 1.0)


def _directions(embeddings: Array) -> Array:
    """Unit vectors (n, d) of an embedding (d,) or of several (n, d)."""
    if embeddings.ndim not in (1, 2):
        shape = " x ".join(map(str, embeddings.shape)) or "one number"
        raise Refused(f"expected an embedding (d,) or several (n, d), found {shape}")
    vectors = np.atleast_2d(embeddings).astype(np.float64)
    # Scaled by the largest number first: squares of very large or small ones leave the range.
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    if not largest.all():
        raise Refused("an embedding is all zeros: it has no direction")
    vectors /= largest
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@register
class ClipScore(_EmbeddingScore):
    """CLIP score of images (or renderings, frames) and the text of the prompt; 0..1."""

    id = "clip_score"


@register
class ClipImageScore(_EmbeddingScore):
    """CLIP similarity of images (or renderings) and the input or target images; 0..1."""

    id = "clip_image_score"


@register
class ClipStyle(_EmbeddingScore):
    """CLIP similarity of the frames and the style images (StyleCrafter, arXiv:2312.00330); 0..1."""

    id = "clip_style"


@register
class ClapScore(_EmbeddingScore):
    """CLAP score of audio and the text of the prompt (arXiv:2211.06687); 0..1."""

    id = "clap_score"


@register
class StyleClap(_EmbeddingScore):
    """CLAP score of audio and the text of the style; 0..1."""

    id = "style_clap"


@register
class DinoScore(_EmbeddingScore):
    """DINO similarity of images (or frames) and the input or target images; 0..1."""

    id = "dino_score"
