"""Metrics: one family a file, one registry. Importing this package fills the registry."""

from tasks.metrics import (
    cepstrum,
    codebleu,
    corpus,
    depth_flow,
    detection,
    distribution,
    edit,
    embedding,
    image,
    label,
    panoptic,
    points,
    poses,
    regression,
    relations,
    saliency,
    sample_scores,
    segmentation,
    text,
    tracking,
)
from tasks.metrics.base import Batch, Metric, all_metrics, get_metric, has_metric

__all__ = ["Batch", "Metric", "all_metrics", "get_metric", "has_metric"]
__all__ += [
    "cepstrum",
    "codebleu",
    "corpus",
    "depth_flow",
    "detection",
    "distribution",
    "edit",
    "embedding",
    "image",
    "label",
    "panoptic",
    "points",
    "poses",
    "regression",
    "relations",
    "saliency",
    "sample_scores",
    "segmentation",
    "text",
    "tracking",
]
