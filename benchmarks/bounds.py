"""What bounds the speed that is left: where the time of each stage goes, in one process.

    python -m benchmarks.bounds [--scale 1.0] [--out benchmarks/results/bounds.md]

Own time by what it is spent in, from a deterministic profiler: Python code looks slower under it than
it is, native code does not. Shares tell what to look at next, not how long a stage takes.
"""

from __future__ import annotations

import cProfile
import pstats
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.command import parser, tell
from benchmarks.full_model import jobs_by_metric, make_inputs
from benchmarks.ingest_floor import ingest
from tasks.catalog import Catalogue, load_catalogue
from tasks.score import ScoreJob, finish_scores, score_batch
from tasks.storage import Store
from tasks.warehouse import RunInfo, build

#: What own time is spent in: parts of `file:function`, the first that fits counts.
KINDS = {
    "waiting for files to be opened and read": ("_queue", "posix.open", "posix.pread", "fstat"),
    "flushing to disk": ("posix.fsync", "posix.replace"),
    "listing folders": ("posix.scandir", "DirEntry", "tree.py"),
    "parsing JSON": ("msgspec", "orjson"),
    "SHA-256": ("_hashlib", "HASH"),
    "writing Parquet": ("write_table", "ParquetWriter", "write_row_group"),
    "reading Parquet": ("parquet",),
    "DuckDB": ("duckdb", "tables.py:create", "build.py:_check", "build.py:_describe"),
    "random bits and sums of replicates": (
        "bootstrap.py",
        "random_raw",
        "bincount",
        "add.reduceat",
    ),
    "tokens and n-grams": ("re.Pattern", "punkt", "tokenize.py", "ngrams", "stem", "rouge"),
    "Polars": ("polars", "PyLazyFrame", "PySeries", "PyDataFrame"),
    "Arrow": ("pyarrow",),
    "NumPy": ("numpy",),
}
OTHER = "other Python code"
#: Rows of a table.
SHOWN = 7


def kind_of(place: tuple[str, int, str]) -> str:
    """What the own time of a function is counted as."""
    name = f"{place[0]}:{place[2]}"
    return next((kind for kind, parts in KINDS.items() if any(p in name for p in parts)), OTHER)


def shares(work: Callable[[], object]) -> tuple[float, list[tuple[str, float, str]]]:
    """Seconds under the profiler; kind, share and dearest function, the largest share first."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    seconds: Counter[str] = Counter()
    dearest: dict[str, tuple[float, str]] = {}
    found = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    for place, (_, _, own, *_) in found.items():
        kind = kind_of(place)
        seconds[kind] += own
        name = place[2] if place[0] == "~" else f"{Path(place[0]).name}, {place[2]}"
        dearest[kind] = max(dearest.get(kind, (0.0, "")), (own, name))
    total = seconds.total()
    return total, [(k, s / total, dearest[k][1]) for k, s in seconds.most_common(SHOWN)]


def stages(root: Path, catalogue: Catalogue) -> Iterator[tuple[str, Callable[[], object]]]:
    """The work of each stage on the inputs of `make_inputs`, and that of each metric.

    Each is to be done before the next is asked for: what to score is planned from what was ingested,
    once, and outside of the work.
    """
    store = Store(root / "store")

    def score(jobs: list[ScoreJob]) -> None:
        done = score_batch(store, "full-model", jobs)
        finish_scores(store, "full-model", done.rows, done.quarantine)

    yield "ingest", lambda: ingest(root, store, catalogue)
    for metric, jobs in jobs_by_metric(store, catalogue).items():
        yield f"score, {metric}", partial(score, jobs)
    yield "publish", lambda: build(store, catalogue, RunInfo.now("profiled"))


def report(root: Path, scale: float) -> str:
    """The table as Markdown."""
    warm, inputs = root / "warm", root / "inputs"
    for folder, size in ((warm, 0.002), (inputs, scale)):
        folder.mkdir()
        make_inputs(folder, size)
    catalogue = load_catalogue([str(inputs / "catalogue.csv")], base=False)
    lines = [
        "# What bounds the rest",
        "",
        f"`python -m benchmarks.bounds --scale {scale}`: own time under a profiler, one process.",
        "",
        "Read when this was written: ingest is bound by rows as Python objects (their fields are looked",
        "at one by one, so that a bad row costs itself alone) and by parsing, not by the disk; label",
        "metrics by what is around them (reading, joining, the hashes that choose the quick board, 1,000",
        "replicates), which is why a loop over lists in memory beats them; token F1 itself by words: cutting",
        "both columns at white space is a third of it, and a seventh of the time of the bare Python loop, so",
        "that no overlap, however fast, could be more than seven times faster than that loop; BLEU and ROUGE",
        "by tokens and counts of n-grams; publishing by DuckDB.",
        "",
        "| stage | spent in | share | dearest of it |",
        "|---|---|---|---|",
    ]
    for _, work in stages(warm, catalogue):
        work()  # loads what a stage loads when it is first asked
    for stage, work in stages(inputs, catalogue):
        total, found = shares(work)
        print(f"{stage}: {total:.1f} s", flush=True)
        for place, (kind, share, function) in enumerate(found):
            shown = f"{stage} ({total:.1f} s)" if place == 0 else ""
            lines.append(f"| {shown} | {kind} | {share:.0%} | `{function}` |")
    return "\n".join(lines) + "\n"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--scale", type=float, default=1.0, help="share of 325,800 instances")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = report(Path(folder), arguments.scale)
    tell(text, arguments.out)


if __name__ == "__main__":
    main()
