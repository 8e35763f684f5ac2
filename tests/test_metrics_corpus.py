"""Corpus BLEU and CIDEr against pycocoevalcap; WER against jiwer; ANLS and errors by definition."""

from __future__ import annotations

import math
import random
from collections import Counter

import jiwer
import numpy as np
import polars as pl
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from sklearn.metrics import mean_absolute_error, mean_squared_error

from tasks.metrics import Batch, get_metric
from tasks.metrics.corpus import cider_words
from tests.test_metrics_text import batch

WORDS = "a the cat dog sat ran on in mat hat red, Blue two naïve 日本 it's 😀 end.".split()


def captions(count=1500, seed=5):
    rng = random.Random(seed)

    def text():
        return " ".join(rng.choices(WORDS, k=rng.randint(0, 12)))

    predictions = [text() for _ in range(count)]
    references = [[text() for _ in range(rng.randint(1, 3))] for _ in range(count)]
    for i in range(0, count, 3):
        predictions[i] = references[i][0]
    return predictions, references


def awkward_captions(count=600):
    """Texts of odd letters, marks and white space, a fifth of them equal to a reference."""
    rng = random.Random(8)
    signs = "aA bΣσ \u0130 \x1c\x85\xa0\u3000\tß😀 .,_"

    def text():
        return "".join(rng.choices(signs, k=rng.randint(0, 25)))

    predictions = [text() for _ in range(count)]
    references = [[text() for _ in range(rng.randint(1, 4))] for _ in predictions]
    for i in range(0, count, 5):
        references[i].append(predictions[i])
    return predictions, references


@pytest.mark.parametrize(("metric_id", "order"), [("bleu_1_corpus", 1), ("bleu_4", 4)])
def test_corpus_bleu_agrees_with_the_coco_evaluation(metric_id, order):
    predictions, references = captions()
    expected, each = Bleu(4).compute_score(
        {i: [r.lower() for r in rs] for i, rs in enumerate(references)},
        {i: [p.lower()] for i, p in enumerate(predictions)},
        verbose=0,
    )
    metric = get_metric(metric_id)
    stats = metric.compute(batch(predictions, references))
    assert metric.aggregate(stats) == pytest.approx(expected[order - 1], abs=1e-12)
    assert metric.instance_scores(stats).to_list() == pytest.approx(each[order - 1], abs=1e-12)
    assert 0.1 < expected[order - 1] < 0.9


@pytest.mark.parametrize(("metric_id", "order"), [("bleu_1_corpus", 1), ("bleu_4", 4)])
def test_corpus_bleu_counts_what_a_loop_over_any_texts_counts(metric_id, order):
    predictions, references = awkward_captions()

    def row(prediction, options):
        words, *others = (t.lower().split() for t in (prediction, *options))
        row = []
        for n in range(1, order + 1):
            grams = Counter(zip(*(words[i:] for i in range(n)), strict=False))
            most = Counter()
            for other in others:
                most |= Counter(zip(*(other[i:] for i in range(n)), strict=False))
            row.append((grams & most).total())
        row += [max(0, len(words) - n) for n in range(order)]
        closest = min((abs(len(o) - len(words)), len(o)) for o in others)[1]
        return tuple(float(value) for value in (*row, len(words), closest))

    metric = get_metric(metric_id)
    given = batch(predictions, references)
    expected = [row(p, r) for p, r in zip(predictions, references, strict=True)]
    assert metric.compute(given).rows() == expected
    assert metric.worst(given).rows() == [row("", options) for options in references]
    assert sum(r[order - 1] for r in expected) > 100


@pytest.mark.parametrize("texts", [captions, awkward_captions])
def test_cider_agrees_with_the_coco_evaluation(texts):
    predictions, references = texts()

    def words(text):
        return " ".join(cider_words(text))

    expected, each = Cider().compute_score(
        {i: [words(r) for r in rs] for i, rs in enumerate(references)},
        {i: [words(p)] for i, p in enumerate(predictions)},
    )
    metric = get_metric("cider")
    stats = metric.compute(batch(predictions, references))
    assert stats["score"].to_list() == pytest.approx(each.tolist(), abs=1e-9)
    assert metric.aggregate(stats) == pytest.approx(expected, abs=1e-9)


def test_cider_weighs_words_by_the_references_of_unanswered_instances_too():
    predictions, references = captions(60)
    whole = batch(predictions, references)
    half = Batch(whole.predictions[:30], whole.references[:30], "", whole.references)
    metric = get_metric("cider")
    assert metric.compute(half)["score"].to_list() == metric.compute(whole)["score"][:30].to_list()


