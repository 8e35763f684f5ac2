"""`general-level doctor`: is this installation able to run, and is the store readable?"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from tasks.errors import UserError
from tasks.storage import Store


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at, whether it is well, and what was seen."""

    name: str
    ok: bool
    detail: str


def examine(store_url: str) -> list[Check]:
    """Runs every check; none stops another."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("versions", _versions),
        ("tokeniser", _tokeniser),
        ("catalogue", _catalogue),
        ("prefect server", _server),
        ("store", lambda: _store(store_url)),
        ("results", lambda: _results(store_url)),
    ]
    return [_run(name, check) for name, check in checks]


def _run(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except UserError as error:
        return Check(name, False, str(error))
    except Exception as error:  # a doctor reports what ails, whatever it is
        return Check(name, False, f"{type(error).__name__}: {error}")


def _versions() -> str:
    packages = ("prefect", "fastapi", "polars", "pyarrow", "duckdb", "fsspec", "s3fs")
    found = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"Python {platform.python_version()}, {found}"


def _tokeniser() -> str:
    import polars as pl

    from tasks.metrics import Batch, get_metric

    text = "Dr. Smith can't come. He's ill."
    metric = get_metric("bleu_1")
    batch = Batch(pl.Series([text]), pl.Series([[text]]))
    if metric.aggregate(metric.compute(batch)) != 1.0:
        raise ValueError("BLEU-1 of a text with itself is not 1")
    return "works without downloads"


def _catalogue() -> str:
    from tasks.catalog import check_catalogue, load_catalogue

    catalogue = load_catalogue()
    problems = check_catalogue(catalogue)
    if problems:
        raise ValueError("; ".join(problems))
    return f"{catalogue.tasks.height} tasks, {catalogue.metrics.height} metrics"


def _server() -> str:
    from flows.runtime import prefect_server

    with prefect_server() as url:
        return f"answers at {url}"


def _store(store_url: str) -> str:
    store = Store(store_url)
    models = store.names("predictions")
    references = "with" if store.exists("references", "manifest.json") else "without"
    return f"{store_url}: {len(models)} models' predictions, {references} references"


def _results(store_url: str) -> str:
    store = Store(store_url)
    if not store.exists("published", "latest.json"):
        return "nothing published yet"
    latest = json.loads(store.read_bytes("published", "latest.json"))
    return f"last published run: {latest.get('run_id')}"
