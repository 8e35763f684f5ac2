"""The wheel holds all that a run needs: it works with the checkout out of sight."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
EXAMPLE = CHECKOUT / "examples" / "general-bench-mini"


def test_wheel_runs_outside_the_checkout(tmp_path):
    source = tmp_path / "source"  # a copy, so that no old build/ folder gets in
    unwanted = (".git", ".venv", "build", "*.egg-info", "store", "__pycache__", "examples")
    shutil.copytree(CHECKOUT, source, ignore=shutil.ignore_patterns(*unwanted))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # what pip does with a wheel of pure Python

    def general_level(*arguments: str) -> str:
        command = [sys.executable, "-c", "from flows.cli import main; main()", *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = [sys.executable, "-c", "import tasks, sql, flows; print(tasks.__file__)"]
    seen = subprocess.run(
        where,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(seen.strip()).is_relative_to(site)

    general_level(
        "run",
        *("--dataset", str(EXAMPLE / "dataset")),
        *("--submissions", str(EXAMPLE / "submissions")),
        *("--catalogue", str(EXAMPLE / "catalogue.csv")),
        *("--store", "store"),
    )
    found = general_level("sql", "--store", "store", "SELECT count(*) AS n FROM leaderboard")
    assert "n" in found
    assert (tmp_path / "store" / "results.duckdb").is_file()
    levels = general_level("levels", "--store", "store")
    assert "tuned-ensemble" in levels
    general_level("site", "--store", "store", "--out", "pages")
    assert "tuned-ensemble" in (tmp_path / "pages" / "data" / "models.js").read_text()
    assert (tmp_path / "pages" / "assets" / "site.css").is_file()
