"""One full model: 700 tasks, 325,800 text instances, from JSON files to published levels.

    python -m benchmarks.full_model [--scale 1.0] [--out benchmarks/results/full_model.md]

Measures in one run, side by side on the same files:

- the pipeline under Prefect: wall time by stage, peak memory of the run and its workers;
- the same functions without Prefect, down to the reads of what the night shows on its page
  (leaderboard, standing): the difference is the orchestration share;
- a plain per-row scorer on nltk and rouge-score (a sample of the tasks of each metric, as it is
  slow), for the ratio of instance rates and for the equality of scores.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.command import parser, tell
from benchmarks.memory import worker_peaks

if TYPE_CHECKING:  # Prefect takes a second to load, and its settings come first
    from flows.options import RunReport
    from tasks.catalog import Catalogue
    from tasks.score import ScoreJob
    from tasks.storage import Store

TASKS = 700
INSTANCES = 325_800
#: The mix of metrics: what the published catalogue has among its text and label tasks.
METRICS = ["accuracy"] * 4 + ["micro_f1"] * 2 + ["bleu_1"] * 2 + ["rouge_1", "token_f1"]
TYPES = {
    "accuracy": "MultipleChoiceQA",
    "micro_f1": "ner",
    "bleu_1": "Dialogue",
    "rouge_1": "Summarization",
    "token_f1": "OpenQA",
}
FIELDS = {"bleu_1": "reference", "rouge_1": "summary"}
GROUPS = [
    (modality, paradigm)
    for modality in ("image", "video", "audio", "3d")
    for paradigm in ("comprehension", "generation")
] + [("language", "language")]
#: Instances of each metric that the plain scorer is timed on.
SAMPLE = 3_000
#: Seconds after each side of a turn: the server records a run's last events when the run has ended, and
#: once it goes on after a stop has more to catch up with. The next side is not to pay for that.
SETTLE_SECONDS = 3.0


def make_inputs(root: Path, scale: float, seed: int = 7) -> dict[str, tuple[str, int]]:
    """Writes dataset, submission and catalogue; returns task id -> (metric, instances)."""
    rng = random.Random(seed)
    words = [
        "".join(rng.choices("etaoinshrdlucmfwypvbgk", k=rng.randint(2, 9))) for _ in range(4_000)
    ]
    words += [
        "don't",
        "U.S.",
        "Dr.",
        "3.14",
        "1,000",
        "it's",
        "naïve",
        "(see",
        "below)",
        "well-known",
    ]

    def text(low: int, high: int) -> str:
        sentences = []
        for _ in range(rng.randint(1, 3)):
            sentence = " ".join(rng.choices(words, k=rng.randint(low, high)))
            sentences.append(sentence.capitalize() + rng.choice([".", ".", "?", "!"]))
        return " ".join(sentences)

    tasks: dict[str, tuple[str, int]] = {}
    lines = ["task_id,modality,paradigm,title,metric_id,specialist_raw"]
    for i in range(TASKS):
        metric, (modality, paradigm) = METRICS[i % len(METRICS)], GROUPS[i % len(GROUPS)]
        count = max(1, round(INSTANCES * scale * (i + 1) / (TASKS * (TASKS + 1) / 2)))
        slug = f"synthetic-{i:03d}"
        language = modality == "language"
        task_id = f"language.{slug}" if language else f"{modality}.{paradigm}.{slug}"
        tasks[task_id] = (metric, count)
        lines.append(f"{task_id},{modality},{paradigm},Synthetic {i:03d},{metric},40.0")
        annotations, predictions = [], []
        for number in range(count):
            if metric == "accuracy":
                reference = rng.choice("ABCD")
                answer = reference if rng.random() < 0.6 else rng.choice("ABCD")
            elif metric == "micro_f1":
                labels = rng.sample(words, rng.randint(1, 5))
                reference = ", ".join(labels)
                answer = "<p>".join(w if rng.random() < 0.7 else rng.choice(words) for w in labels)
            else:
                reference = text(6, 18)
                answer = " ".join(
                    w if rng.random() < 0.6 else rng.choice(words) for w in reference.split(" ")
                )
            field = FIELDS.get(metric, "answer")
            annotations.append({"id": number, "input": {"q": "?"}, "output": {field: reference}})
            predictions.append({"id": number, "prediction": answer})
        where = ["nlp", slug] if language else [modality, paradigm, slug]
        for base, value in (
            ("dataset", {"task": f"Synthetic {i:03d}", "type": TYPES[metric], "data": annotations}),
            ("submissions/full-model", predictions),
        ):
            folder = root.joinpath(base, *where)
            folder.mkdir(parents=True)
            name = "annotation.json" if base == "dataset" else "prediction.json"
            folder.joinpath(name).write_text(json.dumps(value))
    root.joinpath("catalogue.csv").write_text("\n".join(lines) + "\n")
    return tasks


def add_models(root: Path, models: int) -> None:
    """Copies the submission of `make_inputs` until there are so many models, the last ones added as
    `full-model-2` and on."""
    submissions = root / "submissions"
    for number in range(1 + len(list(submissions.iterdir())), models + 1):
        shutil.copytree(submissions / "full-model", submissions / f"full-model-{number}")


def warm_up() -> None:
    """Starts the server that worker processes are forked from, so that no measurement pays for it."""
    from flows.runtime import WorkerPool

    pool = WorkerPool()
    pool.submit(abs, 1).result()
    pool.close()


def one_night(root: Path, store: str, **where: Any) -> tuple[float, RunReport]:
    """Wall seconds and report of the nightly flow on the inputs of `make_inputs`.

    Args:
        where: other arguments of the flow, such as `workers` and `dask`.
    """
    from flows.nightly import nightly

    began = time.perf_counter()
    report = nightly(
        store,
        str(root / "dataset"),
        str(root / "submissions"),
        catalogue_files=[str(root / "catalogue.csv")],
        base_catalogue=False,
        **where,
    )
    wall = time.perf_counter() - began
    assert not report.failures, report.failures
    return wall, report


def run_under_prefect(root: Path, store: str, server: psutil.Process) -> dict[str, float]:
    """Wall seconds by stage of the nightly flow, and the CPU seconds of its server meanwhile."""
    before = sum(server.cpu_times()[:2])
    wall, report = one_night(root, store)
    spent = sum(server.cpu_times()[:2]) - before
    second, again = one_night(root, store)
    assert again.scored_tasks == 0
    return report.seconds | {"wall": wall, "second run": second, "Prefect server, CPU": spent}


def jobs_by_metric(store: Store, catalogue: Catalogue) -> dict[str, list[ScoreJob]]:
    """All that there is to score once `make_inputs` is ingested, scored before or not."""
    from tasks.schema import Manifest
    from tasks.score import plan_scores, scorings

    references = store.read_struct(Manifest, "references", "manifest.json")
    assert references is not None, "ingest comes first"
    jobs = plan_scores(store, "full-model", scorings(catalogue, references), force=True).jobs
    return {
        metric: [job for job in jobs if job.metrics["corrected"] == metric]
        for metric in dict.fromkeys(METRICS)
    }


def score_rates(root: Path, store_url: str) -> dict[str, float]:
    """Per metric: our seconds an instance, in this one process, from Parquet to stored scores."""
    from tasks.catalog import load_catalogue
    from tasks.score import score_batch
    from tasks.storage import Store

    store = Store(store_url)
    catalogue = load_catalogue([str(root / "catalogue.csv")], base=False)
    seconds = {}
    for metric, jobs in jobs_by_metric(store, catalogue).items():
        began = time.perf_counter()
        done = score_batch(store, "full-model", jobs)
        seconds[metric] = (time.perf_counter() - began) / done.instances
    return seconds


def run_plainly(root: Path, store_url: str) -> float:
    """Wall seconds of the same functions, in the same kind of pool, without Prefect."""
    from concurrent.futures import as_completed

    from flows.runtime import WorkerPool, sole_writer
    from tasks.catalog import load_catalogue
    from tasks.ingest import finish, ingest_batch, list_submissions, plan
    from tasks.report.night import read_standing
    from tasks.schema import QUARANTINE_SCHEMA, Manifest
    from tasks.score import (
        drop_stale_parts,
        finish_scores,
        plan_scores,
        score_batch,
        scorings,
        unscored_rows,
    )
    from tasks.storage import Store
    from tasks.warehouse import RunInfo, build, leaderboard

    began = time.perf_counter()
    store = Store(store_url)
    with sole_writer(store_url):
        catalogue = load_catalogue([str(root / "catalogue.csv")], base=False)
        pool = WorkerPool()
        plans = [plan(store, "references", None, str(root / "dataset"), catalogue)]
        plans += [
            plan(store, "predictions", s.model, s.url, catalogue)
            for s in list_submissions(str(root / "submissions"))
        ]
        work = {
            pool.submit(ingest_batch, store, p.kind, p.model, batch, catalogue): i
            for i, p in enumerate(plans)
            for batch in p.batches
        }
        done: list[list] = [[] for _ in plans]
        for future in as_completed(work):
            done[work[future]].append(future.result())
            finish(store, plans[work[future]], done[work[future]])
        references = store.read_struct(Manifest, "references", "manifest.json")
        assert references is not None
        how = scorings(catalogue, references)
        models = [p.model for p in plans if p.model is not None]
        scores = [plan_scores(store, model, how) for model in models]
        for to_score in scores:
            unscored = unscored_rows(store, to_score, catalogue)
            finish_scores(store, to_score.model, unscored, QUARANTINE_SCHEMA.empty_table())
        batches = {
            pool.submit(score_batch, store, to_score.model, batch): to_score.model
            for to_score in scores
            for batch in to_score.batches
        }
        for future in as_completed(batches):
            scored = future.result()
            finish_scores(store, batches[future], scored.rows, scored.quarantine)
        for model in models:
            drop_stale_parts(store, model)
        build(store, catalogue, RunInfo.now("plain"))
        leaderboard(store).to_dicts()
        pool.close()
    read_standing(store)
    return time.perf_counter() - began


def plain_scorer(root: Path, tasks: dict[str, tuple[str, int]]) -> dict[str, tuple[float, dict]]:
    """Per metric: seconds an instance of the per-row scorer, and its scores by task."""
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_score.rouge_scorer import RougeScorer

    from tests.test_tokenize import punkt_parameters  # the reference tokeniser's parameters

    parameters: PunktParameters = punkt_parameters()
    sentences = PunktSentenceTokenizer(parameters)
    treebank, smooth = NLTKWordTokenizer(), SmoothingFunction().method4
    rouge = RougeScorer(["rouge1"], use_stemmer=True)

    def tokens(text: str) -> list[str]:
        return [t for s in sentences.tokenize(text) for t in treebank.tokenize(s)]

    def bleu(prediction: str, reference: str) -> float:
        found = sentence_bleu(
            [tokens(reference)], tokens(prediction), weights=(1, 0, 0, 0), smoothing_function=smooth
        )
        return float(found)  # type: ignore[arg-type]

    def f1(prediction: str, reference: str) -> float:
        p, r = prediction.strip().split(), reference.strip().split()
        common = len(set(p) & set(r))
        if not common:
            return 0.0
        precision, recall = common / len(p), common / len(r)
        return 2 * precision * recall / (precision + recall)

    def labels(prediction: str, reference: str) -> tuple[int, int, int]:
        p = {x.strip() for x in prediction.lower().split("<p>")}
        r = {x.strip() for x in reference.lower().split(", ")}
        return len(p & r), len(p - r), len(r - p)

    def mean(function, pairs):
        return 100 * sum(function(p, r) for p, r in pairs) / len(pairs)

    def micro(pairs) -> float:
        counts = [labels(p, r) for p, r in pairs]
        tp, fp, fn = (sum(count[i] for count in counts) for i in range(3))
        return 100 * 2 * tp / (2 * tp + fp + fn)

    score = {
        "accuracy": lambda pairs: mean(lambda p, r: float(p.strip() == r.strip()), pairs),
        "token_f1": lambda pairs: mean(f1, pairs),
        "micro_f1": micro,
        "bleu_1": lambda pairs: mean(bleu, pairs),
        "rouge_1": lambda pairs: mean(lambda p, r: rouge.score(r, p)["rouge1"].fmeasure, pairs),
    }
    found: dict[str, tuple[float, dict]] = {}
    for metric, function in score.items():
        spent, seen, scores = 0.0, 0, {}
        for task_id, (its_metric, _) in tasks.items():
            if its_metric != metric or seen >= SAMPLE:
                continue
            parts = task_id.split(".")
            where = ["nlp", parts[1]] if parts[0] == "language" else parts
            began = time.perf_counter()
            data = json.loads(root.joinpath("dataset", *where, "annotation.json").read_text())
            given = json.loads(
                root.joinpath("submissions/full-model", *where, "prediction.json").read_text()
            )
            by_id = {row["id"]: row["prediction"] for row in given}
            pairs = [(by_id[r["id"]], next(iter(r["output"].values()))) for r in data["data"]]
            scores[task_id] = function(pairs)
            spent += time.perf_counter() - began
            seen += len(pairs)
        found[metric] = (spent / max(seen, 1), scores)
    return found


@dataclass(frozen=True, slots=True)
class Turns:
    """Both sides of all turns.

    Attributes:
        seconds: medians of the nightly flow, by stage.
        plain: the median of the same functions without Prefect.
        more: seconds that the flow took more than the other side of the same turn, sorted.
    """

    seconds: dict[str, float]
    plain: float
    more: list[float]

    @property
    def orchestration(self) -> float:
        """Seconds of it: the median of the turns. Sides of one turn see the same machine, whose speed
        differs more from one minute to another than the two of them do."""
        return median(self.more)

    @property
    def share(self) -> float:
        """Its share of the flow's time, 0..1."""
        return max(0.0, self.orchestration / self.seconds["wall"])

    @property
    def spread(self) -> str:
        """The middle half of the turns, and their mean."""
        quarter = len(self.more) // 4
        middle = f"{self.more[quarter]:.2f} to {self.more[-1 - quarter]:.2f} s in the middle half"
        return f"{middle}, mean {fmean(self.more):.2f} s"


