"""A submission out of the logs of another harness: which log is of which task, and its predictions."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tasks.catalog import Catalogue
from tasks.catalog.model import modality_of, paradigm_of
from tasks.errors import UserError, near
from tasks.files import open_member
from tasks.ingest import discover, open_source
from tasks.ingest.payload import Unreadable, instance_id
from tasks.ingest.read import DamagedFile, TaskFileReader
from tasks.report.harness_logs import HARNESSES, Log, UnreadableLog, log_of, read_log
from tasks.storage import Store

MAP_COLUMNS = ("harness_task", "task_id", "id_field", "filter")
#: Words that harnesses put before the names of a benchmark's tasks.
_BENCHMARK = re.compile(r"^general[-_ ]?bench[-_ ]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TaskConversion:
    """What became of one task's samples.

    Attributes:
        logs: the logs that they come from.
        samples: rows of these logs; the sum of the counts below.
        written: predictions in the submission.
        duplicate: samples that say again what another one says.
        missing: samples without a response.
        refused: samples that cannot be taken; `problems` says why.
        numbered: the ids are only the samples' numbers in the harness.
    """

    task_id: str
    logs: list[str]
    samples: int
    written: int
    duplicate: int
    missing: int
    refused: int
    numbered: bool


@dataclass(slots=True)
class Conversion:
    """What became of the logs.

    Attributes:
        out: the submission.
        unmatched: logs that no task was made of, with the reason.
        others: files that are named like no log.
        problems: a row a missing or refused sample: source, position (row or line), instance_id,
            reason.
    """

    out: str
    harness: str
    tasks: list[TaskConversion] = field(default_factory=list)
    unmatched: list[dict[str, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of a task map: which task a harness's task is, and how its samples are read."""

    task_id: str
    id_field: str = ""
    filter: str = ""


