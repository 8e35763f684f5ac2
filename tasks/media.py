"""Documents and files that predictions and references name, as arrays; bad ones refused with a reason.

Everything here is read lazily, one instance at a time, within limits: a decompression bomb, a
truncated image or a pickled array costs its own instance and nothing else. What the storage does
wrong (`tasks.files.is_storage_failure`) is raised as it came: it is no fault of the instance.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tasks.errors import UserError
from tasks.files import is_storage_failure, read_member

#: Bytes of one file, pixels of one image, and numbers of one array beyond which it is refused.
FILE_LIMIT = 2 * 2**30
PIXEL_LIMIT = 100_000_000
ARRAY_LIMIT = 500_000_000

#: Why a value that arrives is refused in which a key stands for files: it could name any of them.
RESERVED = 'the keys "$file" and "$files" are reserved: name a file by its path'

Array = npt.NDArray[Any]


class Refused(ValueError):
    """A prediction or reference that the metric cannot take; the message says why."""


def decode(document: str) -> Any:
    """The value of a stored document; files in it are still to be read."""
    return msgspec.json.decode(document)


def decode_arrived(data: str | bytes) -> Any:
    """The value of JSON that came as a text in a document, or as a file: none is in it.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: when it is no JSON, or too deep.
        Refused: when it names a file by itself, which ingest alone may do.
    """
    value = msgspec.json.decode(data)
    if names_files(value):
        raise Refused(RESERVED)
    return value


def names_files(value: Any) -> bool:
    """Whether a key that stands for files occurs anywhere in a value."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "$file" in node or "$files" in node:
                return True
            node = node.values()
        elif not isinstance(node, list):
            continue
        waiting += [inner for inner in node if isinstance(inner, (dict, list))]
    return False


def is_file(value: Any) -> bool:
    """Whether a decoded value stands for a file or a folder of files, as ingest writes them."""
    if not isinstance(value, dict) or "$file" not in value:
        return is_folder(value)
    return "$files" not in value and _is_place(value["$file"])


def is_folder(value: Any) -> bool:
    """Whether a decoded value stands for a folder of files."""
    if not isinstance(value, dict) or "$files" not in value or "$file" in value:
        return False
    files = value["$files"]
    return isinstance(files, list) and all(map(_is_place, files))


def _is_place(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("path"), str)
        and isinstance(value.get("url"), str)
        and isinstance(value.get("member"), str)
    )


def name_of(value: Any) -> str:
    """The path by which a file or folder was named, for messages and for its suffix."""
    return "the folder" if is_folder(value) else place_of(value)["path"]


def read_bytes(value: Any) -> bytes:
    """The content of a file value.

    Raises:
        Refused: when it is no file, absent, damaged, or too large.
        StorageFailure, PermissionError: when the storage fails.
    """
    where = place_of(value)
    try:
        data = read_member(where["url"], where["member"], FILE_LIMIT)
    except Exception as error:
        raise refusal_of(where, error) from None
    if len(data) > FILE_LIMIT:
        raise Refused(f"{where['path']} is larger than {FILE_LIMIT:,} bytes")
    return data


def plain_urls(values: Iterable[Any]) -> Iterator[str]:
    """URLs of the values that are a file, not those of folders and archives."""
    for value in values:
        if type(value) is dict and "$file" in value and is_file(value):
            place = value["$file"]
            if not place["member"]:
                yield place["url"]


def place_of(value: Any) -> dict[str, str]:
    """Where a file value lies: path, url, member. Raises `Refused` when it is none."""
    if not is_file(value) or is_folder(value):
        raise Refused(f"expected a file, found {'a folder' if is_folder(value) else _kind(value)}")
    return value["$file"]


def refusal_of(where: dict[str, str], error: Exception) -> Exception:
    """What to raise in place of an error: why the file is refused, or the storage's failure."""
    if is_storage_failure(error) or isinstance(error, UserError):
        return error
    if isinstance(error, FileNotFoundError):
        return Refused(f"{where['path']} is no longer there: ingest the source again")
    return Refused(f"{where['path']} cannot be read: {error}")


def load_array(value: Any, key: str | None = None, *, finite: bool = True) -> Array:
    """Numbers as an array: a number, (nested) lists of numbers, or a .npy, .npz or .parquet file.

    Args:
        key: the array of an .npz to take; without it, its only one.
        finite: whether NaN and infinities are refused (they mark invalid pixels in some references).

    A file value with a `row` gives that row of the array alone.

    Raises:
        Refused: when it is none of these, ragged, empty, not numeric, not finite, or too large.
    """
    if is_file(value):
        array = array_of_file(value, key)
        if "row" in value:
            row = value["row"]
            if not isinstance(row, int) or not array.ndim or not 0 <= row < len(array):
                raise Refused(f"{name_of(value)} has no row {row!r}")
            array = array[row]
    else:
        try:
            array = np.asarray(value)
        except ValueError:
            raise Refused("the lists are of different lengths") from None
    return numbers(array, value, finite=finite)


