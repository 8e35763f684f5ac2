"""The levels of General-Level in plain loops, written from the paper and independent of the SQL.

arXiv:2505.04620 section 3.2: level 2 averages a modality's comprehension and generation means,
level 3 counts only tasks at or above the specialist, level 4 is the harmonic mean of those halves,
level 5 weighs level 4 by the language tasks that are won.
"""

from __future__ import annotations

from dataclasses import dataclass

MODALITIES = ("image", "video", "audio", "3d")


@dataclass(frozen=True)
class Result:
    """One task of one model: scores on 0..100, 0 where it is not supported."""

    modality: str
    paradigm: str
    score: float
    wins: bool


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a > 0 and b > 0 else 0.0


def group_levels(results: list[Result]) -> tuple[float, float, float]:
    """Levels 2, 3 and 4 of one group of tasks."""
    halves = {}
    for paradigm in ("comprehension", "generation"):
        tasks = [r for r in results if r.paradigm == paradigm]
        halves[paradigm] = (
            mean([r.score for r in tasks]),
            mean([r.score if r.wins else 0.0 for r in tasks]),
        )
    (c2, c3), (g2, g3) = halves["comprehension"], halves["generation"]
    return (c2 + g2) / 2, (c3 + g3) / 2, harmonic(c3, g3)


def language_weight(results: list[Result]) -> float:
    tasks = [r for r in results if r.modality == "language"]
    return mean([r.score if r.wins else 0.0 for r in tasks]) / 100


def levels(
    results: list[Result], aggregation: str, modalities: tuple[str, ...] = MODALITIES
) -> tuple[float, float, float, float]:
    """Levels 2 to 5 of one model over the given modalities."""
    groups = [[r for r in results if r.modality == m] for m in modalities]
    groups = [group for group in groups if group]
    if aggregation == "task_mean":
        groups = [[r for group in groups for r in group]]
    each = [group_levels(group) for group in groups]
    level_2, level_3, level_4 = (mean([levels[i] for levels in each]) for i in range(3))
    return level_2, level_3, level_4, level_4 * language_weight(results)
