"""Ingest: dataset shards and submissions as they arrive, to typed Parquet; bad rows to quarantine."""

from tasks.ingest.batch import BatchResult, ingest_batch
from tasks.ingest.discover import (
    Discovery,
    Submission,
    TaskFile,
    discover,
    list_submissions,
    open_source,
)
from tasks.ingest.state import Plan, finish, plan, read_instances

__all__ = [
    "BatchResult",
    "Discovery",
    "Plan",
    "Submission",
    "TaskFile",
    "discover",
    "finish",
    "ingest_batch",
    "list_submissions",
    "open_source",
    "plan",
    "read_instances",
]
