"""How often the intervals hold the true score: simulation of the bootstrap.

    python -m benchmarks.coverage [--trials 1000] [--out benchmarks/results/coverage.md]

A trial draws instances from a population whose true score is known, makes the interval from their
statistics as scoring and publishing do, and looks whether it holds the truth. For levels a trial
first draws the true scores of all tasks, around specialists that some of them reach and some do
not: near a specialist a level is a step, and no interval covers at every single truth; over the
truths it must.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from benchmarks.command import parser, tell
from tasks.metrics import get_metric
from tasks.uncertainty.bootstrap import REPLICATES, replicates_of
from tasks.uncertainty.intervals import interval
from tasks.uncertainty.levels import Board, level_replicates

Rng = np.random.Generator
#: A population: draws statistics of n instances, and says the true score.
Population = tuple[str, Callable[[Rng, int], dict[str, Any]], float]


def _micro(rng: Rng, n: int) -> dict[str, Any]:
    expected = rng.integers(1, 6, n)
    tp = rng.binomial(expected, 0.6)
    return {"tp": tp, "fp": rng.poisson(0.8, n), "fn": expected - tp}


def _words(rng: Rng, n: int) -> dict[str, Any]:
    words = rng.integers(4, 30, n)
    return {"errors": rng.binomial(words, 0.12), "words": words}


def _classes(rng: Rng, n: int) -> dict[str, Any]:
    group = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    right = rng.random(n) < np.array([0.9, 0.6, 0.4])[group]
    return {"score": right.astype(float), "group": group.astype(str)}


def _matches(rng: Rng, n: int) -> dict[str, Any]:
    length = rng.integers(5, 15, n)
    reference = length + rng.integers(-2, 5, n)
    return {
        "matches_1": rng.binomial(length, 0.55),
        "total_1": length,
        "length": length,
        "reference_length": reference,
    }


POPULATIONS: dict[str, Population] = {
    "accuracy 70 %": (
        "accuracy",
        lambda rng, n: {"score": (rng.random(n) < 0.7).astype(float)},
        0.7,
    ),
    "ROUGE-like, skewed": ("rouge_l", lambda rng, n: {"score": rng.beta(1.2, 4.8, n)}, 0.2),
    "micro-F1": ("micro_f1", _micro, 2 * 1.8 / (2 * 1.8 + 0.8 + 1.2)),
    "WER": ("wer", _words, 0.12),
    "macro accuracy": ("macro_accuracy", _classes, (0.9 + 0.6 + 0.4) / 3),
    "corpus BLEU-1": ("bleu_1_corpus", _matches, 0.55 * np.exp(1 - 10.5 / 9.5)),
    "RMSE": (
        "rmse",
        lambda rng, n: {"error": rng.normal(0, 2, n) ** 2, "n": np.ones(n)},
        2.0,
    ),
}


def cover_task(name: str, instances: int, trials: int, seed: int = 1) -> float:
    """Share of the trials whose 95 % interval holds the task's true score."""
    metric_id, draw, truth = POPULATIONS[name]
    metric, rng = get_metric(metric_id), np.random.default_rng(seed)
    held = 0
    for trial in range(trials):
        columns = {k: pl.Series(v) for k, v in draw(rng, instances).items()}
        stats = pl.DataFrame(columns).with_columns(
            pl.col(pl.Int64).cast(pl.Float64), instance_id=pl.int_range(pl.len()).cast(pl.String)
        )
        found = replicates_of(metric, stats, f"{name} {trial}")
        assert found is not None
        low, high = interval(found, instances)
        held += low <= truth <= high
    return held / trials


def cover_levels(tasks: int, instances: int, trials: int, seed: int = 2) -> dict[int, float]:
    """Shares of the trials whose 95 % intervals hold the true levels 2, 3 and 4.

    Args:
        tasks: tasks of each paradigm, in one modality.
        instances: instances of each task.
    """
    rng = np.random.default_rng(seed)
    places = np.arange(2 * tasks)
    board = Board(
        "B", 4, {"image": {"comprehension": places[:tasks], "generation": places[tasks:]}}, True
    )
    held = dict.fromkeys((2, 3, 4), 0)
    no_language = np.zeros(0, dtype=np.int64)
    for _ in range(trials):
        truth = rng.uniform(0.2, 0.9, 2 * tasks)
        specialist = np.clip(truth + rng.normal(0.03, 0.15, 2 * tasks), 0, 1) * 100
        # Of right and wrong answers, draws with replacement are binomial: so many more trials fit.
        right = rng.binomial(instances, truth)[:, None] / instances
        sample = 100 * right
        scores = 100 * rng.binomial(instances, right, (2 * tasks, REPLICATES)) / instances
        true = 100 * truth[:, None]
        truths = level_replicates(board, true, true >= specialist[:, None], no_language)
        points = level_replicates(board, sample, sample >= specialist[:, None], no_language)
        levels = level_replicates(board, scores, scores >= specialist[:, None], no_language)
        for level in held:
            low, high = interval(levels[level], score=float(points[level][0]))
            held[level] += low <= truths[level][0] <= high
    return {level: count / trials for level, count in held.items()}


def report(trials: int) -> str:
    """The tables as Markdown."""
    margin = 1.96 * (0.95 * 0.05 / trials) ** 0.5
    lines = [
        "# How often 95 % intervals hold the true score",
        "",
        f"`python -m benchmarks.coverage --trials {trials}`: shares of "
        f"{trials:,} simulated trials ({5 * trials:,} for levels); by chance they "
        f"vary by {margin:.1%} ({margin / 5**0.5:.1%}).",
        "",
        "| task score | 50 instances | 200 instances | 1,000 instances |",
        "|---|---|---|---|",
    ]
    for name in POPULATIONS:
        shares = [cover_task(name, n, trials) for n in (50, 200, 1_000)]
        lines.append(f"| {name} | {' | '.join(f'{share:.1%}' for share in shares)} |")
        print(lines[-1], flush=True)
    lines += ["", "| levels | 2 | 3 | 4 |", "|---|---|---|---|"]
    for tasks, instances in ((5, 100), (20, 200), (20, 500)):
        shares = cover_levels(tasks, instances, 5 * trials).values()
        lines.append(
            f"| {tasks} + {tasks} tasks of {instances} instances "
            f"| {' | '.join(f'{share:.1%}' for share in shares)} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--trials", type=int, default=1_000)
    arguments = options.parse_args()
    tell(report(arguments.trials), arguments.out)


if __name__ == "__main__":
    main()