def by_turns(root: Path, turns: int) -> Turns:
    """The flow and the same functions without Prefect; by turns, so that a busy moment hits both, and
    each of them first in every second one, as the disk still works on what the other has written.

    One server lasts for all turns, as a scheduled night's does; it is stopped for the other side. The
    first turn does not count: in it the server, and this process, load what they have loaded ever after.
    """
    from flows.runtime import prefect_server

    runs, plains = [], []
    with prefect_server():
        server = next(p for p in psutil.Process().children() if "server" in p.cmdline())

        def night() -> None:
            runs.append(run_under_prefect(root, _emptied(root / "store"), server))

        def plain() -> None:
            server.suspend()
            try:
                plains.append(run_plainly(root, _emptied(root / "store-plain")))
            finally:
                server.resume()

        for turn in range(turns + 1):
            for side in (night, plain) if turn % 2 else (plain, night):
                side()
                time.sleep(SETTLE_SECONDS)
            print(f"turn {turn}: {runs[-1]['wall']:.2f} s, plain {plains[-1]:.2f} s", flush=True)
    return Turns(
        {stage: median(run[stage] for run in runs[1:]) for stage in runs[0]},
        median(plains[1:]),
        sorted(run["wall"] - plain for run, plain in zip(runs[1:], plains[1:], strict=True)),
    )


