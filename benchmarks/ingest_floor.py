"""Ingest against its floor: parsing the same bytes and writing the same rows, and nothing else.

    python -m benchmarks.ingest_floor [--scale 1.0] [--turns 3]

The floor reads each JSON file, parses it with orjson, and writes ids and texts to one Parquet file
of the same compression: no checks, no types, no quarantine, no hashes, no manifest. Both sides run
in one process.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.command import parser, tell
from benchmarks.full_model import make_inputs
from tasks.catalog import Catalogue, load_catalogue
from tasks.ingest import finish, ingest_batch, plan
from tasks.storage import PARQUET_OPTIONS, Store


def floor(root: Path) -> float:
    """Seconds to parse all files and to write their rows."""
    began = time.perf_counter()
    for folder, name in (
        ("dataset", "annotation.json"),
        ("submissions/full-model", "prediction.json"),
    ):
        tasks, ids, texts = [], [], []
        for path in sorted((root / folder).rglob(name)):
            value = orjson.loads(path.read_bytes())
            rows = value["data"] if isinstance(value, dict) else value
            tasks += [path.parent.name] * len(rows)
            ids += [str(row["id"]) for row in rows]
            if isinstance(value, dict):
                texts += [next(iter(row["output"].values())) for row in rows]
            else:
                texts += [row["prediction"] for row in rows]
        table = pa.table({"task_id": tasks, "instance_id": ids, "text": texts})
        pq.write_table(table, root / f"{name}.parquet", **PARQUET_OPTIONS)
    return time.perf_counter() - began


def ours(root: Path, catalogue: Catalogue) -> float:
    """Seconds to ingest the same files into an empty store, in this process."""
    shutil.rmtree(root / "floor-store", ignore_errors=True)
    store = Store(str(root / "floor-store"))
    began = time.perf_counter()
    ingest(root, store, catalogue)
    return time.perf_counter() - began


def ingest(root: Path, store: Store, catalogue: Catalogue) -> None:
    """Reads the inputs of `make_inputs` into a store, in this process."""
    for kind, model, source in (
        ("references", None, root / "dataset"),
        ("predictions", "full-model", root / "submissions" / "full-model"),
    ):
        todo = plan(store, kind, model, str(source), catalogue)
        batches = [ingest_batch(store, kind, model, batch, catalogue) for batch in todo.batches]
        finish(store, todo, batches)


def report(scale: float, turns: int) -> str:
    """The table as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        counts = make_inputs(root, scale)
        rows = 2 * sum(count for _, count in counts.values())
        size = sum(path.stat().st_size for path in root.rglob("*.json")) / 1e6
        catalogue = load_catalogue([str(root / "catalogue.csv")], base=False)
        floors, spent = [], []
        for _ in range(turns):
            floors.append(floor(root))
            spent.append(ours(root, catalogue))
    return (
        f"# Ingest of {rows:,} rows, {size:.0f} MB of JSON in {2 * len(counts):,} files\n\n"
        f"`python -m benchmarks.ingest_floor --scale {scale}`, one process, medians of {turns} "
        "turns.\n\n| what | measured |\n|---|---|\n"
        f"| floor: orjson parse, Parquet write | {median(floors):.2f} s |\n"
        f"| ingest | {median(spent):.2f} s |\n"
        f"| ingest / floor | {median(spent) / median(floors):.2f}x |\n"
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--scale", type=float, default=1.0, help="share of 325,800 instances")
    options.add_argument("--turns", type=int, default=3, help="runs of each side, by turns")
    arguments = options.parse_args()
    tell(report(arguments.scale, arguments.turns), arguments.out)


if __name__ == "__main__":
    main()
