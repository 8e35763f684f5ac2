# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "matplotlib==3.11.2", "numpy==2.3.4", "opencv-python-headless==4.14.0.94", "pillow==13.0.0",
#     "pycocotools==2.0.11", "pysodmetrics==1.6.2", "scikit-image==0.25.2", "scikit-learn==1.9.1",
#     "scipy==1.17.1", "sktime==1.2.0",
# ]
# ///
"""Makes the example anew: data set, catalogue with measured specialists, submissions.

    uv run make.py [--only MAKER ...] [--out FOLDER]

Everything is computed from data inside the packages named above, with fixed seeds. `--only` makes
a part, for a look or a test.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import math
import os
import shutil
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

# Before scikit-learn is imported: one thread sums in one order.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

from media.core import MODELS, Method, Task  # noqa: E402

HERE = Path(__file__).resolve().parent
#: As in the pipeline's task table.
COLUMNS = (
    "task_id",
    "modality",
    "paradigm",
    "title",
    "short_title",
    "aliases",
    "skill",
    "metric_id",
    "unit",
    "direction",
    "specialist_raw",
    "specialist_normalised",
    "specialist_model",
    "n_instances",
    "source",
    "note",
)
#: The envelope with task, skill and type; the others deliver the plain list.
ENVELOPE = MODELS[0]
#: Delivered as one archive, files included; the strong model's is a folder.
ZIPPED, TARRED = MODELS[:2]
#: No clock in archives: the same content gives the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


def all_makers() -> dict[str, Any]:
    """Functions that make a task, by name; nothing is computed yet."""
    from media import image, sound, space, video

    rooms = (image, video, sound, space)
    return {f"{r.__name__}.{f.__name__}": f for r in rooms for f in r.TASKS}


def to_json(value: Any) -> str:
    """JSON with one instance a line, so that a changed instance is one changed line."""
    if not isinstance(value, dict):
        return "[\n" + ",\n".join(map(_line, value)) + "\n]\n"
    head = "".join(f"{_line(k)}: {_line(v)},\n" for k, v in value.items() if k != "data")
    return "{\n" + head + '"data": ' + to_json(value["data"]).rstrip() + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def dataset_files(task: Task) -> dict[str, bytes]:
    """annotation.json and all the files that it names."""
    rows, files = [], {}
    for number, instance in enumerate(task.instances, 1):
        value, beside = (task.write_truth or task.write)(f"{number:03d}", instance.truth)
        rows.append({"id": number, "input": instance.shown, "output": {"answer": value}})
        files |= instance.media | beside
    content = {"task": task.title, "type": task.type, "data": rows}
    return files | {"annotation.json": to_json(content).encode()}


def submission_files(
    task: Task, model: str, method: Method, answers: list[Any]
) -> dict[str, bytes]:
    """prediction.json and all the files that it names."""
    rows, files = [], {}
    for number, answer in enumerate(answers, 1):
        value, beside = (method.write or task.write)(f"{number:03d}", answer)
        rows.append({"id": number, "prediction": value})
        files |= beside
    if task.shared is not None and method.write is None:
        files |= task.shared(answers)
    content: Any = rows
    if model == ENVELOPE:
        content = {"task": task.title, "skill": task.skill, "type": task.type, "data": rows}
    return files | {"prediction.json": to_json(content).encode()}


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data, zipfile.ZIP_DEFLATED)


def write_tar_gz(path: Path, files: dict[str, bytes]) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(plain.getvalue())


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def against_specialist(figure: float, direction: str) -> float:
    """Six decimals, rounded to the specialist's disadvantage: a model's tie stays one."""
    step = 1e6
    if direction == "lower":
        return math.ceil(figure * step - 1e-3) / step
    return math.floor(figure * step + 1e-3) / step


def catalogue_row(task: Task, figure: float) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "modality": task.modality,
        "paradigm": task.paradigm,
        "title": task.title,
        "short_title": task.short_title,
        "skill": task.skill,
        "metric_id": task.metric,
        "unit": task.unit,
        "direction": task.direction,
        "specialist_raw": against_specialist(figure, task.direction),
        "specialist_model": task.specialist.name,
        "n_instances": len(task.instances),
        "source": task.source,
        "note": f"{task.note}; measured by {task.library}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=[], help="makers, e.g. media.image.digit_detection"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="where to write")
    options = parser.parse_args()
    makers = all_makers()
    if unknown := set(options.only) - set(makers):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(makers)}")

    dataset, submissions = (options.out / name for name in ("dataset", "submissions"))
    for folder in (dataset, submissions):
        shutil.rmtree(folder, ignore_errors=True)
    catalogue: list[dict[str, Any]] = []
    methods: list[tuple[str, str, str]] = []
    measured: list[tuple[str, str, str, float]] = []
    delivered: dict[str, dict[str, bytes]] = {model: {} for model in MODELS}
    for make in (makers[name] for name in options.only or makers):
        begin = time.perf_counter()
        task = make()
        truths = [instance.truth for instance in task.instances]
        files = dataset_files(task)
        if task.zipped:
            inside = {f"{task.folder}/{name}": data for name, data in files.items()}
            write_zip(dataset / f"{task.path}.zip", inside)
        else:
            write_files(dataset / task.path, files)
        figures = []
        for model, method in zip(MODELS, task.methods, strict=True):
            answers = method.predict(task.instances)
            made = submission_files(task, model, method, answers)
            delivered[model] |= {f"{task.path}/{name}": data for name, data in made.items()}
            score = task.figure(answers, truths)
            measured.append((model, task.task_id, task.metric, round(score, 9)))
            methods.append((task.task_id, model, method.name))
            figures.append(f"{score:.4g}")
        specialist = task.figure(task.specialist.predict(task.instances), truths)
        methods.append((task.task_id, "specialist", task.specialist.name))
        catalogue.append(catalogue_row(task, specialist))
        print(
            f"{task.task_id} [{task.metric}] {' < '.join(figures)} | specialist {specialist:.4g}"
            f" ({len(truths)}, {sum(map(len, files.values())) // 1000} kB,"
            f" {time.perf_counter() - begin:.1f} s)",
            flush=True,
        )
    for model, files in delivered.items():
        inside = {f"{model}/{name}": data for name, data in files.items()}
        if model == ZIPPED:
            write_zip(submissions / f"{model}.zip", inside)
        elif model == TARRED:
            write_tar_gz(submissions / f"{model}.tar.gz", inside)
        else:
            write_files(submissions / model, files)
    for name, header, rows in (
        ("measured.csv", ("model", "task_id", "metric_id", "score"), sorted(measured)),
        ("methods.csv", ("task_id", "model", "method"), methods),
    ):
        with open(options.out / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])
    with open(options.out / "catalogue.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(catalogue, key=lambda row: row["task_id"]))


if __name__ == "__main__":
    main()
