"""CodeBLEU against the package it is published with, on real functions and their mutations."""

from __future__ import annotations

import argparse
import inspect
import random
import statistics
import subprocess
import sys

import polars as pl
import pytest
from codebleu import calc_codebleu

from tasks.metrics import get_metric
from tests.test_metrics_text import batch

METRIC = get_metric("codebleu")


def functions() -> list[str]:
    """Short functions of the standard library."""
    found = []
    for module in (statistics, random, argparse, inspect):
        for _, value in sorted(vars(module).items()):
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                source = inspect.getsource(value)
                if source.count("\n") < 25:
                    found.append(source)
    return found


def mutated(code: str, rng: random.Random) -> str:
    lines = code.splitlines()
    kind = rng.randrange(7)
    if kind == 0:
        return code
    if kind == 1:
        return "\n".join(line for line in lines if rng.random() < 0.8)
    if kind == 2:
        return code[: rng.randrange(len(code))]
    if kind == 3:
        names = sorted({w for w in code.replace("(", " ").split() if w.isidentifier()})
        return code.replace(rng.choice(names), "renamed_ünïcode")
    if kind == 4:
        return code.replace(":", "", 1) + "\n  )("
    if kind == 5:
        return rng.choice(["", "   ", "pass", "# only a comment", "x = 1", "日本 = 'é'"])
    return rng.choice(functions())


def pairs(count: int, seed: int = 1) -> tuple[list[str], list[list[str]]]:
    rng = random.Random(seed)
    sources = functions()
    references = [
        [rng.choice(sources) for _ in range(rng.choice([1, 1, 1, 2]))] for _ in range(count)
    ]
    return [mutated(rs[0], rng) for rs in references], references


def package(predictions: list[str], references: list[list[str]]) -> float:
    return calc_codebleu(references, predictions, lang="python")["codebleu"]


def flow_share(stats: pl.DataFrame) -> float:
    return sum(stats["flow_matches"].to_list()) / sum(stats["flow_total"].to_list())


def unambiguous(predictions: list[str], references: list[list[str]]) -> bool:
    """Whether no data flow has several sources, whose order the package leaves to chance."""
    from tasks.metrics.codebleu import _flows, _Parsed, _without_comments

    texts = [*predictions, *(r for rs in references for r in rs)]
    return all(
        len(set(f[2])) <= 1 for t in texts for f in _flows(_Parsed(_without_comments(t.strip())))
    )


def test_a_thousand_mutated_functions_agree_with_the_package():
    predictions, references = pairs(1000)
    stats = METRIC.compute(batch(predictions, references))
    each = METRIC.instance_scores(stats).to_list()
    compared = 0
    for found, p, rs in zip(each, predictions, references, strict=True):
        if unambiguous([p], [rs]):
            assert found == pytest.approx(package([p], [rs]), abs=1e-9)
            compared += 1
    assert compared > 300
    # Where the order of sources is left to chance, the other three parts still agree.
    expected = calc_codebleu(references, predictions, lang="python")
    flow = expected["dataflow_match_score"]
    ours = 4 * METRIC.aggregate(stats) - flow_share(stats)
    assert ours == pytest.approx(4 * expected["codebleu"] - flow, abs=1e-9)
    assert flow_share(stats) == pytest.approx(flow, abs=0.05)


def test_edges():
    perfect = batch(functions()[:5], [[f] for f in functions()[:5]])
    assert METRIC.aggregate(METRIC.compute(perfect)) == pytest.approx(1.0)
    worst = METRIC.worst(perfect)
    assert max(METRIC.instance_scores(worst).to_list()) <= 0.25
    empty = batch(["", "x"], [[""], [""]])
    scores = METRIC.instance_scores(METRIC.compute(empty)).to_list()
    assert scores == pytest.approx([package([""], [[""]]), package(["x"], [[""]])], abs=1e-9)


def test_the_score_does_not_depend_on_pythons_string_hash():
    code = (
        "from tests.test_metrics_code import *;"
        "print(METRIC.aggregate(METRIC.compute(batch(*pairs(40)))).hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_statistics_recombine():
    predictions, references = pairs(60, seed=2)
    whole = METRIC.compute(batch(predictions, references))
    halves = [METRIC.compute(batch(predictions[i::2], references[i::2])) for i in range(2)]
    assert METRIC.aggregate(pl.concat(halves)) == METRIC.aggregate(whole)
