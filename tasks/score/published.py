"""The `published` profile: which metric the published scorer computes for a task.

The published scorer (path2generalist/General-Level, `processors/nlp_processor.py`) chooses a
language task's metric by the annotation's `type`, and writes the figure only where its name equals
the one in its task table; otherwise the figure vanishes. Other modalities use the task's metric.
"""

from __future__ import annotations

#: Annotation type (lower-cased) -> the metric that the published scorer computes for it.
_LANGUAGE_METRICS = {
    "multiplechoiceqa": "accuracy",
    "openqa": "token_f1",
    "summarization": "rouge_1",
    "translation": "rouge_1",
    "story generation": "bleu_1",
    "dialogue": "bleu_1",
    "paraphrase generation": "bleu_1",
    "grammar correction": "bleu_1",
    "text style transfer": "bleu_1",
    "table-to-text generation": "bleu_1",
    "code generation": "codebleu",
    "code repair": "codebleu",
    "code defect detection": "accuracy",
    "text to sql": "accuracy",
    "code explanation": "bleu_1",
    "proof": "bleu_1",
    "mathematical word problem solving": "accuracy",
    "time series": "mae",
    "classification": "micro_f1",
    "multiple choice": "micro_f1",
    "multi label classification": "micro_f1",
    "ner": "micro_f1",
    "extraction": "micro_f1",
    "relation extraction": "micro_f1",
    "event detection": "micro_f1",
    "parsing": "micro_f1",
}

#: Where the published computation differs from ours, the metric that reproduces it.
_PUBLISHED_VARIANTS = {"micro_f1": "micro_f1_published"}


def published_metric(modality: str, task_type: str, metric_id: str) -> str | None:
    """The metric id that reproduces the published figure, or None where none is written.

    Args:
        modality: the task's modality, e.g. `language`.
        task_type: the annotation's `type`; unknown types fall to token F1, as published.
        metric_id: the task's metric in the catalogue.
    """
    if modality != "language":
        return metric_id
    computed = _LANGUAGE_METRICS.get(task_type.strip().lower(), "token_f1")
    if computed != metric_id:
        return None
    return _PUBLISHED_VARIANTS.get(computed, computed)
