"""Printed figures against what a store holds: the models of `sql/audit/`, run on its results."""

from __future__ import annotations

import os

import polars as pl

from tasks.storage import Store
from tasks.warehouse import connect
from tasks.warehouse.models import load_models


def audit(store: Store, model: str, printed: str | os.PathLike[str]) -> pl.DataFrame:
    """One audit of the published results in a store.

    Args:
        model: `published_levels` or `published_counts`, whose headers say their columns.
        printed: the CSV of printed figures that the audit's header describes.
    """
    (query,) = (m.sql for m in load_models("audit") if m.name == model)
    with connect(store, rows=False) as database:
        database.execute("SET VARIABLE printed = ?", [os.fspath(printed)])
        return database.sql(query).pl()