def _emptied(store: Path) -> str:
    """The store's place once nothing is there, and the disk has nothing more to do for it."""
    shutil.rmtree(store, ignore_errors=True)
    os.sync()
    return str(store)


def compare(store: str, reference: dict[str, tuple[float, dict]]) -> float:
    """The largest absolute difference between the plain scorer's task scores and the stored ones."""
    from tasks.score import read_task_scores
    from tasks.storage import Store

    rows = read_task_scores(Store(store), "full-model").filter(profile="corrected")
    ours = dict(rows.select("task_id", "raw_score").iter_rows())
    return max(
        abs(ours[task_id] - value)
        for _, scores in reference.values()
        for task_id, value in scores.items()
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of this benchmark found.

    Attributes:
        tasks: metric and instances by task id.
        size: of all JSON files, in MB.
        one: a night of one model.
        several: a night of several.
        own: peak memory of the flow's process in GB.
        largest: that of its largest child.
        ours: seconds an instance of our score stage, by metric.
        reference: the same of the plain scorer, and its scores by task.
        worst: the largest difference of a task score.
    """

    tasks: dict[str, tuple[str, int]]
    size: float
    one: Turns
    several: Turns
    own: float
    largest: float
    ours: dict[str, float]
    reference: dict[str, tuple[float, dict]]
    worst: float


def measure(root: Path, scale: float, turns: int, models: int) -> Measured:
    """Measures one full model, then a night of several, in an empty folder."""
    tasks = make_inputs(root, scale)
    size = sum(f.stat().st_size for f in root.rglob("*.json")) / 1e6
    warm_up()
    with worker_peaks() as children:
        one = by_turns(root, turns)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    ours = score_rates(root, str(root / "store-plain"))
    reference = plain_scorer(root, tasks)
    worst = compare(str(root / "store"), reference)
    add_models(root, models)
    several = by_turns(root, turns_of_several(turns))
    return Measured(
        tasks=tasks,
        size=size,
        one=one,
        several=several,
        own=own,
        largest=max(children.values(), default=0.0),
        ours=ours,
        reference=reference,
        worst=worst,
    )


def turns_of_several(turns: int) -> int:
    """Turns of the longer night: a third, three at least."""
    return max(3, turns // 3)


def report(found: Measured, scale: float, turns: int, models: int) -> str:
    """The tables as Markdown."""
    instances = sum(count for _, count in found.tasks.values())
    wall, several = found.one.seconds["wall"], found.several
    night, server = several.seconds["wall"], several.seconds["Prefect server, CPU"]
    # The plain scorer is timed on a sample: its rates say what the whole set would take.
    per_row = sum(found.reference[metric][0] * count for metric, count in found.tasks.values())
    lines = [
        f"# One full model: {len(found.tasks)} tasks, {instances:,} instances, {found.size:.0f} MB of JSON",
        "",
        f"`python -m benchmarks.full_model --scale {scale}` on {os.cpu_count()} cores.",
        "",
        "| what | measured |",
        "|---|---|",
        *(f"| nightly: {stage} | {value:.1f} s |" for stage, value in found.one.seconds.items()),
        f"| the same functions without Prefect | {found.one.plain:.1f} s |",
        f"| orchestration, seconds | {found.one.orchestration:.2f} s ({found.one.spread}) |",
        f"| orchestration share | {found.one.share:.1%} |",
        f"| a night of {models} such models: wall, and without Prefect "
        f"| {night:.1f} s, {several.plain:.1f} s |",
        f"| its orchestration, seconds | {several.orchestration:.2f} s ({several.spread}) |",
        f"| orchestration share of that night | {several.share:.1%} |",
        f"| its Prefect server's CPU, of all cores' time "
        f"| {server:.1f} s, {server / night / (os.cpu_count() or 1):.1%} |",
        f"| peak memory, flow process / largest child | {found.own:.2f} GB / {found.largest:.2f} GB |",
        f"| instance rate of the whole run | {instances / wall:,.0f} /s |",
        f"| plain per-row scorer, one core, whole set (from its rates) | {per_row:.0f} s |",
        f"| plain scorer's time / our score stage | {per_row / found.one.seconds['score']:.1f}x |",
        f"| plain scorer's time / our whole run | {per_row / wall:.1f}x |",
        f"| largest difference of a task score | {found.worst:.1e} |",
        "",
        f"Medians of {turns} turns ({turns_of_several(turns)} of the night of {models}); orchestration is "
        "the median of the turns' differences. The largest child is a worker or the Prefect server.",
        "",
        "| metric | ours, one process | plain loop, one process | ratio |",
        "|---|---|---|---|",
    ]
    for metric, ours in found.ours.items():
        loop, _ = found.reference[metric]
        lines.append(f"| {metric} | {1 / ours:,.0f} /s | {1 / loop:,.0f} /s | {loop / ours:.1f}x |")
    return "\n".join(lines) + "\n"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--scale", type=float, default=1.0, help="share of 325,800 instances")
    options.add_argument("--turns", type=int, default=15, help="runs of each side, by turns")
    options.add_argument("--models", type=int, default=10, help="models of the night of several")
    arguments = options.parse_args()
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")  # before Prefect is loaded
    asked = (arguments.scale, arguments.turns, arguments.models)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), *asked)
    tell(report(found, *asked), arguments.out)


if __name__ == "__main__":
    main()
