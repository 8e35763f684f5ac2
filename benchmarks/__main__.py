"""Every benchmark, one after the other, as one page: `python -m benchmarks [--out docs/benchmarks.md]`.

About half an hour on 2 cores. Each part is a module with a command of its own; all compare in one
run with a baseline measured beside it, because times of one machine say little about another's. What
a part measured is also kept as `benchmarks/results/<part>.md`; a part that is left out with `--only`
is on the page as it was measured last.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.command import parser

#: Module and options of each part, in the order of the page.
PARTS = {
    "full_model": ["--turns", "15", "--models", "5"],
    "night": [],
    "ingest_floor": [],
    "levels": [],
    "growth": [],
    "bounds": [],
    "metrics": ["--processes", "2"],
    "site": [],
}
RESULTS = Path(__file__).parent / "results"

INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks`; do not edit. Read the ratios: both sides of each were measured in
one run, by turns.
"""


def measure(part: str) -> None:
    """Runs a part, which writes its page."""
    out = RESULTS / f"{part}.md"
    command = [sys.executable, "-m", f"benchmarks.{part}", *PARTS[part], "--out", str(out)]
    subprocess.run(command, check=True)


def page() -> str:
    """What the parts wrote, headings one level down."""
    texts = [INTRODUCTION.strip()]
    for part in PARTS:
        written = RESULTS / f"{part}.md"
        if written.exists():
            lines = written.read_text().strip().splitlines()
            texts.append("\n".join(f"#{line}" if line.startswith("#") else line for line in lines))
    return "\n\n".join(texts) + "\n"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", nargs="+", choices=PARTS, help="measure these parts alone")
    arguments = options.parse_args()
    for part in arguments.only or PARTS:
        measure(part)
        if arguments.out:
            arguments.out.write_text(page())


if __name__ == "__main__":
    main()
