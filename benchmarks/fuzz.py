"""Hostile input for as long as it may take: the fuzz tests over and over, each time from another seed.

    nice python -m benchmarks.fuzz [--minutes 10] [--seed 1] [--out benchmarks/results/fuzz.md]

The first round is all of `tests/test_fuzz.py`, the others what differs by seed. It ends at the first
input that breaks something, and says which; else it tells how many inputs were tried, by kind.
"""

from __future__ import annotations

import os

os.environ.setdefault("HYPOTHESIS_PROFILE", "long")

import time
from datetime import UTC, datetime

import pytest

from benchmarks.command import parser, tell
from tests.fuzzing import TRIED


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--seed", type=int, default=1, help="of the first round")
    arguments = options.parse_args()
    began = time.monotonic()
    rounds = 0
    always = ["-q", "-x", "--no-header", "--disable-warnings", "--timeout=0", "tests/test_fuzz.py"]
    while time.monotonic() - began < 60 * arguments.minutes:
        seed = arguments.seed + rounds
        chosen = ["-k", "not bombs and not pages and not database"] if rounds else []
        code = pytest.main([*always, f"--hypothesis-seed={seed}", *chosen])
        if code != 0:
            raise SystemExit(f"seed {seed} broke something, after {TRIED.total():,} inputs")
        rounds += 1
    tell(report(rounds, (time.monotonic() - began) / 60), arguments.out)


def report(rounds: int, minutes: float) -> str:
    """What was tried, as Markdown."""
    kinds = "\n".join(f"| {kind} | {count:,} |" for kind, count in sorted(TRIED.items()))
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"""# Hostile input

`nice python -m benchmarks.fuzz` on {day}: **{TRIED.total():,} inputs** in {rounds} rounds of
`tests/test_fuzz.py`, each from another seed, in {minutes:.1f} minutes. None ended in anything but a
refusal that says why; beside all of them a good task kept its score, every row was accounted for, and
no file outside the store was touched.

| what was tried | inputs |
|---|---|
{kinds}
"""


if __name__ == "__main__":
    main()
