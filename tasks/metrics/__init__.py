"""Metrics: one family a file, one registry. Importing this package fills the registry."""

from tasks.metrics import codebleu, corpus, edit, label, regression, text
from tasks.metrics.base import Batch, Metric, all_metrics, get_metric, has_metric

__all__ = ["Batch", "Metric", "all_metrics", "get_metric", "has_metric"]
__all__ += ["codebleu", "corpus", "edit", "label", "regression", "text"]
