"""Answers as files: images, folders of frames, arrays, flows, point clouds, COCO masks."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np

from .core import Write, Written


def png(pixels: np.ndarray) -> bytes:
    """Grey (uint8 or uint16) or RGB pixels as PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", optimize=True)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """As `numpy.savez_compressed`, without a clock: the same numbers give the same bytes."""
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, npy(array), zipfile.ZIP_DEFLATED, compresslevel=9)
    return file.getvalue()


def flo(flow: np.ndarray) -> bytes:
    """Middlebury's format, (height, width, 2) of x and y."""
    height, width, _ = flow.shape
    return struct.pack("<fii", 202021.25, width, height) + flow.astype("<f4").tobytes()


def ply(points: np.ndarray) -> bytes:
    """Points (n, 3), binary."""
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    return ("\n".join([*lines, "end_header"]) + "\n").encode() + points.astype("<f4").tobytes()


def xyz(points: np.ndarray) -> bytes:
    return "".join("{:g} {:g} {:g}\n".format(*p) for p in points.tolist()).encode()


def rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO run lengths, compressed."""
    from pycocotools import mask as coco

    found = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(map(int, found["size"])), "counts": found["counts"].decode()}


def as_is(name: str, value: Any) -> Written:
    return value, {}


def in_file(folder: str, suffix: str, encode: Any, **beside: Any) -> Write:
    """Writes an answer as `<folder>/<name><suffix>`, with more fields beside its path if given."""

    def write(name: str, value: Any) -> Written:
        path = f"{folder}/{name}{suffix}"
        return ({"path": path} | beside) if beside else path, {path: encode(value)}

    return write


def in_frames(folder: str) -> Write:
    """Writes frames (frames, height, width) as a folder of PNG."""

    def write(name: str, value: np.ndarray) -> Written:
        files = {f"{folder}/{name}/{k:02d}.png": png(f) for k, f in enumerate(value)}
        return f"{folder}/{name}", files

    return write


def strip(frames: np.ndarray) -> np.ndarray:
    """Frames side by side, as one picture."""
    return np.concatenate(list(frames), axis=1)