@pytest.mark.parametrize("metric_id", ["bleu_1_corpus", "bleu_4"])
def test_an_unanswered_caption_costs_its_length(metric_id):
    predictions, references = captions(200)
    metric = get_metric(metric_id)
    given = batch(predictions, references)
    worst = metric.worst(given)
    assert metric.aggregate(worst) == pytest.approx(0.0, abs=1e-6)
    half = pl.concat([metric.compute(given)[:100], worst[100:]])
    assert metric.aggregate(half) < metric.aggregate(metric.compute(given)[:100])


def test_wer_agrees_with_jiwer():
    predictions, references = captions()
    firsts = [rs[0] or "word" for rs in references]
    metric = get_metric("wer")
    stats = metric.compute(batch(predictions, [[r] for r in firsts]))
    assert metric.aggregate(stats) == pytest.approx(jiwer.wer(firsts, predictions), abs=1e-12)
    several = metric.compute(batch(predictions, references))
    singles = [
        min(jiwer.wer(r, p) if r.split() else float(bool(p.split())) for r in rs)
        for p, rs in zip(predictions, references, strict=True)
    ]
    rates = [e / w if w else float(e > 0) for e, w in several.select("errors", "words").iter_rows()]
    assert rates == pytest.approx(singles, abs=1e-12)


def test_wer_edges():
    metric = get_metric("wer")
    given = batch(["", "x y", ""], [["a b"], [""], [""]])
    stats = metric.compute(given)
    assert stats.rows() == [(2.0, 2.0), (2.0, 0.0), (0.0, 0.0)]
    assert metric.aggregate(stats) == 2.0
    assert metric.worst(given).rows() == [(2.0, 2.0), (1.0, 0.0), (1.0, 0.0)]
    assert metric.aggregate(metric.compute(batch([""], [[""]]))) == 0.0
    assert metric.aggregate(metric.compute(batch(["x"], [[""]]))) == math.inf


def edit_distance(a: str, b: str) -> int:
    """Levenshtein by its textbook recurrence."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, before = [i], row
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
    return row[-1]


def test_anls_agrees_with_its_definition():
    def anls(prediction, references):
        best = 0.0
        for reference in references:
            p, r = prediction.strip().lower(), reference.strip().lower()
            longest = max(len(p), len(r))
            distance = edit_distance(p, r) / longest if longest else 0.0
            best = max(best, 1 - distance if distance < 0.5 else 0.0)
        return best

    rng = random.Random(8)
    predictions, references = captions(1200)
    for i in range(0, 1200, 2):  # near misses on both sides of the threshold
        letters = list(references[i][0])
        for _ in range(rng.randint(0, 8)):
            if letters:
                letters[rng.randrange(len(letters))] = rng.choice("xyz")
        predictions[i] = "".join(letters)
    found = get_metric("anls").compute(batch(predictions, references))["score"].to_list()
    expected = [anls(p, rs) for p, rs in zip(predictions, references, strict=True)]
    assert found == pytest.approx(expected, abs=1e-12)


def arrays(predictions, references) -> Batch:
    kind = pl.List(pl.Float64)
    return Batch(pl.Series(predictions, dtype=kind), pl.Series(references, dtype=kind))


def test_errors_agree_with_scikit_learn_pooled_over_all_values():
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 9, 1000)
    references = [rng.normal(0, 50, n).tolist() for n in lengths]
    predictions = [[x + rng.normal() for x in row] for row in references]
    flat = [x for row in references for x in row], [x for row in predictions for x in row]
    squared = mean_squared_error(*flat)
    expected = {
        "mae": mean_absolute_error(*flat),
        "mse": squared,
        "rmse": squared**0.5,
        "rms": squared**0.5,
    }
    for metric_id, value in expected.items():
        metric = get_metric(metric_id)
        stats = metric.compute(arrays(predictions, references))
        assert metric.aggregate(stats) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("metric_id", ["mae", "mse", "rmse", "rms"])
def test_an_array_of_another_length_and_a_missing_one_are_infinitely_wrong(metric_id):
    metric = get_metric(metric_id)
    given = arrays([[1.0, 2.0], [1.0], []], [[1.0, 2.0], [1.0, 2.0], [1.0]])
    assert metric.instance_scores(metric.compute(given)).to_list() == [0.0, math.inf, math.inf]
    assert metric.aggregate(metric.worst(given)) == math.inf
    assert metric.aggregate(metric.compute(given)[:1]) == 0.0
