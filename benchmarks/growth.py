"""How time and memory grow with the instances and with the models.

    python -m benchmarks.growth [--turns 2]

Each point is the whole job without Prefect (ingest, score, publish) in a process of its own, on all
cores. The exponent is that of a power law through the points, fixed costs apart: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.command import parser, tell
from benchmarks.full_model import add_models, make_inputs, run_plainly, warm_up
from benchmarks.memory import worker_peaks

SCALES = (0.01, 0.1, 0.25, 0.5, 1.0)
MODELS = (1, 10, 25, 50, 100)
#: Share of 325,800 instances that each of several models has.
SCALE_OF_MODELS = 0.05


def measure(root: Path, turns: int) -> dict[str, float]:
    """Seconds (best of `turns`) and peak memory of the job on the inputs under `root`."""
    command = [sys.executable, "-m", "benchmarks.growth", "--child", str(root)]
    command += ["--turns", str(turns)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(root: Path, turns: int) -> None:
    """Does the job and prints what it took."""
    warm_up()
    seconds = []
    with worker_peaks() as peaks:
        for _ in range(turns):
            shutil.rmtree(root / "store", ignore_errors=True)
            seconds.append(run_plainly(root, str(root / "store")))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    worker = max(peaks.values(), default=0.0)
    print(json.dumps({"seconds": min(seconds), "self": own, "worker": worker}))


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Of sizes and seconds the power p in seconds = a + b size^p, least squares of relative errors."""
    x, y = np.array(sizes), np.array(seconds)
    best, found = np.inf, 1.0
    for power in np.arange(0.5, 1.6, 0.005):
        columns = np.stack([np.ones_like(x), x**power], axis=1) / y[:, None]
        solution, *_ = np.linalg.lstsq(columns, np.ones_like(y), rcond=None)
        error = float(((columns @ solution - 1) ** 2).sum())
        if solution[0] >= 0 and error < best:
            best, found = error, float(power)
    return found


def report(turns: int) -> str:
    """The tables as Markdown."""
    lines = [
        "# How time and memory grow",
        "",
        f"`python -m benchmarks.growth --turns {turns}`: the whole job without Prefect, best of "
        f"{turns}; peak memory of the run's process and of its largest worker.",
        "",
        "| instances | seconds | microseconds an instance | peak memory, run / worker |",
        "|---|---|---|---|",
    ]
    sizes, seconds = [], []
    for scale in SCALES:
        with tempfile.TemporaryDirectory() as folder:
            counts = make_inputs(Path(folder), scale)
            sizes.append(sum(count for _, count in counts.values()))
            found = measure(Path(folder), turns)
        seconds.append(found["seconds"])
        lines.append(_line(sizes[-1], sizes[-1], found))
        print(lines[-1], flush=True)
    lines += ["", f"Exponent: {exponent(sizes, seconds):.2f}.", ""]
    lines += ["| models | seconds | microseconds an instance | peak memory, run / worker |"]
    lines += ["|---|---|---|---|"]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        counts = make_inputs(root, SCALE_OF_MODELS)
        instances = sum(count for _, count in counts.values())
        for models in MODELS:
            add_models(root, models)
            found = measure(root, turns)
            seconds.append(found["seconds"])
            lines.append(_line(models, models * instances, found))
            print(lines[-1], flush=True)
    lines += ["", f"{instances:,} instances each. Exponent: {exponent(MODELS, seconds):.2f}."]
    return "\n".join(lines) + "\n"


def _line(size: int, instances: int, found: dict[str, float]) -> str:
    each = 1e6 * found["seconds"] / instances
    return (
        f"| {size:,} | {found['seconds']:.2f} | {each:.1f} "
        f"| {found['self']:.2f} GB / {found['worker']:.2f} GB |"
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--turns", type=int, default=2, help="runs of each point")
    options.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.child:
        child(arguments.child, arguments.turns)
        return
    tell(report(arguments.turns), arguments.out)


if __name__ == "__main__":
    main()
