"""BLEU-1, ROUGE and the label metrics against nltk, rouge_score, scikit-learn and plain loops."""

from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import accuracy_score, f1_score, recall_score

from tasks.metrics import Batch, get_metric
from tests.test_tokenize import word_tokenize

WORDS = [
    *"The cat sat on mat. Dr. Smith can't go. naïve İstanbul ΣΑΣ straße 日本 1,000 3.14 wait... what? "
    '"quoted" it\'s done, running runs easily! \x1c \u2003 a a a \u200b 😀 \x00 <p> generously'.split(
        " "
    ),
    "",
    "\n",
]
SMOOTH = SmoothingFunction().method4
ROUGE = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)


def batch(predictions, references, task_type="") -> Batch:
    return Batch(
        pl.Series(predictions, dtype=pl.String),
        pl.Series(references, dtype=pl.List(pl.String)),
        task_type,
    )


def varied(count=1500, seed=3):
    rng = random.Random(seed)

    def text():
        return " ".join(rng.choices(WORDS, k=rng.randint(0, 14)))

    predictions = [text() for _ in range(count)]
    references = [[text() for _ in range(rng.randint(1, 3))] for _ in range(count)]
    for i in range(0, count, 7):
        references[i][-1] = f" {predictions[i]}\n" if i % 2 else predictions[i]
    return predictions, references


def bleu(prediction, reference):
    tokens = word_tokenize(prediction)
    return sentence_bleu(
        [word_tokenize(reference)], tokens, weights=(1, 0, 0, 0), smoothing_function=SMOOTH
    )


def token_f1(prediction, reference):
    p, r = prediction.strip().split(), reference.strip().split()
    common = len(set(p) & set(r))
    if not common:
        return 0.0
    precision, recall = common / len(p), common / len(r)
    return 2 * precision * recall / (precision + recall)


REFERENCE = {
    "bleu_1": bleu,
    "rouge_1": lambda p, r: ROUGE.score(r, p)["rouge1"].fmeasure,
    "rouge_l": lambda p, r: ROUGE.score(r, p)["rougeL"].fmeasure,
    "accuracy": lambda p, r: float(p.strip() == r.strip()),
    "em_at_1": lambda p, r: float(p.strip() == r.strip()),
    "token_f1": token_f1,
}


@pytest.mark.parametrize("metric_id", sorted(REFERENCE))
def test_best_reference_metrics_agree_on_1500_varied_instances(metric_id):
    predictions, references = varied()
    metric = get_metric(metric_id)
    stats = metric.compute(batch(predictions, references))
    expected = [
        max(REFERENCE[metric_id](p, r) for r in rs)
        for p, rs in zip(predictions, references, strict=True)
    ]
    assert stats["score"].to_list() == pytest.approx(expected, abs=1e-12)
    assert metric.aggregate(stats) == pytest.approx(sum(expected) / len(expected), abs=1e-12)
    assert 0 < metric.aggregate(stats) < 1


@settings(max_examples=250, deadline=None)
@given(st.text(), st.text())
def test_any_pair_of_texts(prediction, reference):
    one = batch([prediction], [[reference]])
    for metric_id, function in REFERENCE.items():
        found = get_metric(metric_id).compute(one)["score"][0]
        assert found == pytest.approx(function(prediction, reference), abs=1e-12), metric_id


@pytest.mark.parametrize("metric_id", sorted(REFERENCE))
def test_order_of_rows_never_matters(metric_id):
    predictions, references = varied(200)
    metric = get_metric(metric_id)
    forward = metric.compute(batch(predictions, references))
    backward = metric.compute(batch(predictions[::-1], references[::-1]))
    assert forward["score"].to_list() == backward["score"].to_list()[::-1]


