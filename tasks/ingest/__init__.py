"""Ingest: dataset shards and submissions as they arrive, to typed Parquet; bad rows to quarantine."""

from tasks.ingest.batch import BatchResult, ingest_batch
from tasks.ingest.discover import (
    Discovery,
    Submission,
    TaskFile,
    discover,
    list_submissions,
    place_files,
)
from tasks.ingest.state import Plan, finish, plan, read_instances
from tasks.ingest.tree import Tree, list_source, open_source

__all__ = [
    "BatchResult",
    "Discovery",
    "Plan",
    "Submission",
    "TaskFile",
    "Tree",
    "discover",
    "finish",
    "ingest_batch",
    "list_source",
    "list_submissions",
    "open_source",
    "place_files",
    "plan",
    "read_instances",
]
