"""Recall of relation triples: scene graphs and spatial relations."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tasks.media import Refused
from tasks.metrics.base import StructureMetric, register
from tasks.metrics.boxes import (
    Floats,
    box_iou,
)
from tasks.metrics.detected import (
    BOXES,
    LABELS,
    Boxes,
    Entry,
    Objects,
    first_of,
    has_any,
    scores_of,
    value_of,
)
from tasks.metrics.samples import Samples


@dataclass(frozen=True, slots=True)
class _Relation:
    """A relation triple: its texts, and the boxes of subject and object if it has both."""

    texts: tuple[str, str, str]
    score: float
    boxes: Floats | None


_PARTS = (("subject",), ("predicate", "relation"), ("object",))


@register
class RecallAt50(StructureMetric):
    """R@50: share of an image's relations among the 50 most confident predicted, mean; 0..1.

    As in scene graph generation (arXiv:1608.00187, arXiv:1711.06640). A prediction is a list of
    triples [subject, predicate, object(, score)] of texts, or of objects {"subject", "predicate" or
    "relation", "object", "score"}, the list itself or under "relations", "relationships" or
    "triples". Subject and object may be {"label", "box" or "bbox"}. References are the same; their
    scores are not looked at.

    Texts are equal regardless of case and spacing. Where a reference and a prediction both have the
    boxes of subject and object, each must also have an IoU of 0.5 or more. Equal scores (1 if
    absent) keep the order given. A relation is found or not: naming it twice gains nothing. Images
    without relations do not count; if there are no others the score is 0.
    """

    id = "recall_at_50"
    payload = "json"
    statistics = ("found", "relations")

    def read_prediction(self, value: Any) -> list[_Relation]:
        relations = _relations(value)
        return sorted(relations, key=lambda relation: -relation.score)[:50]

    def read_reference(self, value: Any) -> list[_Relation]:
        return _relations(value)

    def measure(
        self, prediction: list[_Relation], reference: list[_Relation]
    ) -> tuple[float, float]:
        named: dict[tuple[str, str, str], list[_Relation]] = defaultdict(list)
        for relation in prediction:
            named[relation.texts].append(relation)
        found: set[int] = set()
        compared: list[int] = []
        boxes: tuple[list[Floats], list[Floats]] = [], []
        for number, relation in enumerate(reference):
            for given in named.get(relation.texts, ()):
                if relation.boxes is None or given.boxes is None:
                    found.add(number)
                else:
                    compared.append(number)
                    boxes[0].append(given.boxes)
                    boxes[1].append(relation.boxes)
        if compared:
            sides = [np.concatenate(side) for side in boxes]
            overlap = box_iou(sides[0], sides[1], np.zeros(len(sides[0]), dtype=bool))
            near = (overlap.reshape(-1, 2) >= 0.5).all(axis=1)
            found.update(np.array(compared)[near].tolist())
        return float(len(found)), float(len(reference))

    def measure_worst(self, reference: list[_Relation]) -> tuple[float, float]:
        return 0.0, float(len(reference))

    def aggregate(self, stats: pl.DataFrame) -> float:
        mean = self.instance_scores(stats).mean()
        return float(mean) if mean is not None else 0.0  # type: ignore[arg-type]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        share = pl.col("found") / pl.col("relations")
        return stats.select(pl.when(pl.col("relations") > 0).then(share)).to_series()

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        return drawn.means(self.instance_scores(stats))


def _relations(value: Any) -> list[_Relation]:
    value = value_of(value)
    if isinstance(value, dict):
        listed = first_of(value, ("relations", "relationships", "triples"))
        value = [value] if listed is None else listed
    elif isinstance(value, list) and value and isinstance(value[0], str):
        value = [value]
    if not isinstance(value, list):
        raise Refused("expected a list of triples [subject, predicate, object]")
    parts = [_parts(item) for item in value]
    scores = scores_of([{"score": score} for *_, score in parts]).tolist()
    boxed = [all(has_any(end, BOXES) for end in ends) for _, ends, _ in parts]
    ends = [end for (_, ends, _), yes in zip(parts, boxed, strict=True) if yes for end in ends]
    pairs = iter(Boxes().read(Objects.of([ends]), scored=False).reshape(-1, 2, 5))
    return [
        _Relation(texts, score, next(pairs) if yes else None)
        for (texts, *_), score, yes in zip(parts, scores, boxed, strict=True)
    ]


def _parts(item: Any) -> tuple[tuple[str, str, str], list[Entry], Any]:
    """Texts of a triple, its subject and object as mappings, and its score."""
    if isinstance(item, list) and len(item) in (3, 4):
        parts, score = item[:3], item[3] if len(item) == 4 else 1.0
    elif isinstance(item, dict):
        parts = [first_of(item, names) for names in _PARTS]
        score = item.get("score", item.get("confidence", 1.0))
    else:
        raise Refused(f"expected [subject, predicate, object], found {item!r:.80}")
    whole = [part if isinstance(part, dict) else {"label": part} for part in parts]
    texts = [first_of(part, (*LABELS, "name")) for part in whole]
    if not all(isinstance(text, str) for text in texts):
        raise Refused(f"expected texts as subject, predicate and object, found {item!r:.80}")
    subject, predicate, target = (" ".join(text.split()).casefold() for text in texts)
    return (subject, predicate, target), [whole[0], whole[2]], score
