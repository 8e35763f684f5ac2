"""What to improve: gains, the way to the next level and contributions, against plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalog import Catalogue
from tasks.warehouse import connect
from tests.reference_levels import MODALITIES, Result, levels
from tests.test_levels import (
    METRICS,
    TWO_MODALITIES,
    catalogue_of,
    expected_results,
    of,
    publish,
    read_levels,
    slow,
)

#: Sums of scores know 15 decimal places: a score is either 0 or well above that.
RAW = {metric: scores.map(lambda x: round(x, 9)) for metric, scores in METRICS.items()}
#: Raw scores that are normalised to 0, where 0 is not one (FID gets there at infinity alone).
NOTHING = {"fid": 500.0, "wer": 100.0, "mos": 1.0, "ms_ssim": -1.0}
GROUPS = [(m, p) for m in MODALITIES for p in ("comprehension", "generation")]


@st.composite
def sparse_tables(draw, models: int, most: int):
    """A catalogue in which halves and whole modalities may be absent, and scores of some models:
    many unsupported, many at the specialist, and specialists that score 0 among them."""
    tasks = []
    for modality, paradigm in [*GROUPS, ("language", "language")]:
        for n in range(draw(st.integers(0, most))):
            metric = draw(st.sampled_from(sorted(RAW)))
            finite = RAW[metric].filter(lambda x: x != float("inf"))
            # Some specialists score 0: to win there brings nothing.
            specialist = draw(st.one_of(finite, st.just(NOTHING.get(metric, 0.0))))
            tasks.append((modality, paradigm, f"T{n}", metric, specialist))
    if not any(modality != "language" for modality, *_ in tasks):
        tasks.append(("image", "generation", "T", "accuracy", 50.0))
    scores = {}
    for model in range(models):
        share = draw(st.sampled_from([0.0, 0.2, 0.8]))
        scores[f"model {model}"] = {}
        for modality, paradigm, title, metric, specialist in tasks:
            raw = draw(st.sampled_from(["unsupported", "specialist", "any", "any"]))
            if raw == "unsupported" or (raw == "specialist" and draw(st.floats(0, 1)) > share):
                continue
            middle = "" if modality == "language" else f"{paradigm}."
            value = specialist if raw == "specialist" else draw(RAW[metric])
            scores[f"model {model}"][f"{modality}.{middle}{title.lower()}"] = value
    return tasks, scores


def rows_of(store, query: str) -> list[dict]:
    with connect(store) as database:
        return database.sql(query).to_arrow_table().to_pylist()


def at_specialists(
    catalogue: Catalogue, raws: Mapping[str, float], chosen: tuple[str, ...]
) -> list[Result]:
    """The results if the scores of the chosen tasks became the specialists'."""
    after = dict(raws) | {t: catalogue.task(t).specialist_raw for t in chosen}
    return expected_results(catalogue, after)


@slow
@given(table=sparse_tables(models=3, most=2))
def test_gains_are_what_changing_the_one_score_brings(table, tmp_path_factory):
    tasks, models = table
    folder = tmp_path_factory.mktemp("gains")
    catalogue = catalogue_of(folder, tasks)
    gains = rows_of(publish(folder, catalogue, models), "FROM level_gains")
    changed = {
        f"{row['model']} / {row['task_id']}": {
            **models[row["model"]],
            row["task_id"]: catalogue.task(row["task_id"]).specialist_raw,
        }
        for row in gains
    }
    found = read_levels(publish(folder, catalogue, models | changed))
    listed = {(row["model"], row["task_id"]) for row in gains}
    for model, raws in models.items():
        results = dict(
            zip(catalogue.tasks["task_id"], expected_results(catalogue, raws), strict=True)
        )
        assert {t for m, t in listed if m == model} == {t for t, r in results.items() if not r.wins}
    for row in gains:
        model, task_id = row["model"], row["task_id"]
        told = [row[f"level_{level}_gain"] for level in (2, 3, 4, 5)]
        before, after = of(found, model), of(found, f"{model} / {task_id}")
        rebuilt = [a - b for a, b in zip(after, before, strict=True)]
        assert told == pytest.approx(rebuilt, abs=1e-9)
        plain = [
            levels(at_specialists(catalogue, models[model], chosen), "modality_mean")
            for chosen in ((task_id,), ())
        ]
        assert told == pytest.approx([a - b for a, b in zip(*plain, strict=True)], abs=1e-9)
        assert (row["status"] == "scored") == (task_id in models[model])
        assert row["gap"] >= 0
        if row["modality"] == "language":
            assert told[:3] == [0, 0, 0]


def level_reached(results: list[Result]) -> int:
    scores = levels(results, "modality_mean")
    return max((n for n, score in zip((2, 3, 4, 5), scores, strict=True) if score > 0), default=1)


