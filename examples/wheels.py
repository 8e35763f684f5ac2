"""The data that Python packages carry in their wheels, read without importing the heavy ones."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

import numpy as np


def package_file(package: str, *parts: str) -> Path:
    """A file inside an installed package, found without running the package's code."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"package {package} is not installed; see the header of make.py")
    return Path(spec.submodule_search_locations[0], *parts)


@functools.cache
def series(name: str, split: str) -> tuple[list[np.ndarray], list[str]]:
    """A sktime bundled data set: (frames, channels) arrays and their class labels."""
    text = package_file("sktime", "datasets", "data", name, f"{name}_{split}.ts").read_text("utf-8")
    body = re.split(r"(?i)^@data\s*$", text, maxsplit=1, flags=re.MULTILINE)[1]
    arrays, labels = [], []
    for line in filter(None, map(str.strip, body.splitlines())):
        *channels, label = line.split(":")
        columns = [[float(v) for v in c.split(",") if v not in ("?", "NaN")] for c in channels]
        arrays.append(np.array(columns).T)
        labels.append(label)
    return arrays, labels


def elevation() -> np.ndarray:
    """Elevation in metres around the Jacksboro fault, (344, 403)."""
    path = package_file("matplotlib", "mpl-data", "sample_data", "jacksboro_fault_dem.npz")
    with np.load(path, allow_pickle=False) as data:
        return data["elevation"].astype(float)
