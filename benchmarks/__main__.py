"""Every benchmark in one run, as one page: `python -m benchmarks [--out docs/benchmarks.md]`.

About 15 minutes on 2 cores. Each part is a module with a command of its own; all compare in one run
with a baseline measured beside it, because times of one machine say little about another's.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

#: Module and options of each part, in the order of the page.
PARTS = {
    "full_model": ["--turns", "3", "--models", "5"],
    "ingest_floor": [],
    "levels": [],
    "growth": [],
    "metrics": ["--processes", "2"],
    "site": [],
}

INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks`; do not edit. Python {python}, {cores} cores. Read the ratios: both
sides of each were measured in one run, by turns.
"""


def run(part: str, options: list[str]) -> str:
    """The Markdown that a part writes, its headings one level down."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "part.md")
        command = [sys.executable, "-m", f"benchmarks.{part}", *options, "--out", str(out)]
        subprocess.run(command, check=True)
        text = out.read_text()
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts alone")
    parser.add_argument("--out", type=Path, help="write the page there")
    arguments = parser.parse_args()
    pages = [
        INTRODUCTION.format(python=platform.python_version(), cores=os.cpu_count()),
        *(run(part, PARTS[part]) for part in arguments.only or PARTS),
    ]
    text = "\n".join(page.strip() + "\n" for page in pages)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
