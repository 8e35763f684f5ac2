"""Kills the nightly run at random moments and looks at what is left.

    python -m benchmarks.faults [--kills 100] [--seed 7] [--out benchmarks/results/faults.md]

A real nightly (the command line, against a real Prefect server) works through two states of the
same submissions, in turn, on one store. It is killed with SIGKILL again and again: the whole run,
only the flow's process, or only one worker. After each kill a reader must see a whole state, and
the next run goes on from there. When a run gets through, its scores and levels must be those of a
run that nobody disturbed, bit for bit. Counted are:

- lost: finished work (a task read, a task scored) that was gone or done again after the kill;
- torn: readers that saw anything but a whole state, during the runs and after each kill;
- wrong: scores and levels that differ from the undisturbed run's.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.command import parser, tell
from flows.cli.preflight import CHECK
from tasks.lock import holder
from tasks.schema import Manifest
from tasks.storage import Store
from tasks.superseded import RECORD
from tasks.warehouse import connect, load_models
from tests.conftest import Bench

METRICS = ["accuracy", "bleu_1", "micro_f1", "bleu_1", "rouge_1"]
GROUPS = [
    (modality, paradigm)
    for modality in ("image", "audio")
    for paradigm in ("comprehension", "generation")
] + [("language", "language")]
KINDS = ("run", "flow", "worker")
#: Seconds that a run may take from start to end, whatever else the machine does.
DEADLINE = 600


class Inputs(Bench):
    """10 tasks, and the outputs of two models in two states that differ in half of the tasks."""

    def __init__(self, root: Path, instances: int = 1000, seed: int = 7) -> None:
        super().__init__(root)
        self._seed = seed
        rng = random.Random(seed)
        self._words = [
            "".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 8))) for _ in range(500)
        ]
        self._references: dict[str, dict[int, str]] = {}
        for number in range(10):
            modality, paradigm = GROUPS[number % len(GROUPS)]
            metric = METRICS[number // 2]
            words = list("ABCD") if metric == "accuracy" else self._words
            length = 1 if metric == "accuracy" else 12
            answers = {i: " ".join(rng.choices(words, k=length)) for i in range(instances)}
            task_id = self.add_task(
                f"Task {number}",
                metric,
                answers,
                modality=modality,
                paradigm=paradigm,
                specialist=40.0,
            )
            self._references[task_id] = answers

    def submit(self, state: str) -> None:
        """Brings the submissions into a state; files of tasks that do not change stay untouched."""
        for model in ("first", "second"):
            for number, (task_id, answers) in enumerate(self._references.items()):
                path = self.submissions / model / self._where(task_id) / "prediction.json"
                if number % 2 == 0 and path.exists():
                    continue
                draw = random.Random(
                    f"{self._seed} {model} {task_id} {state if number % 2 else ''}"
                )
                share = draw.uniform(0.2, 0.9)
                given = {
                    i: " ".join(
                        word if draw.random() < share else draw.choice(self._words)
                        for word in answer.split()
                    )
                    for i, answer in answers.items()
                }
                self.predict(model, task_id, given)


def start(bench: Bench, store: str, server: str) -> subprocess.Popen[str]:
    """A nightly run in a process group of its own."""
    words = ["run", "--store", store, "--json", "--only-catalogue", "--catalogue"]
    words += [str(bench.catalogue), "--dataset", str(bench.dataset)]
    words += ["--submissions", str(bench.submissions), "--workers", "2"]
    return subprocess.Popen(
        [sys.executable, "-c", "from flows.cli import main; main()", *words],
        env=os.environ | {"PREFECT_API_URL": server},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_work(run: subprocess.Popen[str], store: Store) -> None:
    """Returns when the run holds the store for its work, or has ended."""
    while run.poll() is None:
        held = holder(store)
        if held is not None and held.pid == run.pid and held.run_id != CHECK:
            return
        time.sleep(0.005)


def finish(run: subprocess.Popen[str]) -> dict[str, Any]:
    """The report of a run that must get through."""
    try:
        out, err = run.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise
    if run.returncode != 0:
        raise RuntimeError(f"the run ended with {run.returncode}: {err}\n{out}")
    return json.loads(out)


def descendants(run: subprocess.Popen[str]) -> list[psutil.Process]:
    """Processes that the run started, directly or not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(run.pid).children(recursive=True)
    return []


def workers(run: subprocess.Popen[str]) -> list[psutil.Process]:
    """Worker processes of the run: the children of its fork server."""
    found = []
    for process in descendants(run):
        with suppress(psutil.NoSuchProcess):
            if process.ppid() != run.pid:
                found.append(process)
    return found


