"""Options that several commands share, and where they find their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        "-s",
        envvar="GENERAL_LEVEL_STORE",
        help="Where results live: a folder or an fsspec URL such as s3://bucket/store.",
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        envvar="GENERAL_LEVEL_DATASET",
        help="Dataset shards with references: a folder, .zip, .tar.gz or URL.",
    ),
]
SubmissionsOption = Annotated[
    str | None,
    typer.Option(
        "--submissions",
        "-p",
        envvar="GENERAL_LEVEL_SUBMISSIONS",
        help="Model outputs: a folder or URL with one folder or archive a model.",
    ),
]
CatalogueOption = Annotated[
    list[str] | None,
    typer.Option(
        "--catalogue",
        "-c",
        envvar="GENERAL_LEVEL_CATALOGUE",
        help="Your own tasks or updated specialists (CSV or TOML); may be given several times.",
    ),
]
OnlyCatalogueOption = Annotated[
    bool,
    typer.Option(
        "--only-catalogue",
        help="Use the tasks of --catalogue alone, without the published ones.",
    ),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="Only this model; may be given several times."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", "-w", min=1, help="Worker processes; by default one a core."),
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        envvar="GENERAL_LEVEL_DASK",
        help="Work on a Dask cluster instead: its scheduler's address, tcp://host:8786.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Do again what has not changed.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show Prefect's log lines and full tracebacks.")
]


@dataclass(frozen=True, slots=True)
class Example:
    """A bundled input: what `general-level run --example NAME` stands for."""

    name: str
    about: str
    folder: str
    dataset: str | None = None
    submissions: str | None = None
    results: tuple[str, ...] = ()
    catalogue: tuple[str, ...] = ()
    base_catalogue: bool = True
    board: str = "A"
    #: Published levels to compare with: a CSV of model, modality, level, score.
    published_levels: str | None = None

    def path(self, part: str) -> str:
        return str(examples_folder() / self.folder / part)


EXAMPLES = {
    example.name: example
    for example in (
        Example(
            "mini",
            "model outputs on small real data, scored from scratch",
            "general-bench-mini",
            dataset="dataset",
            submissions="submissions",
            catalogue=("catalogue.csv",),
            base_catalogue=False,
        ),
        Example(
            "media",
            "images, videos, arrays and features from real algorithms, all metric families",
            "general-bench-media",
            dataset="dataset",
            submissions="submissions",
            catalogue=("catalogue.csv",),
            base_catalogue=False,
        ),
        Example(
            "published",
            "the published results of about 100 systems on 699 tasks, levels recomputed and audited",
            "published",
            results=("results.csv",),
            published_levels="published_levels.csv",
        ),
        Example(
            "published-audio",
            "the published audio results of 16 systems, levels recomputed",
            "published-audio",
            results=("results.csv",),
            board="B-audio",
            published_levels="published_levels.csv",
        ),
    )
}


def examples_folder() -> Path:
    """The examples of a checkout (they are not part of an installed wheel)."""
    return Path(__file__).resolve().parents[2] / "examples"
