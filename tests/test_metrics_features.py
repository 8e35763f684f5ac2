"""Metrics on features, embeddings and scores, against scipy, plain loops and their definitions."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.linalg import sqrtm
from scipy.spatial.distance import cosine
from scipy.stats import hypergeom

import tasks.blocks
from tasks.catalog.load import load_catalogue
from tasks.metrics import Batch, get_metric
from tasks.metrics.features import FeatureMean
from tasks.metrics.sample_scores import _VBench

FRECHET = ["fid", "fvd", "fad"]
SIMILARITIES = ["clip_score", "clip_image_score", "clip_style", "clap_score", "style_clap"]
VBENCH = sorted(m.id for m in _VBench.__subclasses__())
RATES = ["success_rate", "user_preference", "gpt_score", "frame_accuracy", "event_accuracy"]
OTHERS = ["mos", "musiq", "n_way_accuracy", "pcc", "mcd"]
EVERY = [*FRECHET, *SIMILARITIES, *VBENCH, *RATES, *OTHERS]


def documents(values) -> pl.Series:
    return pl.Series([json.dumps(v) for v in values], dtype=pl.String)


def batch(predictions, references=None, corpus=None) -> Batch:
    references = [None] * len(predictions) if references is None else references
    every = None if corpus is None else documents(corpus)
    return Batch(documents(predictions), documents(references), "", every)


def file_of(path, **others):
    return {"$file": {"path": path.name, "url": path.as_uri(), "member": ""}, **others}


def saved(path, array, **others):
    np.save(path, array)
    return file_of(path, **others)


def scores(metric_id, predictions, references=None):
    stats = get_metric(metric_id).compute(batch(predictions, references))
    assert stats["refused"].null_count() == stats["reference_refused"].null_count() == stats.height
    return stats["score"].to_list()


def refusal(metric_id, prediction, reference=None):
    """Why the one prediction is refused."""
    stats = get_metric(metric_id).compute(batch([prediction], [reference]))
    assert stats["reference_refused"].to_list() == [None]
    (reason,) = stats["refused"].to_list()
    assert reason is not None
    return reason


@pytest.mark.parametrize("metric_id", EVERY)
def test_the_metric_fits_its_line_in_the_catalogue(metric_id):
    line = load_catalogue().metrics.filter(metric_id=metric_id).row(0, named=True)
    metric = get_metric(metric_id)
    assert metric.payload == line["payload"] == "features"
    assert metric.is_fraction == (line["unit"] == "percent")


# Frechet distances


def frechet(first, second):
    """The published formula, with a general matrix square root."""
    step = first.mean(axis=0) - second.mean(axis=0)
    one, two = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (first, second))
    root = np.real(sqrtm(one @ two))
    return step @ step + np.trace(one + two - 2 * root)


def distance(predictions, references, **kwargs):
    metric = get_metric("fid")
    stats = metric.compute(batch(predictions, references, **kwargs))
    assert stats["refused"].null_count() == stats["reference_refused"].null_count() == stats.height
    return metric.aggregate(stats)


@pytest.mark.parametrize("metric_id", FRECHET)
@pytest.mark.parametrize("seed", range(4))
def test_frechet_distance_agrees_with_the_matrix_root(metric_id, seed):
    rng = np.random.default_rng(seed)
    width, n = rng.integers(2, 60), rng.integers(200, 3000)
    mix = rng.normal(size=(width, width))
    real = rng.normal(size=(n, width)) @ mix + 3
    made = np.abs(rng.normal(size=(n, width))) * rng.uniform(0.1, 5, width)
    metric = get_metric(metric_id)
    stats = metric.compute(batch(made.tolist(), real.tolist()))
    assert metric.aggregate(stats) == pytest.approx(frechet(made, real), rel=1e-9)
    assert stats["distance"].n_unique() == 1
    assert metric.instance_scores(stats).to_list() == [None] * n


@pytest.mark.parametrize(("made", "real"), [(300, 40), (40, 300), (40, 50), (300, 301), (2, 2)])
def test_sets_smaller_than_their_width_have_singular_covariances(made, real):
    rng = np.random.default_rng(made * real)
    mix = rng.normal(size=(120, 120)) / 10
    first, second = rng.normal(size=(made, 120)) @ mix, rng.normal(size=(real, 120)) @ mix + 0.1
    factors = [(x - x.mean(axis=0)) / math.sqrt(len(x) - 1) for x in (first, second)]
    root = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    step = first.mean(axis=0) - second.mean(axis=0)
    expected = step @ step + sum((f**2).sum() for f in factors) - 2 * root
    found = distance([first.tolist()], [second.tolist()])
    assert found == pytest.approx(expected, rel=1e-8)
    if min(made, real) > 2:
        # The matrix root loses half the digits on a singular product.
        assert found == pytest.approx(frechet(first, second), rel=1e-6)


def test_dead_and_repeated_features():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(500, 30)), 2 * rng.normal(size=(700, 30)) + 1
    alive = distance([first.tolist()], [second.tolist()])

    def padded(x):
        return np.hstack([x, np.zeros((len(x), 20))])

    assert distance([padded(first).tolist()], [padded(second).tolist()]) == pytest.approx(
        alive, rel=1e-9
    )
    twice = distance([np.hstack([first, first]).tolist()], [np.hstack([second, second]).tolist()])
    assert twice == pytest.approx(2 * alive, rel=1e-9)


def test_frechet_distance_of_gaussians_by_the_formula():
    """Rows at mean plus or minus the axes have exactly the covariance wanted."""

    def rows(mean, deviations):
        axes = np.diag(deviations) * math.sqrt((2 * len(mean) - 1) / 2)
        return (np.vstack([axes, -axes]) + mean).tolist()

    one, two = rows([0, 0, 1], [1, 2, 3]), rows([3, 4, 1], [2, 2, 0.5])
    expected = 25 + (2 - 1) ** 2 + 0 + (3 - 0.5) ** 2
    assert distance(one, two) == pytest.approx(expected, rel=1e-12)
    assert distance(one, one) == pytest.approx(0, abs=1e-12)
    assert distance([[1.0], [3.0]], [[2.0], [2.0]]) == pytest.approx(2.0)
    assert distance([[1.0, 2.0]] * 9, [[4.0, 6.0]] * 9) == pytest.approx(25.0)


def test_rows_in_any_pieces_and_order_are_one_set():
    rng = np.random.default_rng(2)
    made, real = rng.normal(size=(2500, 8)), rng.normal(size=(2400, 8)) * 3
    whole = distance([made.tolist()], [real.tolist()])
    pieces = [p.tolist() for p in np.split(made, [1, 2, 700, 2490])]
    others = [p.tolist() for p in np.split(real, [5, 900, 1000, 2000])]
    assert distance(pieces, others) == pytest.approx(whole, rel=1e-10)
    assert distance(pieces[::-1], others[::-1]) == pytest.approx(whole, rel=1e-10)


def test_features_of_many_orders_of_magnitude_keep_their_digits():
    """Against factors by QR, which never square a feature."""
    rng = np.random.default_rng(10)
    mix = rng.normal(size=(200, 200)) * np.geomspace(1, 1e-7, 200)
    first, second = rng.normal(size=(900, 200)) @ mix, rng.normal(size=(900, 200)) @ mix * 1.2
    factors = [np.linalg.qr((x - x.mean(0)) / math.sqrt(899))[1] for x in (first, second)]
    root = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    step = first.mean(axis=0) - second.mean(axis=0)
    expected = step @ step + sum((f**2).sum() for f in factors) - 2 * root
    assert distance([first.tolist()], [second.tolist()]) == pytest.approx(expected, rel=1e-10)


def test_far_from_zero_the_covariance_keeps_its_digits():
    rng = np.random.default_rng(3)
    made, real = rng.normal(size=(5000, 4)), rng.normal(size=(5000, 4)) * 2
    near = distance([made.tolist()], [real.tolist()])
    far = distance([(made + 1e6).tolist()], [(real + 1e6).tolist()])
    assert far == pytest.approx(near, rel=1e-6)


def test_features_from_files_are_read_and_counted_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(4)
    made = rng.normal(size=(60, 5)).astype(np.float32)
    real = rng.normal(size=(90, 5)).astype(np.float32)
    every = saved(tmp_path / "real.npy", real)
    np.savez(tmp_path / "made.npz", features=made)
    by_row = [file_of(tmp_path / "made.npz", row=i) for i in range(60)]
    pl.DataFrame(made[:30]).write_parquet(tmp_path / "made.parquet")
    opened = []
    original = tasks.blocks.open_member
    monkeypatch.setattr(
        tasks.blocks, "open_member", lambda *a: (opened.append(a[0]), original(*a))[1]
    )
    found = distance(by_row, [every] * 60)
    assert found == pytest.approx(frechet(made.astype(float), real.astype(float)), rel=1e-9)
    assert len(opened) == 2
    mixed = [file_of(tmp_path / "made.parquet"), *made[30:].tolist()]
    assert distance(mixed, [every] * 31) == pytest.approx(found, rel=1e-6)


def test_the_reference_set_is_that_of_all_instances():
    rng = np.random.default_rng(5)
    made, real = rng.normal(size=(40, 3)), rng.normal(size=(100, 3))
    found = distance(made.tolist(), real[:40].tolist(), corpus=real.tolist())
    assert found == pytest.approx(frechet(made, real), rel=1e-9)


def test_an_unanswered_instance_makes_the_distance_infinite():
    rng = np.random.default_rng(6)
    metric = get_metric("fid")
    whole = batch(rng.normal(size=(20, 3)).tolist(), rng.normal(size=(20, 3)).tolist())
    stats, worst = metric.compute(whole), metric.worst(whole)
    assert metric.aggregate(worst) == math.inf
    assert metric.aggregate(pl.concat([stats[:19], worst[19:]])) == math.inf
    for rows in (stats[:1], stats[7:3:-1], stats.sample(30, with_replacement=True, seed=1)):
        assert metric.aggregate(rows) == metric.aggregate(stats)


def test_bad_features_cost_their_own_instance():
    rng = np.random.default_rng(7)
    made, real = rng.normal(size=(30, 3)).tolist(), rng.normal(size=(30, 3)).tolist()
    bad = [None, "x", {}, [], [1, 2], [[[1.0]]], [1, [2, 3]], 5, [1e70, 0, 0], [[True, None]]]
    stats = get_metric("fid").compute(batch(made + bad, real + real[: len(bad)]))
    assert stats["refused"][:30].null_count() == 30 and stats["refused"][30:].null_count() == 0
    assert "width 3, found 2" in stats["refused"][34]
    good = get_metric("fid").compute(batch(made, real, corpus=real + real[: len(bad)]))
    assert stats["distance"][0] == good["distance"][0]


def test_bad_rows_of_a_file_cost_their_own_instances(tmp_path):
    made, real = np.random.default_rng(3).normal(size=(2, 9, 4))
    made[2, 1] = np.nan
    given = [saved(tmp_path / "made.npy", made, row=row) for row in (0, 1, 2, 3, 4, 9, 5, 6, 7)]
    stats = get_metric("fid").compute(batch(given, real.tolist()))
    assert stats["refused"].to_list() == [
        *(None, None, "the array holds NaN or an infinity", None, None),
        *("made.npy has no row 9", None, None, None),
    ]
    good = made[[0, 1, 3, 4, 5, 6, 7]].tolist()
    alone = get_metric("fid").compute(batch(good, real[:7].tolist(), real.tolist()))
    assert stats["distance"][0] == pytest.approx(alone["distance"][0], rel=1e-12)


def test_a_bad_reference_leaves_its_instance_out_of_both_sets():
    rng = np.random.default_rng(8)
    made, real = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    references = [*real.tolist(), None, [1.0, 2.0]]
    given = batch([*made.tolist(), [9.0, 9, 9], [9.0, 9, 9]], references)
    metric = get_metric("fid")
    for stats in (metric.compute(given), metric.worst(given)):
        assert stats["reference_refused"].is_not_null().to_list() == [False] * 30 + [True] * 2
    assert metric.compute(given)["distance"][0] == pytest.approx(frechet(made, real), rel=1e-9)


def test_sets_of_fewer_than_two_rows():
    metric = get_metric("fid")
    one = metric.compute(batch([[1.0, 2.0]], [[[1.0, 2.0], [2.0, 1.0]]]))
    assert "fewer than two rows" in one["refused"][0]
    for stats in (metric.compute, metric.worst):
        lone = stats(batch([[1.0, 2.0]], [[1.0, 2.0]]))
        assert "fewer than two rows" in lone["reference_refused"][0]
    nothing = metric.compute(batch([], []))
    assert nothing.height == 0


def test_memory_stays_flat_over_many_features():
    script = (
        "import resource, numpy as np\n"
        "from tasks.metrics.distribution import FeatureSet, frechet_distance\n"
        "rng = np.random.default_rng(0)\n"
        "a, b = FeatureSet(256), FeatureSet(256)\n"
        "def fill(blocks):\n"
        "    for _ in range(blocks):\n"
        "        a.add(rng.random((1000, 256), dtype=np.float32))\n"
        "        b.add(rng.random((1000, 256), dtype=np.float32))\n"
        "fill(10)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "fill(100)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(a))\n"
        "assert frechet_distance(a, b) < 1\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    grown, count = map(int, run.stdout.split())
    assert count == 110_000
    assert grown < 15_000  # kilobytes; the features are 215,000


# Embedding scores


@pytest.mark.parametrize("metric_id", SIMILARITIES)
def test_similarities_agree_with_scipy(metric_id):
    rng = np.random.default_rng(9)
    predictions, references, expected = [], [], []
    for _ in range(300):
        width = int(rng.integers(1, 20))
        frames = rng.normal(size=(rng.integers(1, 6), width)) * rng.uniform(0.01, 100)
        texts = rng.normal(size=(rng.integers(1, 3), width))
        cosines = [1 - cosine(f, t) for f in frames for t in texts]
        expected.append(max(0.0, float(np.mean(cosines))))
        predictions.append(frames.tolist() if len(frames) > 1 else frames[0].tolist())
        references.append(texts.tolist() if len(texts) > 1 else texts[0].tolist())
    found = scores(metric_id, predictions, references)
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0.0 in found
    metric = get_metric(metric_id)
    stats = metric.compute(batch(predictions, references))
    assert metric.aggregate(stats) == pytest.approx(np.mean(expected), abs=1e-12)
    assert metric.aggregate(stats[::-1]) == pytest.approx(np.mean(expected), abs=1e-12)
    assert metric.aggregate(stats[50:90]) == pytest.approx(np.mean(expected[50:90]), abs=1e-12)


def test_similarity_edges(tmp_path):
    v = [1.0, 2.0, -3.0]
    far = [[1e300, 2e300, -3e300], [1e-310, 2e-310, -3e-310]]
    found = scores("clip_score", [v, [-x for x in v], far, [2.0, -1.0, 0.0]], [v] * 4)
    assert found == pytest.approx([1.0, 0.0, 1.0, 0.0], abs=1e-9)
    assert max(found) <= 1.0
    given = [{"score": 25.5}, {"score": [20, 30]}, {"score": 0}, {"score": 100}]
    assert scores("clip_score", given) == [0.255, 0.25, 0.0, 1.0]
    rows = np.array([v, v, [0, 0, 1]], dtype=np.float16)
    at = [saved(tmp_path / "e.npy", rows, row=i) for i in range(3)]
    assert scores("clap_score", at, [v] * 3) == pytest.approx([1, 1, 0], abs=1e-9)
    worst = get_metric("clip_score").worst(batch([v, v], [v, None]))
    assert worst["score"].to_list() == [0.0, 0.0]


def test_bad_embeddings_are_refused(tmp_path):
    v = [1.0, 2.0]
    assert "no direction" in refusal("clip_score", [0, 0], v)
    assert "no direction" in refusal("clip_score", [[1, 0], [0, 0]], v)
    assert "of 2 numbers, found 3" in refusal("clip_score", [1, 2, 3], v)
    assert "no reference embedding" in refusal("clip_score", v)
    assert "0..100" in refusal("clip_score", {"score": 101}, v)
    assert "0..100" in refusal("clip_score", {"score": -1}, v)
    for bad in (0.25, 31, None, "text", [], {}, {"score": "x"}, [[[1.0]]], [1, None]):
        refusal("clip_score", bad, v)
    array = np.ones((3, 2))
    array[1, 0] = np.nan
    files = [saved(tmp_path / "nan.npy", array, row=i) for i in (0, 1, 2, 3, "0")]
    stats = get_metric("clip_score").compute(batch(files, [v] * 5))
    assert stats["refused"].is_not_null().to_list() == [False, True, False, True, True]
    missing = file_of(tmp_path / "gone.npy", row=0)
    assert "no longer there" in refusal("clip_score", missing, v)
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    assert "no readable array" in refusal("clip_score", file_of(tmp_path / "pickle.npy"), v)
    for stats in (get_metric("clip_score").compute, get_metric("clip_score").worst):
        found = stats(batch([v, v, v], [[0.0, 0.0], "x", v]))
        assert found["reference_refused"].is_not_null().to_list() == [True, True, False]


# Scores of samples


def test_opinions():
    assert scores("mos", [3, [1, 5], [4.5, 4.5, 3]]) == [3, 3, 4]
    metric = get_metric("mos")
    given = batch([5, [4, 5]])
    assert metric.worst(given)["score"].to_list() == [1.0, 1.0]
    assert metric.aggregate(metric.compute(given)) == 4.75
    for bad in (0, 5.01, [1, 0.9], True, None, "good", [], [[3]], {"score": 3}, {"fraction": 0.5}):
        refusal("mos", bad)


@pytest.mark.parametrize("metric_id", ["musiq", *VBENCH])
def test_scores_in_percent(metric_id, tmp_path):
    frames = saved(tmp_path / "frames.npy", np.array([[50.0, 70], [10, 20]]), row=0)
    given = [96.88, [50, 70], {"fraction": 0.25}, {"fraction": [0.5, 1]}, 0, 100, frames]
    found = scores(metric_id, given)
    assert found == pytest.approx([0.9688, 0.6, 0.25, 0.75, 0, 1, 0.6], abs=1e-12)
    assert get_metric(metric_id).worst(batch([1, 2]))["score"].to_list() == [0.0, 0.0]
    votes = saved(tmp_path / "votes.npy", np.array([True, False]))
    bad = [-0.1, 100.5, [50, 101], {"fraction": 1.1}, None, "x", [], [[1]], [True, 1], votes]
    bad += [{"fraction": 0.5, "x": 1}, {"score": 3}]
    for value in bad:
        refusal(metric_id, value)


def test_true_and_false_where_a_video_passes_or_not():
    assert scores("vbench_dynamic_degree", [True, False, [True, True, False, False]]) == [1, 0, 0.5]
    refusal("musiq", True)


def test_mean_of_four_dimensions():
    names = [
        "subject_consistency",
        "overall_consistency",
        "dynamic_degree",
        "motion_smoothness",
    ]
    values = [95.0, {"fraction": 0.25}, True, [90, 100]]
    given = dict(zip(names, values, strict=True))
    assert scores("vbench_i2v_mean", [given, 59.46]) == pytest.approx([0.7875, 0.5946])
    assert "motion_smoothness" in refusal(
        "vbench_i2v_mean", dict(itertools.islice(given.items(), 3))
    )
    refusal("vbench_i2v_mean", given | {"imaging_quality": 1})
    refusal("vbench_i2v_mean", given | {"dynamic_degree": 101})


@pytest.mark.parametrize("metric_id", RATES)
def test_rates(metric_id, tmp_path):
    votes = saved(tmp_path / "votes.npy", np.array([True, False, False, False]))
    given = [True, 0, [True, False], [1, 1, 0, 1], [1.0], {"fraction": 0.546}, votes]
    assert scores(metric_id, given) == [1, 0, 0.5, 0.75, 1, 0.546, 0.25]
    assert get_metric(metric_id).worst(batch([1, 2]))["score"].to_list() == [0.0, 0.0]
    for bad in (0.5, 2, -1, [1, 0.5], None, "yes", [], [[1, 2]], {"fraction": 2}, {"votes": 1}):
        refusal(metric_id, bad)


def test_rates_recombine():
    rng = random.Random(1)
    votes = [[rng.random() < 0.3 for _ in range(rng.randint(1, 9))] for _ in range(400)]
    metric = get_metric("user_preference")
    stats = metric.compute(batch(votes))
    each = [sum(v) / len(v) for v in votes]
    assert metric.aggregate(stats) == pytest.approx(np.mean(each), abs=1e-12)
    chosen = rng.sample(range(400), 90)
    assert metric.aggregate(stats[chosen]) == pytest.approx(np.mean([each[i] for i in chosen]))


def test_frame_accuracy_from_similarities():
    given = [
        {"target": [0.3, 0.2, 0.2], "source": [0.2, 0.3, 0.2]},
        {"target": 31, "source": 20},
    ]
    assert scores("frame_accuracy", given) == pytest.approx([1 / 3, 1])
    for bad in ({"target": [1, 2], "source": [1]}, {"target": [1]}, {"target": "x", "source": [1]}):
        refusal("frame_accuracy", bad)


def test_event_accuracy_of_piano_rolls_agrees_with_a_loop():
    rng = np.random.default_rng(11)
    given, real, expected = [], [], []
    for _ in range(200):
        shape = rng.integers(1, 8), rng.integers(1, 12)
        played, written = (rng.random(shape) < 0.3 for _ in range(2))
        events = []
        for p, w in zip(played, written, strict=True):
            tp = sum(a and b for a, b in zip(p, w, strict=True))
            fp = sum(a and not b for a, b in zip(p, w, strict=True))
            fn = sum(b and not a for a, b in zip(p, w, strict=True))
            events.append(tp / (tp + fp + fn) if tp + fp + fn else 1.0)
        expected.append(np.mean(events))
        given.append(played.astype(int).tolist())
        real.append(written.tolist())
    assert scores("event_accuracy", given, real) == pytest.approx(expected, abs=1e-12)
    assert scores("event_accuracy", [[True, False]], [real[0]]) == [0.5]
    assert "no reference roll" in refusal("event_accuracy", given[0])
    assert "expected a roll of" in refusal("event_accuracy", [[1, 0]], [[1, 0, 0]])
    refusal("event_accuracy", [[1, 2]], [[1, 0]])
    for bad in ([1, 0], [[2]], "x"):
        stats = get_metric("event_accuracy").worst(batch([1], [bad]))
        assert stats["reference_refused"][0] is not None


def test_n_way_accuracy_is_the_chance_of_the_draw():
    rng = np.random.default_rng(12)
    given, labels, expected = [], [], []
    for _ in range(300):
        classes = int(rng.integers(50, 300))
        outputs, label = rng.normal(size=classes).round(1), int(rng.integers(classes))
        outputs[label] += rng.uniform(0, 4)
        others = np.delete(outputs, label)
        # 49 draws without replacement that meet none of those at or above the true class.
        above = int((others >= outputs[label]).sum())
        expected.append(hypergeom.pmf(0, classes - 1, above, 49))
        given.append(outputs.tolist())
        labels.append(label)
    found = scores("n_way_accuracy", given, labels)
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0.05 < np.mean(found) < 0.95
    originals = [np.eye(len(g))[i].tolist() for g, i in zip(given, labels, strict=True)]
    assert scores("n_way_accuracy", given, originals) == found


def test_n_way_accuracy_agrees_with_random_draws():
    rng = np.random.default_rng(13)
    outputs, label = rng.normal(size=200), 7
    outputs[label] = np.sort(outputs)[-4]
    others = np.delete(outputs, label)
    trials = [rng.choice(others, 49, replace=False).max() < outputs[label] for _ in range(20_000)]
    (found,) = scores("n_way_accuracy", [outputs.tolist()], [label])
    assert found == pytest.approx(np.mean(trials), abs=0.015)


def test_n_way_accuracy_edges():
    best, tied = [0.0] * 59 + [1.0], [1.0] * 60
    assert scores("n_way_accuracy", [best, tied, [best, tied]], [59] * 3) == [1, 0, 0.5]
    assert scores("n_way_accuracy", [best, {"fraction": 0.454}], [best, None]) == [1, 0.454]
    refusal("n_way_accuracy", best)
    refusal("n_way_accuracy", best, 60)
    refusal("n_way_accuracy", best[:49], 3)
    refusal("n_way_accuracy", best[:55], best)
    refusal("n_way_accuracy", 3, best)
    for bad in (-1, 1.5, [1, 2], True, "cat", [[1.0] * 60]):
        stats = get_metric("n_way_accuracy").worst(batch([best], [bad]))
        assert stats["reference_refused"][0] is not None


def test_pitch_class_consistency_agrees_with_a_loop_over_pairs():
    rng = np.random.default_rng(14)
    given, expected = [], []
    for _ in range(200):
        bars = rng.poisson(0.8, size=(rng.integers(2, 20), 12)).astype(float)
        bars[0, 0] = bars[1, 3] = 1
        bars[2:][rng.random(len(bars) - 2) < 0.2] = 0
        histograms = [b / b.sum() for b in bars if b.sum()]
        overlaps = [np.minimum(a, b).sum() for a, b in itertools.combinations(histograms, 2)]
        expected.append(np.mean(overlaps))
        given.append(bars.tolist())
    assert scores("pcc", given) == pytest.approx(expected, abs=1e-12)
    same, apart = [[1, 2] + [0] * 10] * 3, np.eye(12).tolist()
    assert scores("pcc", [same, apart, {"fraction": 0.59}]) == pytest.approx([1, 0, 0.59])
    assert "two or more bars" in refusal("pcc", [same[0], [0] * 12])
    for bad in ([[-1] + [0] * 11] * 2, [[1] * 11] * 2, [1] * 12, 59.0, None, "x", []):
        refusal("pcc", bad)


# Mel-cepstral distortion


def distortion(given, real):
    """MCD over the dynamic programme as it is written in textbooks, one cell after the other."""
    given, real = np.asarray(given)[:, 1:], np.asarray(real)[:, 1:]
    best = {(-1, -1): (0.0, 0)}
    for i in range(len(given)):
        for j in range(len(real)):
            before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
            cost, length = min(best[cell] for cell in before if cell in best)
            best[i, j] = cost + math.sqrt(((given[i] - real[j]) ** 2).sum()), length + 1
    cost, length = best[len(given) - 1, len(real) - 1]
    return 10 / math.log(10) * math.sqrt(2) * cost / length


def test_distortion_agrees_with_a_plain_loop():
    rng = np.random.default_rng(15)
    given, real = [], []
    for i in range(300):
        n, m = rng.integers(1, 30, 2)
        width = rng.integers(2, 14)
        track = rng.normal(size=(60, width)).cumsum(axis=0)
        given.append(track[np.sort(rng.integers(0, 60, n))].round(1 if i % 2 else 9).tolist())
        real.append((track[np.sort(rng.integers(0, 60, m))]).round(1 if i % 2 else 9).tolist())
    expected = [distortion(g, r) for g, r in zip(given, real, strict=True)]
    assert scores("mcd", given, real) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert scores("mcd", real, given) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_distortion_edges(tmp_path):
    track = np.random.default_rng(16).normal(size=(20, 13))
    slow = np.repeat(track, 3, axis=0)
    louder = track + np.eye(13)[0]
    real = saved(tmp_path / "real.npy", track)
    assert scores("mcd", [track.tolist(), slow.tolist(), louder.tolist()], [real] * 3) == [0, 0, 0]
    shifted = [[0.0, 1.0, 0.0]], [[5.0, 0.0, 0.0]]
    assert scores("mcd", [shifted[0]], [shifted[1]]) == pytest.approx([6.141851463713754])
    bare = {"cepstra": track[:, 1:].tolist(), "without_c0": True}
    at = saved(tmp_path / "bare.npy", track[:, 1:], without_c0=True)
    assert scores("mcd", [bare, at], [real, real]) == [0, 0]
    metric = get_metric("mcd")
    given = batch([track.tolist()] * 2, [track.tolist(), None])
    worst = metric.worst(given)
    assert worst["score"].to_list() == [math.inf, None]
    assert worst["reference_refused"].is_not_null().to_list() == [False, True]
    assert metric.aggregate(worst[:1]) == math.inf
    bad = [
        [1.0, 2.0],
        [[1.0]],
        [[1.0, 2.0]],
        [],
        None,
        "x",
        {"cepstra": 3},
        [[[1.0]]],
        [[1e200] * 13],
    ]
    for value in bad:
        refusal("mcd", value, track.tolist())
    long = saved(tmp_path / "long.npy", np.zeros((15_000, 2), np.uint8))
    assert "too many" in refusal("mcd", long, long)


# All of them


def test_scored_by_the_pipeline(bench):
    rng = np.random.default_rng(17)
    real, made = rng.normal(size=(40, 4)), rng.normal(size=(10, 4)) * 2
    places = {"modality": "image", "paradigm": "generation"}
    every = {i: {"path": "real.npy"} for i in range(10)}
    fid = bench.add_task("Faces", "fid", every, **places)
    clip = bench.add_task("Prompts", "clip_score", {0: [1.0, 0.0], 1: [1.0, 0.0]}, **places)
    mos = bench.add_task("Speech", "mos", {0: None, 1: None}, specialist=4, **places)
    np.save(bench.dataset / "image/generation/faces/real.npy", real)
    folder = bench.predict("m", fid, {i: {"path": "made.npy", "row": i} for i in range(10)}).parent
    np.save(folder / "made.npy", made)
    bench.predict("m", clip, {0: [3.0, 4.0], 1: [0.0, 0.0]})
    bench.predict("m", mos, {0: [4, 5]})
    rows = bench.score("m")
    assert rows[fid, "corrected"]["raw_score"] == pytest.approx(frechet(made, real), rel=1e-9)
    assert rows[clip, "corrected"]["raw_score"] == pytest.approx(30.0)
    assert rows[clip, "corrected"]["n_unreadable"] == 1
    assert rows[mos, "corrected"]["raw_score"] == pytest.approx(2.75)
    bench.predict("m", fid, {i: {"path": "made.npy", "row": i} for i in range(9)})
    row = bench.score("m")[fid, "corrected"]
    assert row["raw_score"] == math.inf
    assert row["raw_score_answered"] == pytest.approx(frechet(made[:9], real), rel=1e-9)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["score", "fraction", "target", "source", "cepstra"]), inner
        )
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ANYTHING, ANYTHING), min_size=1, max_size=5))
def test_nothing_crashes_and_every_row_has_a_value_or_a_reason(pairs):
    predictions, references = zip(*pairs, strict=True)
    for metric_id in EVERY:
        metric = get_metric(metric_id)
        stats = metric.compute(batch(list(predictions), list(references)))
        name = metric.statistics[0]
        refused = stats["refused"].is_not_null() | stats["reference_refused"].is_not_null()
        assert stats.height == len(pairs)
        assert stats.filter(~refused)[name].is_not_null().all()
        assert not stats[name].is_nan().any()
        worst = metric.worst(batch(list(predictions), list(references)))
        assert worst["reference_refused"].to_list() == stats["reference_refused"].to_list()


@pytest.mark.parametrize("metric_id", ["mos", "musiq", "vbench_color", "success_rate"])
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            ANYTHING,
            st.sampled_from([0, 1, 5, 1.5, 2**70, -1, [], [1, True], "1", [[1, 2]]]),
            st.lists(st.floats(1, 5) | st.integers(-1, 6), max_size=20),
            st.lists(st.sampled_from([0, 1, 1.0]), max_size=9),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_numbers_scored_together_score_as_one_by_one(metric_id, predictions):
    metric = get_metric(metric_id)
    assert isinstance(metric, FeatureMean)
    rows = batch(predictions, [None] * len(predictions))
    found = metric.compute(rows)
    assert_frame_equal(found, FeatureMean.compute(metric, rows), abs_tol=1e-14)