def kill(run: subprocess.Popen[str], kind: str, rng: random.Random) -> bool:
    """Kills the run, its flow's process, or one of its workers; False when there was none left."""
    if kind == "worker":
        while run.poll() is None:
            for process in rng.sample(found := workers(run), len(found)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
                    return True
            time.sleep(0.005)
        return False
    if run.poll() is not None:
        return False
    started = descendants(run)
    if kind == "run":
        os.killpg(run.pid, signal.SIGKILL)
    else:
        run.kill()
    run.communicate()
    _, alive = psutil.wait_procs(started, timeout=DEADLINE)
    if alive:
        raise RuntimeError(f"processes of a killed run go on: {alive}")
    return True


def figures(store: Store) -> dict[str, list[tuple]]:
    """What a run must arrive at: levels and task scores as published, and the stored scores."""
    with connect(store) as database:
        return {
            name: sorted(database.execute(query).fetchall(), key=repr)
            for name, query in {
                "levels": "SELECT * FROM levels",
                "tasks": "SELECT profile, model, task_id, status, raw_score, score, wins, "
                "n_instances, n_scored, stale_since FROM task_results",
                "statistics": "SELECT model, task_id, metric_id, count(*), md5(string_agg("
                "concat_ws(' ', instance_id, status, score, stats), ',' ORDER BY instance_id)) "
                "FROM instance_scores GROUP BY ALL",
            }.items()
        }


def problems(store: Store, published: list[dict[str, list[tuple]]]) -> list[str]:
    """What is not whole in the store, as a reader finds it.

    Args:
        published: the figures that may be published; empty while nothing can be.
    """
    found: list[str] = []
    for folder in _folders(store):
        manifest = store.read_struct(Manifest, *folder, "manifest.json")
        for entry in manifest.tasks.values() if manifest else ():
            if entry.part not in store.names(*folder, "parts"):
                found.append(f"{folder}: {entry.task_id} points to {entry.part}, which is absent")
                continue
            rows = store.read_row_groups(entry.row_groups, *folder, "parts", entry.part)
            if rows["task_id"].to_pylist().count(entry.task_id) != entry.rows:
                found.append(f"{folder}: {entry.task_id} has other rows than its manifest says")
    for model in store.names("scores"):
        where = ("scores", model)
        if not store.exists(*where, "task_scores.parquet"):
            continue
        for row in store.read_table(*where, "task_scores.parquet").to_pylist():
            if row["status"] != "scored":
                found.append(f"{where}: {row['task_id']} is {row['status']}: {row['reason']}")
            elif row["part"] not in store.names(*where, "instances"):
                found.append(f"{where}: {row['task_id']} points to {row['part']}, which is absent")
            elif row["profile"] != "quick":  # scored from some of the statistics of `corrected`
                groups = (row["row_group_start"], row["row_group_end"])
                rows = store.read_row_groups(groups, *where, "instances", row["part"]).to_pylist()
                its = [r for r in rows if r["task_id"] == row["task_id"]]
                if (
                    len([r for r in its if r["metric_id"] == row["metric_id"]])
                    != row["n_instances"]
                ):
                    found.append(f"{where}: {row['task_id']} has other statistics than its score")
    if published:
        with connect(store) as database:
            found += [
                f"check {check.name} finds something"
                for check in load_models("checks")
                if database.execute(check.sql).fetchone()
            ]
            database.execute("SELECT count(*) FROM predictions").fetchall()
            database.execute("SELECT count(*) FROM references_").fetchall()
            database.execute("SELECT count(*) FROM instance_scores").fetchall()
        latest = json.loads(store.read_bytes("published", "latest.json"))
        for table, rows in latest["tables"].items():
            stored = store.read_table("published", latest["run_id"], f"{table}.parquet")
            if stored.num_rows != rows:
                found.append(f"published table {table} has {stored.num_rows} rows, not {rows}")
        seen = figures(store)
        if not any(all(seen[name] == p[name] for name in ("levels", "tasks")) for p in published):
            found.append("the published results are those of no run")
    return found


def finished_work(store: Store) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """What was read and scored so far: (folder, task) -> hash, part, and when it was written."""
    done: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for folder in _folders(store):
        manifest = store.read_struct(Manifest, *folder, "manifest.json")
        for entry in manifest.tasks.values() if manifest else ():
            part = (*folder, "parts", entry.part)
            done[*folder, entry.task_id] = (entry.content_sha256, entry.part, _written(store, part))
    for model in store.names("scores"):
        if not store.exists("scores", model, "task_scores.parquet"):
            continue
        for row in store.read_table("scores", model, "task_scores.parquet").to_pylist():
            part = ("scores", model, "instances", row["part"])
            key = ("scores", model, row["task_id"], row["profile"])
            done[key] = (row["score_key"], row["part"], _written(store, part))
    return done


def unnamed(store: Store) -> list[str]:
    """Parts that no state points to, and that are not noted as superseded, to be removed in time."""
    named = {work[1] for work in finished_work(store).values()} | {RECORD}
    places = [(*folder, "parts") for folder in _folders(store)]
    places += [("scores", model, "instances") for model in store.names("scores")]
    return [
        name
        for place in places
        for name in set(store.names(*place)) - named
        if name not in (store.read_struct(dict[str, datetime], *place, RECORD) or {})
    ]


def _folders(store: Store) -> list[tuple[str, ...]]:
    return [("references",), *(("predictions", name) for name in store.names("predictions"))]


def _written(store: Store, part: tuple[str, ...]) -> int:
    return Path(store.path(*part)).stat().st_mtime_ns


class Reader(threading.Thread):
    """Asks for the published levels all the time; each answer must be that of a whole run."""

    def __init__(self, store: Store, answers: list[list[tuple]]) -> None:
        super().__init__(daemon=True)
        self._store, self._answers = store, answers
        self.ended = threading.Event()
        self.reads = 0
        self.torn: list[str] = []

    def run(self) -> None:
        while not self.ended.wait(0.5):
            if not self._store.exists("results.duckdb"):
                continue
            try:
                with connect(self._store) as database:
                    seen = database.execute("SELECT * FROM levels").fetchall()
            except Exception as error:
                self.torn.append(f"a reader met {type(error).__name__}: {error}")
                continue
            self.reads += 1
            if sorted(seen, key=repr) not in self._answers:
                self.torn.append("a reader saw levels of no run")


@dataclass
class Outcome:
    """What was counted; `torn`, `lost` and `wrong` say what was found, `reads` are the reader's."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    completed: int = 0
    reads: int = 0
    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run_and_kill(root: Path, server: str, kills: int, seed: int = 7, **size: int) -> Outcome:
    """Kills runs until there were so many kills and each state's run got through once more."""
    began = time.monotonic()
    rng = random.Random(seed)
    inputs = Inputs(root, seed=seed, **size)
    expected = {}
    for state in "ba":
        inputs.submit(state)
        undisturbed = Store(str(root / f"undisturbed-{state}"))
        run = start(inputs, undisturbed.url, server)
        wait_for_work(run, undisturbed)
        from_here = time.monotonic()
        finish(run)
        longest = time.monotonic() - from_here
        expected[state] = figures(undisturbed)
    store = Store(str(root / "store"))
    outcome = Outcome()
    reader = Reader(store, [figure["levels"] for figure in expected.values()])
    reader.start()
    may_be: list[dict[str, list[tuple]]] = []  # what may be published at this point
    while outcome.kills.total() < kills or outcome.completed < 2:
        state = "ab"[outcome.completed % 2]
        before = finished_work(store)
        run = start(inputs, store.url, server)
        outcome.runs += 1
        wait_for_work(run, store)
        kind = rng.choice(KINDS)
        killed = False
        if outcome.kills.total() < kills:
            with suppress(subprocess.TimeoutExpired):
                run.wait(rng.uniform(0, longest))
            killed = kill(run, kind, rng)
            outcome.kills[kind] += killed
            print(
                f"{outcome.kills.total()} kills, {len(outcome.lost)} lost, {len(outcome.torn)} torn, "
                f"{len(outcome.wrong)} wrong",
                file=sys.stderr,
            )
        if not killed or kind == "worker":
            outcome.lost += finish(run)["failures"]
            if (found := figures(store)) != expected[state]:
                differing = [name for name in found if found[name] != expected[state][name]]
                outcome.wrong.append(f"{differing} of run {outcome.runs}")
            outcome.torn += [f"nobody names {part}" for part in unnamed(store)]
            outcome.completed += 1
            may_be = [expected[state]]
            inputs.submit("ab"[outcome.completed % 2])
        elif store.exists("results.duckdb"):
            # Killed before or after it was published.
            may_be = [*may_be, expected[state]]
        outcome.torn += problems(store, may_be)
        after = finished_work(store)
        for key, work in before.items():
            gone = key not in after
            again = not gone and after[key][0] == work[0] and after[key] != work
            if gone or again:
                outcome.lost.append(f"{key} was {'gone' if gone else 'done again'}")
    reader.ended.set()
    reader.join()
    outcome.reads, outcome.torn = reader.reads, outcome.torn + reader.torn
    outcome.seconds = time.monotonic() - began
    return outcome


def report(outcome: Outcome, kills: int, seed: int) -> str:
    """The table as Markdown."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.kills.items()))
    lines = [
        f"# {outcome.kills.total()} kills of the nightly run",
        "",
        f"`python -m benchmarks.faults --kills {kills} --seed {seed}`, "
        f"{outcome.seconds / 60:.1f} minutes on {os.cpu_count()} cores.",
        "",
        "| what | counted |",
        "|---|---|",
        f"| SIGKILLs | {outcome.kills.total()} ({kinds}) |",
        f"| runs started, of which got through | {outcome.runs}, {outcome.completed} |",
        f"| reads of the levels meanwhile | {outcome.reads} |",
        f"| lost: finished work gone or done again | {len(outcome.lost)} |",
        f"| torn: what a reader saw half-done | {len(outcome.torn)} |",
        f"| wrong: results unlike the undisturbed run's | {len(outcome.wrong)} |",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=7)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PREFECT_HOME"] = str(Path(folder, "prefect"))
        from flows.runtime import prefect_server

        with prefect_server() as server:
            outcome = run_and_kill(Path(folder), server, arguments.kills, arguments.seed)
    tell(report(outcome, arguments.kills, arguments.seed), arguments.out)
    for what in dict.fromkeys(outcome.lost + outcome.torn + outcome.wrong):
        print(f"- {what}", file=sys.stderr)
    if outcome.lost or outcome.torn or outcome.wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
