# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "matplotlib==3.11.2", "numpy==2.3.4", "opencv-python-headless==4.14.0.94", "pillow==13.0.0",
#     "pycocotools==2.0.11", "pysodmetrics==1.6.2", "scikit-image==0.25.2", "scikit-learn==1.9.1",
#     "scipy==1.17.1", "sktime==1.2.0",
# ]
# ///
"""Makes the example anew: data set, catalogue with measured specialists, submissions.

    uv run make.py [--out FOLDER [--only MAKER ...]]

Everything is computed from data inside the packages named above, with fixed seeds. `--only` makes
a part, for a look or a test.
"""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any

# packing.py and wheels.py serve all examples.
sys.path.append(str(Path(__file__).resolve().parent.parent))
# Before scikit-learn is imported: one thread sums in one order.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

from media.core import MODELS, Method, Task  # noqa: E402
from packing import (  # noqa: E402
    arguments,
    catalogue_row,
    cleared,
    makers_in,
    to_json,
    write_catalogue,
    write_files,
    write_table,
)

HERE = Path(__file__).resolve().parent
#: The envelope with task, skill and type; the others deliver the plain list.
ENVELOPE = MODELS[0]
#: Delivered as one archive, files included; the strong model's is a folder.
ARCHIVES = {MODELS[0]: ".zip", MODELS[1]: ".tar.gz"}


def all_makers() -> dict[str, Any]:
    from media import image, sound, space, video

    return makers_in(image, video, sound, space)


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


def against_specialist(figure: float, direction: str) -> float:
    """Six decimals, rounded to the specialist's disadvantage: a model's tie stays one."""
    step = 1e6
    if direction == "lower":
        return math.ceil(figure * step - 1e-3) / step
    return math.floor(figure * step + 1e-3) / step


def main() -> None:
    makers = all_makers()
    options = arguments(__doc__, makers, HERE)
    dataset, submissions = cleared(options.out, "dataset", "submissions")
    catalogue: list[dict[str, Any]] = []
    methods: list[tuple[str, str, str]] = []
    measured: list[tuple[str, str, str, float]] = []
    delivered: dict[str, dict[str, bytes]] = {model: {} for model in MODELS}
    for make in (makers[name] for name in options.only or makers):
        begin = time.perf_counter()
        task = make()
        truths = [instance.truth for instance in task.instances]
        files = dataset_files(task)
        write_files(dataset / task.path, files, ".zip" if task.zipped else "")
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
        row = catalogue_row(
            task,
            direction=task.direction,
            specialist_raw=against_specialist(specialist, task.direction),
            specialist_model=task.specialist.name,
            n_instances=len(truths),
            note=f"{task.note}; measured by {task.library}",
        )
        catalogue.append(row)
        print(
            f"{task.task_id} [{task.metric}] {' < '.join(figures)} | specialist {specialist:.4g}"
            f" ({len(truths)}, {sum(map(len, files.values())) // 1000} kB,"
            f" {time.perf_counter() - begin:.1f} s)",
            flush=True,
        )
    for model, files in delivered.items():
        write_files(submissions / model, files, ARCHIVES.get(model, ""))
    header = ("model", "task_id", "metric_id", "score")
    write_table(options.out / "measured.csv", header, sorted(measured))
    write_table(options.out / "methods.csv", ("task_id", "model", "method"), methods)
    write_catalogue(options.out / "catalogue.csv", catalogue)


if __name__ == "__main__":
    main()
