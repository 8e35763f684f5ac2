"""Distance of two point clouds: Chamfer distance."""

from __future__ import annotations

import io
import math
import posixpath
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.media import Refused, load_array, name_of, read_bytes
from tasks.metrics.base import Floats, StructureMetric, register
from tasks.metrics.frames import expect_file
from tasks.metrics.samples import Samples

Points = npt.NDArray[np.float64]

_PLY_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_PLY_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}


@register
class ChamferDistance(StructureMetric):
    """Chamfer distance, the squared one (CD-L2), 0.. in squared units of the points; lower is better.

    Mean over the predicted points of the squared distance to the nearest reference point, plus the
    same from the reference to the prediction: CD-L2 of point completion (arXiv:2108.08839) and the
    default of `pytorch3d.loss.chamfer_distance`. No factor 1000, no normalisation of the size; then
    the mean over instances. Both directed means are kept.

    Accepts, on both sides: .npy or .npz (`points`, or its only array) of (points, 3 or more), the
    first three being x, y, z; .xyz or .txt with x y z first in a line, separated by space or comma;
    .ply (ASCII or binary), .obj, .off. The points of a mesh are its vertices, with or without faces:
    points drawn at random from its surface would give another score each time.
    """

    id = "chamfer_distance"
    payload = "media"
    statistics = ("to_reference", "from_reference")
    is_fraction = False

    def read_prediction(self, value: Any) -> Points:
        return _read_points(expect_file(value))

    def read_reference(self, value: Any) -> Points:
        return _read_points(expect_file(value))

    def measure(self, prediction: Points, reference: Points) -> tuple[float, float]:
        return _directed(prediction, reference), _directed(reference, prediction)

    def measure_worst(self, reference: Points) -> tuple[float, float]:
        return math.inf, math.inf

    def aggregate(self, stats: pl.DataFrame) -> float:
        return float(self.instance_scores(stats).mean())  # type: ignore[arg-type]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return stats["to_reference"] + stats["from_reference"]

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        return drawn.means(self.instance_scores(stats))


def _directed(points: Points, others: Points) -> float:
    """Mean squared distance of the points to the nearest of the others."""
    from scipy.spatial import KDTree

    distances, _ = KDTree(others).query(points)
    return float(distances @ distances) / len(points)


def _read_points(value: Any) -> Points:
    name = name_of(value)
    suffix = posixpath.splitext(name)[1].lower()
    if suffix in (".npy", ".npz"):
        points = load_array(value, "points")
    elif suffix in _READERS:
        data = read_bytes(value)
        try:
            points = _READERS[suffix](data)
        except Refused as error:
            raise Refused(f"{name}: {error}") from None
        except Exception as error:
            raise Refused(f"{name} is no readable {suffix} ({error})") from None
    else:
        raise Refused(f"{name}: expected .npy, .npz, {', '.join(_READERS)}")
    if points.ndim != 2 or points.shape[1] < 3 or not len(points):
        raise Refused(f"{name}: expected points as (points, 3), found {points.shape}")
    points = points[:, :3].astype(np.float64)
    if not np.isfinite(points).all():
        raise Refused(f"{name} holds NaN or an infinity")
    return points


def _rows(text: bytes, count: int | None = None, columns: tuple[int, ...] = (0, 1, 2)) -> Points:
    lines = io.BytesIO(text.replace(b",", b" "))
    return np.loadtxt(lines, np.float64, usecols=columns, max_rows=count, ndmin=2)


def _read_text(data: bytes) -> Points:
    return _rows(data)


def _read_obj(data: bytes) -> Points:
    vertices = [line for line in data.splitlines() if line.startswith((b"v ", b"v\t"))]
    if not vertices:
        raise Refused("there is no vertex")
    return _rows(b"\n".join(vertices), columns=(1, 2, 3))


def _read_off(data: bytes) -> Points:
    lines = [line for line in data.splitlines() if line.split(b"#")[0].strip()]
    head = lines[0].split()
    # The counts follow the word on its line in some files, and on the next in others.
    if not head[0].upper().endswith(b"OFF"):
        raise Refused("the first word must be OFF")
    counts, body = (head[1:], lines[1:]) if len(head) > 1 else (lines[1].split(), lines[2:])
    return _counted(_rows(b"\n".join(body), int(counts[0])), int(counts[0]))


def _read_ply(data: bytes) -> Points:
    head, mark, body = data.partition(b"end_header")
    lines = [line.split() for line in head.decode("ascii").splitlines() if line.strip()]
    if not mark or lines[0] != ["ply"] or lines[1][0] != "format":
        raise Refused("there is no PLY header")
    body = body[body.index(b"\n") + 1 :]
    elements = [i for i, line in enumerate(lines) if line[0] == "element"]
    if not elements or lines[elements[0]][1] != "vertex":
        raise Refused("the vertices must come first")
    end = elements[1] if len(elements) > 1 else len(lines)
    count = int(lines[elements[0]][2])
    properties = [line for line in lines[elements[0] : end] if line[0] == "property"]
    names = [line[-1] for line in properties]
    if not {"x", "y", "z"} <= set(names):
        raise Refused("the vertices have no x, y and z")
    if any(line[1] == "list" for line in properties):
        raise Refused("a vertex with a list is not supported")
    if lines[1][1] == "ascii":
        columns = (names.index("x"), names.index("y"), names.index("z"))
        return _counted(_rows(body, count, columns), count)
    order = _PLY_ORDERS[lines[1][1]]
    kinds = np.dtype([(line[-1], order + _PLY_TYPES[line[1]]) for line in properties])
    vertices = np.frombuffer(body, kinds, count)
    return np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], axis=1)


def _counted(points: Points, count: int) -> Points:
    if len(points) != count:
        raise Refused(f"{count} vertices are announced, {len(points)} found")
    return points


_READERS = {
    ".ply": _read_ply,
    ".xyz": _read_text,
    ".txt": _read_text,
    ".obj": _read_obj,
    ".off": _read_off,
}
