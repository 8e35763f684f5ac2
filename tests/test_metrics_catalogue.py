"""Every task of the catalogue is scored by a metric that fits what the catalogue says of it."""

from __future__ import annotations

import json

import polars as pl
import pytest

from scripts import metrics_page
from tasks.catalog import load_catalogue
from tasks.metrics import Batch, all_metrics, get_metric, has_metric

CATALOGUE = load_catalogue()
METRICS = {row["metric_id"]: row for row in CATALOGUE.metrics.iter_rows(named=True)}


def test_699_of_699_tasks_resolve():
    ids = CATALOGUE.tasks["metric_id"].to_list()
    assert len(ids) == 699
    assert [metric_id for metric_id in ids if not has_metric(metric_id)] == []


def test_every_metric_of_the_catalogue_is_implemented_and_the_other_way_round():
    # The variant that reproduces a published defect is no metric of any task.
    assert set(all_metrics()) - set(METRICS) <= {"micro_f1_published", "j_and_f"}
    assert set(METRICS) <= set(all_metrics())


@pytest.mark.parametrize("metric_id", sorted(METRICS))
def test_metric_and_catalogue_agree(metric_id):
    metric, row = get_metric(metric_id), METRICS[metric_id]
    assert metric.payload == row["payload"]
    if metric.is_fraction:
        assert row["unit"] == "percent"
    assert metric.__doc__
    assert row["compared_with"], "name the independent reference that a test compares with"


@pytest.mark.parametrize(
    "metric_id",
    sorted(m for m in METRICS if METRICS[m]["payload"] in ("json", "media", "features")),
)
@pytest.mark.parametrize(
    "junk",
    ["null", "{}", "[]", '"x"', "-1e308", '{"$file": {"path": "a", "url": "/no", "member": ""}}'],
)
def test_junk_is_refused_with_a_reason_and_never_crashes(metric_id, junk):
    """Whatever stands on both sides, each row gets statistics or a reason."""
    metric = get_metric(metric_id)
    documents = pl.Series([junk, json.dumps([junk])], dtype=pl.String)
    stats = metric.compute(Batch(documents, documents))
    assert stats.height == 2
    told = [c for c in ("refused", "reference_refused") if c in stats.columns]
    for row in stats.iter_rows(named=True):
        given = all(row[name] is not None for name in metric.statistics)
        assert given or any(row[column] for column in told), row


def test_the_page_of_metrics_is_current():
    assert metrics_page.PAGE.read_text(encoding="utf-8") == metrics_page.page(), (
        "python -m scripts.metrics_page writes it anew"
    )
