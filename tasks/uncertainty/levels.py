"""Replicates of levels and ranks, from replicates of task scores.

The arithmetic is that of `sql/marts` (paradigm_scores, group_levels, levels, leaderboards; profile
corrected, aggregation modality_mean), on columns of replicates instead of single scores; a test
holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Board:
    """A board, as the places of its tasks in a table of all tasks.

    Attributes:
        board_id: its id.
        max_level: the highest level that the board knows.
        halves: modality -> paradigm -> places of the tasks.
        both: whether the board is of both paradigms, so that an absent half counts 0.
    """

    board_id: str
    max_level: int
    halves: Mapping[str, Mapping[str, Ints]]
    both: bool


def level_replicates(
    board: Board, scores: Floats, wins: npt.NDArray[np.bool_], language: Ints
) -> dict[int, Floats]:
    """Levels 2 to `board.max_level`, each of shape (replicates,).

    Args:
        board: the board.
        scores: normalised scores 0..100 of all tasks, shape (tasks, replicates).
        wins: whether each is at or above the specialist, same shape.
        language: places of the language tasks, which weigh level 5.
    """
    won = np.where(wins, scores, 0.0)
    levels: dict[int, list[Floats]] = {2: [], 3: [], 4: []}
    for halves in board.halves.values():
        means = [
            [table[places].mean(axis=0) for places in halves.values()] for table in (scores, won)
        ]
        if board.both:
            sides = [side + [np.zeros(scores.shape[1])] * (2 - len(side)) for side in means]
            levels[2].append((sides[0][0] + sides[0][1]) / 2)
            levels[3].append((sides[1][0] + sides[1][1]) / 2)
            levels[4].append(_harmonic_mean(*sides[1]))
        else:
            levels[2].append(means[0][0])
            levels[3].append(means[1][0])
    found = {
        level: np.mean(groups, axis=0)
        for level, groups in levels.items()
        if groups and level <= board.max_level
    }
    if board.max_level >= 5:
        weight = won[language].mean(axis=0) / 100 if len(language) else 0.0
        found[5] = found[4] * weight
    return found


def ranks(levels: Sequence[Floats]) -> Ints:
    """Ranks of models, 1 the best, ties sharing the better one: shape (models, replicates).

    Args:
        levels: levels 2, 3 ... of a board, each of shape (models, replicates); the highest decides,
            then the next.
    """
    keys = -np.stack(levels)
    order = np.lexsort(keys, axis=0)
    in_order = np.take_along_axis(keys, order[None], axis=1)
    differs = (in_order[:, 1:] != in_order[:, :-1]).any(axis=0)
    place = np.ones(order.shape, dtype=np.int64)
    place[1:] = np.where(differs, np.arange(2, len(order) + 1)[:, None], 0)
    place = np.maximum.accumulate(place, axis=0)
    found = np.empty_like(place)
    np.put_along_axis(found, order, place, axis=0)
    return found


def _harmonic_mean(a: Floats, b: Floats) -> Floats:
    total = a + b
    return np.divide(2 * a * b, total, out=np.zeros_like(total), where=(a > 0) & (b > 0))
