"""Label metrics: accuracy, exact match, token F1 and micro-F1, on whole columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from tasks.metrics.bags import (
    Bags,
    Integers,
    Pairs,
    cut,
    distinct_sizes,
    numbered,
    renamed,
    shared,
    without_empty,
)
from tasks.metrics.base import Batch, Floats, MeanMetric, Metric, SumsMetric, register
from tasks.metrics.samples import Samples

#: What Python's `str.strip()` and `str.split()` take for white space (`str.isspace`).
WHITE_SPACE = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
#: One or more of them, and what of them is more than single spaces between words.
_SPACES = f"[{WHITE_SPACE}]+"
_UNEVEN_SPACE = f"[{WHITE_SPACE.replace(' ', '')}]|  |^ | $"

#: Annotation types whose references are several labels joined by comma and space.
_MULTI_LABEL_TYPES = frozenset(
    {
        "multi label classification",
        "ner",
        "extraction",
        "relation extraction",
        "event detection",
        "parsing",
    }
)
_SEPARATOR = "<p>"
#: What a weighted F-score keeps of an instance, as JSON.
_PAIR = pl.Struct({"expected": pl.String, "predicted": pl.String})


class _ExactMatch(MeanMetric):
    """1 where the stripped prediction equals a stripped reference, else 0. Case counts.

    Only white space around the answer is forgiven: `60%` does not match `60`, nor `b` match `B`.
    """

    def compute(self, batch: Batch) -> pl.DataFrame:
        pairs = Pairs.of(batch)
        equal = (pairs.predictions == pairs.references).to_numpy(writable=True)
        # What is equal as it stands need not be stripped.
        others = np.flatnonzero(~equal)
        given, expected = (
            texts.gather(others).str.strip_chars(WHITE_SPACE)
            for texts in (pairs.predictions, pairs.references)
        )
        equal[others] = (given == expected).to_numpy()
        return pairs.best(equal.astype(np.float64))


@register
class Accuracy(_ExactMatch):
    """Share of instances answered exactly (after strip, any of the references); 0..1."""

    id = "accuracy"


@register
class ExactMatchAt1(_ExactMatch):
    """EM@1 of 3D question answering: the single answer equals one of the references; 0..1.

    ScanQA (Azuma et al. 2022) takes the top answer of a ranked list; a prediction here is that one
    answer, so EM@1 is accuracy under its own name.
    """

    id = "em_at_1"


@register
class MacroAccuracy(Metric):
    """Mean over the classes of the accuracy within the class; 0..1.

    An instance's class is its first reference, stripped. Classes without instances do not exist.
    """

    id = "macro_accuracy"
    statistics = ("score",)

    def compute(self, batch: Batch) -> pl.DataFrame:
        return Accuracy().compute(batch).with_columns(group=_first_reference(batch))

    def worst(self, batch: Batch) -> pl.DataFrame:
        zeros = pl.zeros(len(batch.references), pl.Float64, eager=True)
        return pl.DataFrame({"score": zeros, "group": _first_reference(batch)})

    def aggregate(self, stats: pl.DataFrame) -> float:
        classes = stats.group_by("group").agg(pl.col("score").mean()).sort("group")
        return float(classes["score"].mean())  # type: ignore[arg-type]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return stats["score"]

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        member = _membership(stats["group"], stats["group"].unique())
        sizes = drawn.counts @ member
        right = drawn.counts @ (member * stats["score"].to_numpy()[:, None])
        means = np.divide(right, sizes, out=np.zeros_like(right), where=sizes > 0)
        return means.sum(axis=1) / (sizes > 0).sum(axis=1)


def _membership(labels: pl.Series, classes: pl.Series) -> Floats:
    """1 where an instance is of a class, else 0: shape (instances, classes)."""
    number = {label: i for i, label in enumerate(classes.to_list())}
    member = np.zeros((len(labels), len(number)))
    place = [(i, number[label]) for i, label in enumerate(labels.to_list()) if label in number]
    member[tuple(zip(*place, strict=True))] = 1.0
    return member


def _first_reference(batch: Batch) -> pl.Series:
    first = batch.references.list.first().cast(pl.String)
    return first.str.strip_chars(WHITE_SPACE).alias("group")


@register
class WeightedFScore(Metric):
    """F-score of classification: each class's F1, weighted by its number of instances; 0..1.

    As `sklearn.metrics.f1_score(average="weighted")`, and as MUStARD reports it (arXiv:1906.01815,
    section 5). A prediction is right when it equals any reference, case ignored; otherwise it counts
    against the class that it names. An instance's class is its first reference.
    """

    id = "f_score"
    statistics = ("score",)

    def compute(self, batch: Batch) -> pl.DataFrame:
        pairs = Pairs.of(batch)
        text, texts = numbered(pairs.texts())
        stripped = pl.Series(texts, dtype=pl.String).str.strip_chars(WHITE_SPACE)
        label, labels = numbered(stripped.str.to_lowercase())
        given, expected = np.split(label[text], 2)
        firsts = pairs.firsts()
        scores = pairs.best((given == expected).astype(np.float64))
        first = expected[firsts]
        predicted = np.where(scores["score"].to_numpy() > 0, first, given[firsts])
        return scores.with_columns(group=_joined(first, predicted, labels))

    def worst(self, batch: Batch) -> pl.DataFrame:
        stats = self.compute(Batch(batch.silence(), batch.references))
        return stats.with_columns(
            score=pl.lit(0.0),
            group=pl.struct(
                expected=_classes(stats)["expected"], predicted=pl.lit(None, pl.String)
            ).struct.json_encode(),
        )

    def aggregate(self, stats: pl.DataFrame) -> float:
        # Of equal pairs one is decoded for all.
        classes = _classes(stats.group_by("group").agg(count=pl.len()))
        count = pl.col("count").sum()
        right = classes.filter(pl.col("expected") == pl.col("predicted"))
        tp = right.group_by(label="expected").agg(tp=count)
        named = classes.drop_nulls("predicted").group_by(label="predicted").agg(named=count)
        support = classes.group_by(label="expected").agg(support=count)
        f1 = (
            support.join(tp, on="label", how="left")
            .join(named, on="label", how="left")
            .fill_null(0)
            .sort("label")
            .select(
                f1=2 * pl.col("tp") / (pl.col("named") + pl.col("support")),
                support=pl.col("support"),
            )
        )
        return float((f1["f1"] * f1["support"]).sum()) / stats.height

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return stats["score"]

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        classes = _classes(stats)
        every = classes["expected"].unique()
        expected = _membership(classes["expected"], every)
        predicted = _membership(classes["predicted"], every)
        support, named = drawn.counts @ expected, drawn.counts @ predicted
        right = drawn.counts @ (expected * predicted)
        f1 = np.divide(2 * right, named + support, out=np.zeros_like(right), where=support > 0)
        return (f1 * support).sum(axis=1) / drawn.instances


def _joined(expected: Integers, predicted: Integers, labels: Sequence[str]) -> pl.Series:
    """Pairs of classes, by their numbers, as a weighted F-score keeps them in `group`."""
    pair, pairs = numbered(pl.Series(expected * len(labels) + predicted))
    sides = np.divmod(np.array(pairs, np.int64), max(1, len(labels)))
    names = pl.Series(labels, dtype=pl.String)
    columns = zip(("expected", "predicted"), sides, strict=True)
    frame = pl.DataFrame([names.gather(side).alias(name) for name, side in columns])
    return frame.select(pl.struct(pl.all()).struct.json_encode())[:, 0].gather(pair)


def _classes(stats: pl.DataFrame) -> pl.DataFrame:
    """The statistics with the expected and predicted class that a weighted F-score keeps in `group`."""
    return stats.with_columns(pl.col("group").str.json_decode(_PAIR)).unnest("group")


@register
class TokenF1(MeanMetric):
    """Token F1 as published for open question answering, best reference, mean; 0..1.

    Tokens are split at white space. The overlap counts *distinct* shared tokens, while precision and
    recall divide by all tokens, repeats included (`processors/nlp_processor.py`, `compute_f1`).
    """

    id = "token_f1"

    def compute(self, batch: Batch) -> pl.DataFrame:
        pairs = Pairs.of(batch)
        given, expected = words(pairs.predictions), words(pairs.references)
        shared_words = given.list.set_intersection(expected).list.len().fill_null(0)
        common = shared_words.to_numpy().astype(np.int64)
        # 2PR / (P + R) with P = common / |p| and R = common / |r|, in the published order.
        precision, recall = (
            common / side.list.len().fill_null(0).clip(1).to_numpy() for side in (given, expected)
        )
        return pairs.best(2 * precision * recall / np.where(common > 0, precision + recall, 1))


def words(texts: pl.Series) -> pl.Series:
    """The words between white space of each text (List(String)), null where there are none."""
    if texts.str.contains(_UNEVEN_SPACE).any():
        texts = texts.str.replace_all(_SPACES, " ").str.strip_chars(" ")
    split = pl.when(pl.col("text") != "").then(pl.col("text").str.split(" "))
    return pl.DataFrame({"text": texts}).select(split).to_series()


@register
class MicroF1(SumsMetric):
    """Micro-F1 over label sets: 2 TP / (2 TP + FP + FN), pooled over instances; 0..1.

    Labels are separated by `<p>`, stripped and lower-cased on both sides. References of the
    multi-label types are also separated by comma and space. Several references: the one that
    shares most labels with the prediction (fewest errors among equals). Empty labels are dropped.
    """

    id = "micro_f1"
    statistics = ("tp", "fp", "fn")

    def compute(self, batch: Batch) -> pl.DataFrame:
        return self._counts(batch, batch.predictions)

    def worst(self, batch: Batch) -> pl.DataFrame:
        return self._counts(batch, batch.silence())

    def _counts(self, batch: Batch, predictions: pl.Series) -> pl.DataFrame:
        multi = batch.task_type in _MULTI_LABEL_TYPES
        pairs = Pairs.of(Batch(predictions, batch.references, batch.task_type))
        predicted, expected = self._label_sets(pairs, commas_in_references=multi).halves()
        tp = shared(predicted, expected, distinct=True)
        counts = pl.DataFrame(
            {
                "row": pairs.row,
                "tp": tp.astype(np.float64),
                "fp": (distinct_sizes(predicted) - tp).astype(np.float64),
                "fn": (distinct_sizes(expected) - tp).astype(np.float64),
            }
        )
        if len(pairs) > len(predictions):
            counts = counts.sort(
                ["row", "tp", "fn"], descending=[False, True, False], maintain_order=True
            ).unique("row", keep="first", maintain_order=True)
        return counts.select(self.statistics)

    def _label_sets(self, pairs: Pairs, *, commas_in_references: bool) -> Bags:
        is_prediction = pl.int_range(pl.len()) < len(pairs)
        text = self._cased(pl.col("text"), is_prediction)
        if commas_in_references:
            split = text.str.replace_all(", ", _SEPARATOR, literal=True)
            text = pl.when(is_prediction).then(text).otherwise(split)
        return self._cut(pairs.texts(), text)

    def _cased(self, text: pl.Expr, is_prediction: pl.Expr) -> pl.Expr:
        return text.str.to_lowercase()

    def _cut(self, texts: pl.Series, text: pl.Expr) -> Bags:
        labels = cut(texts, text.str.split(_SEPARATOR))
        return without_empty(renamed(labels, [name.strip() for name in labels.names]))

    def score_of(self, sums: Mapping[str, float]) -> float:
        tp = sums["tp"]
        return 2 * tp / (2 * tp + sums["fp"] + sums["fn"]) if tp else 0.0

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        tp, errors = stats["tp"], stats["fp"] + stats["fn"]
        total = 2 * tp + errors
        return pl.select(pl.when(total > 0).then(2 * tp / total).otherwise(0.0))[:, 0]


@register
class MicroF1Published(MicroF1):
    """Micro-F1 as published: references are lower-cased, predictions are not; a text is stripped as
    a whole and not label by label; an empty text is one empty label."""

    id = "micro_f1_published"

    def _cased(self, text: pl.Expr, is_prediction: pl.Expr) -> pl.Expr:
        return pl.when(is_prediction).then(text).otherwise(text.str.to_lowercase())

    def _cut(self, texts: pl.Series, text: pl.Expr) -> Bags:
        whole = text.str.strip_chars(WHITE_SPACE)
        return cut(texts, whole.str.split(_SEPARATOR), keep_empty=True)