def convert_logs(
    url: str,
    harness: str,
    out: str,
    catalogue: Catalogue,
    *,
    task_map: str | None = None,
    dataset: str | None = None,
    model: str | None = None,
) -> Conversion:
    """Writes one model's logs as a submission: a `prediction.json` a task.

    A log's task is the one that the map names, else the one that its name means in the catalogue.
    Of several logs of one harness task the latest counts; several harness tasks that the map sends
    to one task are put together. Different responses of one instance are all refused.

    Args:
        url: a log, a folder of logs, or an fsspec URL.
        harness: one of `HARNESSES`.
        out: folder or URL of the submission; each file is replaced as a whole.
        task_map: CSV of `MAP_COLUMNS`, the first two needed.
        dataset: dataset whose instances, in their order, the samples' numbers count.
        model: name that the submission gives the model.

    Raises:
        UserError: unknown harness, absent source, wrong map, logs of several models, or no log at all.
    """
    if harness not in HARNESSES:
        raise UserError(f"there is no harness {harness!r}", f"choose from: {', '.join(HARNESSES)}")
    fs, root = open_source(url)
    maps = read_task_map(task_map, catalogue) if task_map else {}
    result = Conversion(out, harness)
    by_task: dict[str, dict[str, list[tuple[Log, Mapping]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    models: set[str] = set()
    for path in [root] if fs.isfile(root) else sorted(fs.find(root)):
        log = log_of(str(path), harness)
        if log is None:
            result.others.append(str(path))
            continue
        name, found = _match(log.names, maps, catalogue)
        if found is None:
            told = f"no task of the catalogue is called {name!r}: name it in a --task-map"
            result.unmatched.append({"log": log.path, "reason": told})
            continue
        models.add(log.model)
        by_task[found.task_id][name].append((log, found))
    if len(models) > 1:
        raise UserError(
            f"{url} holds logs of {len(models)} models: {', '.join(sorted(models))}",
            "convert one model's folder at a time: a submission is of one model",
        )
    if not by_task and not result.unmatched:
        raise UserError(f"{url} holds no per-sample log of {harness}", "see docs/interop.md")
    ids = _instance_ids(dataset, catalogue) if dataset else None
    target = Store(out)
    for task_id, named in sorted(by_task.items()):
        frames: list[pl.DataFrame] = []
        for candidates in named.values():
            *older, (log, how) = sorted(candidates, key=lambda c: (c[0].time, c[0].path))
            for old, _ in older:
                told = f"{log.path} is a later log of the same task"
                result.unmatched.append({"log": old.path, "reason": told})
            try:
                frames.append(_samples(fs.cat_file(log.path), log, how, ids, task_id))
            except UnreadableLog as error:
                result.unmatched.append({"log": log.path, "reason": str(error)})
        if frames:
            _write_task(target, task_id, pl.concat(frames), catalogue, result)
    if model is not None and result.tasks:
        target.write_struct({"name": model}, "model.json")
    for name in sorted(maps.keys() - {name for named in by_task.values() for name in named}):
        told = f"the task map names {name!r}, of which there is no log"
        result.unmatched.append({"log": "", "reason": told})
    return result


def read_task_map(path: str, catalogue: Catalogue) -> dict[str, Mapping]:
    """Mappings by harness task. Raises `UserError` for an absent file or a wrong line."""
    fs, place = open_source(path)
    try:
        text = fs.cat_file(place).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "write it as UTF-8 CSV") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    absent = [name for name in MAP_COLUMNS[:2] if name not in (reader.fieldnames or ())]
    if absent:
        raise UserError(
            f"{path} lacks the columns {', '.join(absent)}",
            f"a task map has the columns {', '.join(MAP_COLUMNS)}, the last two may be left out",
        )
    maps: dict[str, Mapping] = {}
    for line in reader:
        row = {name: (line.get(name) or "").strip() for name in MAP_COLUMNS}
        where = f"{path}, line {reader.line_num}"
        if row["task_id"] not in catalogue:
            told = near(row["task_id"], catalogue.tasks["task_id"])
            raise UserError(
                f"{where}: the catalogue has no task {row['task_id']!r}",
                f"near it: {', '.join(told)}" if told else "general-level sql 'FROM tasks'",
            )
        if row["harness_task"] in maps:
            raise UserError(f"{where}: {row['harness_task']!r} stands there twice", "keep one")
        maps[row["harness_task"]] = Mapping(row["task_id"], row["id_field"], row["filter"])
    return maps


def _match(
    names: Iterable[str], maps: dict[str, Mapping], catalogue: Catalogue
) -> tuple[str, Mapping | None]:
    """The first name that the map, or else the catalogue, knows; the first name when none does."""
    names = list(names)
    for name in names:
        if name in maps:
            return name, maps[name]
    for name in names:
        task_id = _task_of(name, catalogue)
        if task_id is not None:
            return name, Mapping(task_id)
    return names[0], None


def _task_of(name: str, catalogue: Catalogue) -> str | None:
    """The task of a name such as `Bird-Detection` or `general_bench_image_comprehension_bird_detection`."""
    found = catalogue.resolve(None, None, name)
    words = re.split(r"[-_. ]", _BENCHMARK.sub("", name))
    modality = modality_of(words[0])
    if found is not None or (modality is None and len(words) == len(re.split(r"[-_. ]", name))):
        return found
    rest = words[1:] if modality else words
    paradigm = paradigm_of(rest[0]) if modality and rest else None
    return catalogue.resolve(modality, paradigm, "-".join(rest[1:] if paradigm else rest))


def _samples(
    data: bytes,
    log: Log,
    how: Mapping,
    ids: Callable[[str], list[str | None]] | None,
    task_id: str,
) -> pl.DataFrame:
    """The samples of a log with its name, the filter chosen and numbers told apart from ids."""
    samples = read_log(data, log.path, how.id_field)
    filters = samples["filter"].drop_nulls().unique().sort().to_list()
    chosen = how.filter or (filters[0] if len(filters) == 1 else "")
    if chosen and chosen not in filters:
        raise UnreadableLog(f"it has no filter {chosen!r}, but {', '.join(filters) or 'none'}")
    if len(filters) > 1 and not chosen:
        raise UnreadableLog(f"it has several filters: name one of {', '.join(filters)} in the map")
    if chosen:
        samples = samples.filter(pl.col("filter").is_null() | (pl.col("filter") == chosen))
    if ids is not None and samples["numbered"].any():
        samples = _with_ids(samples, ids(task_id))
    return samples.with_columns(source=pl.lit(log.path))


def _with_ids(samples: pl.DataFrame, ids: list[str | None]) -> pl.DataFrame:
    """Ids of the dataset in place of the samples' numbers."""
    known = pl.DataFrame(
        {"number": range(len(ids)), "own_id": ids},
        schema={"number": pl.Int64, "own_id": pl.String},
    )
    number = pl.col("instance_id").cast(pl.Int64, strict=False)
    told = pl.format("the dataset has no instance number {}", "instance_id")
    return (
        samples.with_columns(number=number)
        .join(known, on="number", how="left", maintain_order="left")
        .with_columns(
            numbered=pl.lit(False),
            problem=pl.coalesce("problem", pl.when(pl.col("own_id").is_null()).then(told)),
            instance_id=pl.coalesce("own_id", "instance_id"),
        )
        .drop("number", "own_id")
    )


def _write_task(
    target: Store, task_id: str, samples: pl.DataFrame, catalogue: Catalogue, result: Conversion
) -> None:
    good = pl.col("problem").is_null()
    differing = good & (pl.col("prediction").n_unique().over("instance_id", good) > 1)
    told = pl.lit("the instance has several different responses")
    samples = samples.with_columns(problem=pl.coalesce("problem", pl.when(differing).then(told)))
    taken = samples.filter(good)
    written = taken.unique("instance_id", keep="first", maintain_order=True)
    if written.height:
        rows = written.select(id="instance_id", prediction="prediction").write_json()
        target.write_bytes(rows.encode(), *_place(task_id, catalogue), "prediction.json")
    problems = samples.filter(~good)
    missing = int(problems["missing"].sum())
    result.tasks.append(
        TaskConversion(
            task_id=task_id,
            logs=samples["source"].unique(maintain_order=True).to_list(),
            samples=samples.height,
            written=written.height,
            duplicate=taken.height - written.height,
            missing=missing,
            refused=problems.height - missing,
            numbered=bool(taken["numbered"].any()),
        )
    )
    result.problems += problems.select(
        "source", pl.col("row").alias("position"), "instance_id", pl.col("problem").alias("reason")
    ).to_dicts()


def _place(task_id: str, catalogue: Catalogue) -> tuple[str, ...]:
    """The task's folders in a submission; by its whole id where its own part means another task."""
    task = catalogue.task(task_id)
    groups = ("nlp",) if task.modality == "language" else (task.modality, task.paradigm)
    name = task_id.rpartition(".")[2]
    known = catalogue.resolve(task.modality, task.paradigm, name) == task_id
    return (*groups, name if known else task_id)


def _instance_ids(dataset: str, catalogue: Catalogue) -> Callable[[str], list[str | None]]:
    """A function of a task id: the ids of the dataset's rows in their order, None for a bad one."""
    files = {file.task_id: file for file in discover(dataset, "references", catalogue).files}

    def ids(task_id: str) -> list[str | None]:
        file = files.get(task_id)
        if file is None:
            raise UserError(
                f"{dataset} has no instances of {task_id}",
                "leave out --dataset, or name the samples' ids by id_field in the task map",
            )
        try:
            with open_member(file.url, file.member) as handle:
                return [_own_id(row) for row in TaskFileReader(handle, file.size)]
        except DamagedFile as error:
            raise UserError(f"{file.source} cannot be read: {error}", "mend the dataset") from None

    return ids


def _own_id(row: Any) -> str | None:
    try:
        return instance_id(row.get("id")) if isinstance(row, dict) else None
    except Unreadable:
        return None
