"""`general-level explain`: how one score came about, to be read from top to bottom."""

from __future__ import annotations

from typing import Any

from flows.cli import console
from tasks.report.explain import LEVELS, explain
from tasks.storage import Store


def show_explanation(store: str, model: str, task: str, *, as_json: bool) -> None:
    """Prints the way from instances to levels.

    Raises:
        UserError: when nothing is published, or the model or the task is unknown.
    """
    found = explain(Store(store), model, task)
    if as_json:
        console.print_json(found)
        return
    task_id, metric, result = found["task"]["task_id"], found["metric"], found["result"]
    rows = [("metric", metric["metric_id"]), ("definition", metric["definition"])]
    better = "higher" if metric["direction"] == "higher" else "lower"
    rows.append(("unit", f"{metric['unit']}, {better} is better"))
    rows += [("skill", found["task"]["skill"]), ("origin", result["origin"])]
    rows += [("source", result["source"]), ("scorer version", result["scorer_version"])]
    console.print_table(f"{found['model']} on {task_id}", ["", ""], rows)
    _print_instances(found)
    _print_score(found)
    _print_levels(found)
    others = [list(row.values()) for row in found["other_profiles"]]
    console.print_table(
        "under other rules", ["profile", "status", "raw score", "score", "wins"], others
    )


def _print_instances(found: dict[str, Any]) -> None:
    instances, statistics = found["instances"], found["statistics"]
    if instances["n_instances"] is not None:
        names = ["instances", "scored", "missing", "unreadable", "duplicate", "extra", "coverage"]
        counts = [value for key, value in instances.items() if key != "refused_rows"]
        console.print_table("instances; all but the scored count as wrong", names, [counts])
    if instances["refused_rows"]:
        columns = list(instances["refused_rows"][0])
        rows = [list(row.values()) for row in instances["refused_rows"]]
        console.print_table("refused rows (the first)", columns, rows)
    if statistics:
        names = ["instances", "mean", "minimum", "lower_quartile", "median", "upper_quartile"]
        names.append("maximum")
        row = [statistics[name] for name in names]
        columns = [name.replace("_", " ") for name in names]
        console.print_table("scores of the instances, as the metric gives them", columns, [row])
        for which in ("worst", "best"):
            rows = [list(row.values()) for row in statistics[which]]
            console.print_table(f"{which} instances", ["instance", "status", "score"], rows)


def _print_score(found: dict[str, Any]) -> None:
    result, specialist, interval = found["result"], found["specialist"], found["interval"]
    name = f"specialist ({specialist['model']})" if specialist["model"] else "specialist"
    rows = [
        [found["model"], result["raw_score"], found["normalisation"]["formula"], result["score"]],
        [name, specialist["raw_score"], specialist["formula"], specialist["score"]],
    ]
    title = f"raw score and score on 0..100 (map {found['normalisation']['map']})"
    told = _verdict(found)
    if interval:
        told += (
            f"; 95 % interval of the raw score {console.cell(interval['raw_low'])} to "
            f"{console.cell(interval['raw_high'])}, at or above the specialist in "
            f"{interval['p_at_or_above_specialist']:.1%} of {interval['replicates']} replicates"
        )
    console.print_table(title, ["", "raw score", "normalised", "score"], rows, told)


def _verdict(found: dict[str, Any]) -> str:
    result = found["result"]
    if result["status"] != "scored":
        return f"{result['status']}, counts 0: {result['reason'] or 'no result of this task'}"
    by = result["better_than_specialist_by"]
    if result["wins"]:
        told = f"wins: at or above the specialist, by {console.cell(by)} {found['metric']['unit']}"
    else:
        told = f"lost: short of the specialist by {console.cell(-by)} {found['metric']['unit']}"
    told += f", {console.cell(abs(result['score_above_specialist']))} points of score"
    if result["stale_since"]:
        told += f"; stale since {result['stale_since']}: {result['reason']}"
    return told


def _print_levels(found: dict[str, Any]) -> None:
    rows = [
        [row["figure"].replace("_", " "), *list(row.values())[1:]] for row in found["contributions"]
    ]
    if rows:
        columns = ["", "this task's summand", "sum of all tasks", "as published", "adds up"]
        console.print_table("what it adds to the levels of board A", columns, rows)
    if found["gains"]:
        gains = [found["gains"][f"level_{level}_gain"] for level in LEVELS]
        columns = ["gap", *(f"level {level}" for level in LEVELS)]
        title = "what the levels would gain if the score became the specialist's"
        console.print_table(title, columns, [[found["gains"]["gap"], *gains]])