def numbers(array: Array, value: Any, *, finite: bool = True) -> Array:
    """An array that was read for a value, once it is found to be as `load_array` says."""
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise Refused(f"expected numbers, found {_kind(value)}")
    if array.size == 0:
        raise Refused("the array is empty")
    if array.size > ARRAY_LIMIT:
        raise Refused(f"the array holds more than {ARRAY_LIMIT:,} numbers")
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Refused("the array holds NaN or an infinity")
    return array


def array_of_file(value: Any, key: str | None = None) -> Array:
    """The whole array of a file, whatever it holds. Raises `Refused` when there is none to read."""
    name, data = name_of(value), read_bytes(value)
    suffix = posixpath.splitext(name)[1].lower()
    try:
        if suffix == ".parquet":
            import polars as pl
            import pyarrow.parquet as pq

            if 8 * stored_numbers(pq.read_metadata(io.BytesIO(data))) > FILE_LIMIT:
                raise Refused(f"{name} unpacks to more than {FILE_LIMIT:,} bytes")
            return pl.read_parquet(io.BytesIO(data)).to_numpy()
        if suffix not in (".npy", ".npz"):
            raise Refused(f"{name}: expected .npy, .npz or .parquet")
        # Pickles run code: an array of objects is refused by NumPy itself.
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        if suffix == ".npy":
            return loaded
        with loaded:
            names = [key] if key in loaded.files else loaded.files
            if len(names) != 1:
                raise Refused(f"{name} holds {', '.join(loaded.files)}: expected {key or 'one'}")
            # The header tells the size before anything is unpacked.
            if loaded.zip.getinfo(f"{names[0]}.npy").file_size > FILE_LIMIT:
                raise Refused(f"{name} unpacks to more than {FILE_LIMIT:,} bytes")
            return loaded[names[0]]
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"{name} is no readable array ({error})") from None


def stored_numbers(metadata: Any) -> int:
    """How many values a Parquet file holds, those inside of lists counted, from its metadata."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    return sum(g.column(i).num_values for g in groups for i in range(g.num_columns))


def load_image(value: Any, mode: str = "RGB") -> npt.NDArray[np.uint8]:
    """An image as an array (height, width, 3) for `RGB`, (height, width) for `L` (grey).

    `label` keeps the stored numbers of a palette or grey image (class ids, 16 bits if it has them);
    `grey` keeps the 16 bits of a grey image that has them and is `L` otherwise.

    Raises:
        Refused: when it is no image, truncated, or has more than `PIXEL_LIMIT` pixels.
    """
    from PIL import Image, UnidentifiedImageError

    name, data = name_of(value) if is_file(value) else "the value", read_bytes(value)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise Refused(f"{name} has {image.width} x {image.height} pixels: too many")
            if mode == "grey":
                kept = image.mode.startswith("I") or image.mode == "L"
                return np.asarray(image if kept else image.convert("L"))
            if mode != "label" and image.mode.startswith("I"):
                raise Refused(f"{name} has 16 bits a pixel: expected 8")
            if mode == "label":
                return np.asarray(
                    image if image.mode in ("P", "L", "I;16", "I", "1") else image.convert("L")
                )
            return np.asarray(image if image.mode == mode else image.convert(mode))
    except Refused:
        raise
    except UnidentifiedImageError:  # its own message tells an address in memory
        raise Refused(f"{name} is no readable image (of no known format)") from None
    except Exception as error:
        raise Refused(f"{name} is no readable image ({error})") from None


def load_frames(value: Any, mode: str = "RGB") -> Iterator[npt.NDArray[np.uint8]]:
    """The images of a folder, by name; a single image is one frame; an .npy or .npz is
    (frames, height, width[, 3]) of uint8, or (height, width, 3) of one frame.

    Raises:
        Refused: as `load_image`, or when the array is of another shape or type.
    """
    if is_folder(value):
        for file in value["$files"]:
            yield load_image({"$file": file}, mode)
    elif is_file(value) and name_of(value).lower().endswith((".npy", ".npz")):
        frames = load_array(value)
        if frames.dtype != np.uint8 or frames.ndim not in (3, 4):
            raise Refused(f"{name_of(value)}: expected uint8 of ([frames,] height, width[, 3])")
        yield from frames[None] if frames.ndim == 3 and frames.shape[2] == 3 else frames
    else:
        yield load_image(value, mode)


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text", type(None): "null"}.get(
        type(value), type(value).__name__
    )
