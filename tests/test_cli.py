"""The command line as a user meets it: real processes, exit codes, and errors without tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def cli(tmp_path, server):
    """Runs `general-level ARGS` in a process of its own, in an empty folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PREFECT_API_URL": server}
        command = [sys.executable, "-c", "from flows.cli import main; main()", *arguments]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, text=True, capture_output=True, timeout=300
        )

    return run


def test_help_teaches(cli):
    result = cli("--help")
    assert result.returncode == 0
    for command in [
        "run",
        "ingest",
        "score",
        "publish",
        "levels",
        "task",
        "sql",
        "validate",
        "doctor",
    ]:
        assert command in result.stdout
        assert cli(command, "--help").returncode == 0


def test_the_example_reaches_every_level_and_runs_again_without_scoring(cli):
    first = cli("run", "--example", "mini", "--json")
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    levels = {row["model"]: row for row in report["published"]["levels"]}
    assert len(levels) >= 3
    best = levels["tuned-ensemble"]
    assert best["level_reached"] == 5
    assert all(best[f"level_{n}"] > 0 for n in (2, 3, 4, 5))
    assert len({row["level_reached"] for row in levels.values()}) >= 3

    again = json.loads(cli("run", "--example", "mini", "--json").stdout)
    assert all(not model["scored"] for model in again["scores"])
    assert again["published"]["levels"] == report["published"]["levels"]

    board = cli("levels", "--store", "store/mini")
    assert board.returncode == 0
    assert "tuned-ensemble" in board.stdout
    query = "SELECT count(*) AS n FROM instance_scores"
    rows = json.loads(cli("sql", query, "--store", "store/mini", "--json").stdout)
    assert rows[0]["n"] >= sum(model["instances"] for model in report["scores"])


def test_published_audio_levels_are_given_where_they_are_right(cli):
    result = cli("run", "--example", "published-audio")
    assert result.returncode == 0, result.stderr
    assert "22 of 30 agree" in result.stdout
    assert "ModaVerse-7b-v0" in result.stdout


def test_validate_names_every_problem_and_writes_nothing(cli, tmp_path):
    arguments = ["--dataset", str(EXAMPLES / "general-bench-mini/dataset"), "--only-catalogue"]
    arguments += ["--catalogue", str(EXAMPLES / "general-bench-mini/catalogue.csv")]
    (broken,) = (
        p for p in (EXAMPLES / "general-bench-mini/submissions-broken").iterdir() if p.is_dir()
    )
    result = cli("validate", str(broken), *arguments, "--json")
    assert result.returncode == 3, result.stderr
    findings = json.loads(result.stdout)["findings"]
    assert {"unknown_task", "file", "row", "type", "missing"} <= {f["kind"] for f in findings}
    assert all(finding["source"] and finding["reason"] for finding in findings)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_submission_scores_what_is_good_and_tells_the_rest(cli):
    example = EXAMPLES / "general-bench-mini"
    result = cli(
        "run",
        *(
            "--dataset",
            str(example / "dataset"),
            "--submissions",
            str(example / "submissions-broken"),
        ),
        *("--catalogue", str(example / "catalogue.csv"), "--only-catalogue"),
    )
    assert result.returncode == 0, result.stderr
    assert "DROP TABLE levels" in result.stdout
    assert "Traceback" not in result.stderr
    assert "FROM quarantine" in result.stderr
    rows = json.loads(cli("sql", "FROM quarantine", "--json").stdout)
    assert len(rows) > 15
    assert all(row["source"] and row["reason"] for row in rows)
    assert any(row["position"] is None for row in rows)
    assert len(json.loads(cli("sql", "FROM levels", "--json").stdout)) > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run"], "nothing to run on"),
        (["run", "--example", "nope"], "no example 'nope'"),
        (["run", "--dataset", "absent"], "absent does not exist"),
        (["run", "--results", "absent.csv"], "absent.csv"),
        (["ingest"], "nothing to ingest"),
        (["levels"], "no published results"),
        (["sql", "SELECT 1"], "no published results"),
        (["task", "no such task at all"], "no task is called"),
        (["run", "--dataset", ".", "--catalogue", "absent.csv"], "absent.csv"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_mistake_is_told_without_a_traceback(cli, arguments, told):
    result = cli(*arguments)
    assert result.returncode == 1, result.stdout + result.stderr
    assert told in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr + result.stdout


def test_an_unknown_server_is_told(cli, tmp_path):
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    result = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", "score"],
        env=environment,
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert result.returncode == 1
    assert "does not answer" in result.stderr
    assert "Traceback" not in result.stderr


def test_doctor_looks_at_everything(cli):
    result = cli("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert result.returncode == 0, result.stdout
    assert "699 tasks" in checks["catalogue"]["detail"]
    assert checks["tokeniser"]["ok"]


def test_reference_of_commands_is_current():
    """docs/cli.md is what the commands say of themselves; CONTRIBUTING.md tells how to renew it."""
    command = [sys.executable, "-m", "typer", "flows.cli.app", "utils", "docs"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GENERAL_LEVEL_")}
    root = Path(__file__).parent.parent
    written = subprocess.run(
        [*command, "--name", "general-level"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (root / "docs" / "cli.md").read_text().strip() == written.strip()