@pytest.mark.parametrize("metric_id", [*sorted(REFERENCE), "micro_f1", "macro_accuracy", "f_score"])
def test_perfect_and_worst(metric_id):
    metric = get_metric(metric_id)
    perfect = batch(["a cat sat", "two dogs ran"], [["a cat sat"], ["x", "two dogs ran"]])
    if metric_id in ("macro_accuracy", "f_score"):
        perfect = batch(["a", "b"], [["a"], ["b"]])
    assert metric.aggregate(metric.compute(perfect)) == pytest.approx(1.0)
    assert metric.aggregate(metric.worst(perfect)) == 0.0
    empty = batch(["", ""], [["a"], ["b"]])
    assert metric.aggregate(metric.compute(empty)) == 0.0


def test_an_unanswered_empty_reference_is_still_wrong():
    for metric_id in REFERENCE:
        metric = get_metric(metric_id)
        assert metric.aggregate(metric.worst(batch([""], [[""]]))) == 0.0


def labels(seed=4, count=1200):
    rng = random.Random(seed)
    names = ["Person", "place", "TIME", "müller", "é", "a b"]
    expected = [rng.sample(names, rng.randint(1, 4)) for _ in range(count)]
    found = [
        [n.upper() if rng.random() < 0.3 else n for n in e if rng.random() < 0.7]
        + rng.sample(names, rng.randint(0, 2))
        for e in expected
    ]
    return found, expected


def test_micro_f1_agrees_with_scikit_learn():
    from sklearn.preprocessing import MultiLabelBinarizer

    found, expected = labels()
    lowered = (
        [{x.lower() for x in row} for row in found],
        [{x.lower() for x in row} for row in expected],
    )
    binarise = MultiLabelBinarizer().fit([*lowered[0], *lowered[1]])
    want = f1_score(*(binarise.transform(rows) for rows in reversed(lowered)), average="micro")
    metric = get_metric("micro_f1")
    given_ = batch(["<p>".join(r) for r in found], [[", ".join(r)] for r in expected], "ner")
    assert metric.aggregate(metric.compute(given_)) == pytest.approx(want, abs=1e-12)
    separated = batch(["<p>".join(r) for r in found], [["<p>".join(r)] for r in expected])
    assert metric.aggregate(metric.compute(separated)) == pytest.approx(want, abs=1e-12)


def test_micro_f1_of_the_published_profile_does_not_lower_predictions():
    found, expected = labels()
    tp = fp = fn = 0
    for f, e in zip(found, expected, strict=True):
        p, r = set("<p>".join(f).strip().split("<p>")), {x.lower() for x in e}
        tp, fp, fn = tp + len(p & r), fp + len(p - r), fn + len(r - p)
    given_ = batch(["<p>".join(r) for r in found], [[", ".join(r)] for r in expected], "ner")
    metric = get_metric("micro_f1_published")
    want = 2 * tp / (2 * tp + fp + fn)
    assert metric.aggregate(metric.compute(given_)) == pytest.approx(want, abs=1e-12)
    assert want < get_metric("micro_f1").aggregate(get_metric("micro_f1").compute(given_))


def test_class_metrics_agree_with_scikit_learn():
    rng = random.Random(5)
    names = ["sarcastic", "literal", "unclear"]
    expected = rng.choices(names, k=1000)
    found = [e if rng.random() < 0.6 else rng.choice([*names, "", "none"]) for e in expected]
    given_ = batch(found, [[e] for e in expected])
    macro, weighted = get_metric("macro_accuracy"), get_metric("f_score")
    assert macro.aggregate(macro.compute(given_)) == pytest.approx(
        recall_score(expected, found, average="macro", labels=names), abs=1e-12
    )
    assert weighted.aggregate(weighted.compute(given_)) == pytest.approx(
        f1_score(expected, found, average="weighted", labels=names), abs=1e-12
    )
    accuracy = get_metric("accuracy")
    assert accuracy.aggregate(accuracy.compute(given_)) == pytest.approx(
        accuracy_score(expected, found), abs=1e-12
    )