@slow
@given(table=sparse_tables(models=12, most=2))
def test_the_path_is_the_cheapest_of_all_sets_of_tasks(table, tmp_path_factory):
    tasks, models = table
    folder = tmp_path_factory.mktemp("path")
    catalogue = catalogue_of(folder, tasks)
    store = publish(folder, catalogue, models)
    steps = rows_of(store, "FROM path_to_next_level ORDER BY model, step")
    gaps = {(r["model"], r["task_id"]): r["gap"] for r in rows_of(store, "FROM level_gains")}
    for model, raws in models.items():
        own = [row for row in steps if row["model"] == model]
        now = level_reached(expected_results(catalogue, raws))
        lost = [task_id for m, task_id in gaps if m == model]
        # Two tasks are the most that any level asks for; three would find a cheaper set if not.
        costs = [
            sum(gaps[model, task_id] for task_id in chosen)
            for size in (1, 2, 3)
            for chosen in combinations(lost, size)
            if level_reached(at_specialists(catalogue, raws, chosen)) > now
        ]
        assert bool(own) == bool(costs)
        if not own:
            continue
        assert {row["level_reached"] for row in own} == {now}
        assert {row["next_level"] for row in own} == {now + 1}
        assert [row["step"] for row in own] == list(range(1, len(own) + 1))
        chosen = tuple(row["task_id"] for row in own)
        assert level_reached(at_specialists(catalogue, raws, chosen)) > now
        for row in own:
            assert row["gap"] == gaps[model, row["task_id"]]
            assert row["total_gap"] == pytest.approx(min(costs), abs=1e-9)


def test_contributions_are_the_fractions_worked_out_exactly(tmp_path):
    """Level 4 falls into its tasks' shares without a rest: exact in fractions, and so in SQL."""
    catalogue = catalogue_of(tmp_path, TWO_MODALITIES)
    raws = {
        "image.comprehension.ic1": 90,
        "image.comprehension.ic2": 50,
        "image.generation.ig1": 61,
        "audio.comprehension.ac1": 77,
        "audio.generation.ag1": 25,  # WER above the specialist's 20: lost
        "language.l1": 41,
        "language.l2": 89,  # lost
    }
    store = publish(tmp_path, catalogue, {"m": {k: float(v) for k, v in raws.items()}})
    won = {
        "image.comprehension.ic1": Fraction(90),
        "image.comprehension.ic2": Fraction(50),
        "image.generation.ig1": Fraction(61),
        "audio.comprehension.ac1": Fraction(77),
    }
    weight = Fraction(41, 2) / 100
    s_c, s_g = Fraction(90 + 50, 2), Fraction(61)
    level_4 = {
        "image.comprehension.ic1": Fraction(90, 2) * 2 * s_g**2 / (s_c + s_g) ** 2 / 2,
        "image.comprehension.ic2": Fraction(50, 2) * 2 * s_g**2 / (s_c + s_g) ** 2 / 2,
        "image.generation.ig1": Fraction(61) * 2 * s_c**2 / (s_c + s_g) ** 2 / 2,
        "audio.comprehension.ac1": Fraction(0),  # the other half of audio is not won
    }
    assert sum(level_4.values()) == 2 * s_c * s_g / (s_c + s_g) / 2
    shares = {"image.comprehension.ic1": 8, "image.comprehension.ic2": 8}
    rows = {
        row["task_id"]: row
        for row in rows_of(store, "FROM level_contributions WHERE board_id = 'A'")
    }
    assert rows.keys() == raws.keys()
    for task_id, row in rows.items():
        language = task_id.startswith("language")
        share = Fraction(0) if language else Fraction(1, shares.get(task_id, 4))
        expected = {
            "weight": share,
            "level_2": Fraction(row["score"]) * share,
            "level_3": won.get(task_id, Fraction(0)) * share,
            "level_4": level_4.get(task_id, Fraction(0)),
            "level_5": level_4.get(task_id, Fraction(0)) * weight,
            "language_weight": weight if task_id == "language.l1" else Fraction(0),
        }
        found = {name: row[name] for name in expected}
        assert found == pytest.approx({k: float(v) for k, v in expected.items()}, abs=1e-13)


def test_boards_of_one_paradigm_have_no_summands_of_level_4(tmp_path):
    catalogue = catalogue_of(tmp_path, TWO_MODALITIES)
    store = publish(tmp_path, catalogue, {"m": {"image.comprehension.ic1": 90.0}})
    rows = rows_of(store, "FROM level_contributions WHERE board_id = 'C-image-comprehension'")
    assert {(r["task_id"][-3:], r["level_2"], r["level_4"], r["level_5"]) for r in rows} == {
        ("ic1", 45.0, None, None),
        ("ic2", 0.0, None, None),
    }


@pytest.mark.parametrize("supported", [True, False])
def test_synergy_map_counts_and_averages(tmp_path, supported):
    catalogue = catalogue_of(tmp_path, TWO_MODALITIES)
    raws = {"image.comprehension.ic1": 90.0}
    if supported:
        raws["image.comprehension.ic2"] = 30.0
    rows = rows_of(
        publish(tmp_path, catalogue, {"m": raws}),
        "FROM synergy_map WHERE modality = 'image' AND paradigm = 'comprehension'",
    )
    assert rows == [
        {
            "model": "m",
            "modality": "image",
            "paradigm": "comprehension",
            "skill": None,
            "tasks_total": 2,
            "tasks_supported": 1 + supported,
            "tasks_won": 1,
            "mean_score": (90.0 + 30.0 * supported) / 2,
            "mean_specialist_score": 65.0,
            "mean_won_score": 45.0,
        }
    ]
