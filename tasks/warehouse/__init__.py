"""The results database: built aside by the models in `sql/`, checked, and swapped in at once."""

from tasks.warehouse.build import Published, RunInfo, StageRun, build
from tasks.warehouse.connect import connect, leaderboard
from tasks.warehouse.models import Model, load_models

__all__ = [
    "Model",
    "Published",
    "RunInfo",
    "StageRun",
    "build",
    "connect",
    "leaderboard",
    "load_models",
]
