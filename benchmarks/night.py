"""A night of 100 models x 700 tasks: the first, one without change, and one with one changed file.

    python -m benchmarks.night [--models 100] [--out benchmarks/results/night.md]

Wall time of the nightly flow, the start of the Prefect server apart. The models have a fiftieth of
the benchmark's instances: a night without change reads no instance, whatever their number.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.command import parser, tell
from benchmarks.full_model import add_models, make_inputs, one_night, warm_up

if TYPE_CHECKING:  # Prefect takes a second to load, and its settings come first
    from flows.options import RunReport

SCALE = 0.02
#: Nights of each kind; the table shows all of them.
TURNS = 3


def change_one_file(root: Path, turn: int) -> None:
    """Makes every answer of one task of one model another one."""
    path = sorted((root / "submissions" / "full-model").rglob("prediction.json"))[turn]
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([row | {"prediction": f"changed {turn}"} for row in rows]))


def stages(report: RunReport) -> str:
    return ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items())


def measure(root: Path, models: int) -> str:
    """The table as Markdown."""
    from flows.runtime import prefect_server

    tasks = make_inputs(root, SCALE)
    add_models(root, models)
    warm_up()
    store = str(root / "store")
    lines = []
    with prefect_server():
        kinds = [("first", 1), ("without change", TURNS), ("one changed file", TURNS)]
        for kind, turns in kinds:
            walls, report = [], None
            for turn in range(turns):
                if kind == "one changed file":
                    change_one_file(root, turn)
                wall, report = one_night(root, store)
                expected = {"first": models * len(tasks), "one changed file": 1}.get(kind, 0)
                assert report.scored_tasks == expected, (kind, report.scored_tasks)
                walls.append(wall)
                print(f"{kind}: {wall:.1f} s ({stages(report)})", flush=True)
            assert report is not None
            shown = ", ".join(f"{wall:.1f}" for wall in walls)
            lines.append(f"| {kind} | {report.scored_tasks:,} | {shown} s | {stages(report)} |")
    return "\n".join(
        [
            f"# A night of {models} models x {len(tasks)} tasks",
            "",
            f"`python -m benchmarks.night --models {models}` on {os.cpu_count()} cores.",
            "",
            "| night | scored | wall | the last one by stage |",
            "|---|---|---|---|",
            *lines,
        ]
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--models", type=int, default=100)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), arguments.models)
    tell(report, arguments.out)


if __name__ == "__main__":
    main()
