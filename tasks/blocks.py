"""The array of a file in blocks of rows, in flat memory: features of 50,000 images are 400 MB."""

from __future__ import annotations

import io
import math
import posixpath
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.lib.format as npy
import polars as pl
import pyarrow.parquet as pq

from tasks.files import open_member
from tasks.media import (
    ARRAY_LIMIT,
    FILE_LIMIT,
    Array,
    Refused,
    name_of,
    place_of,
    refusal_of,
    stored_numbers,
)

#: Bytes of one block, and those of an unpacked file or of rows that are held in memory.
_BLOCK = 2**24
_IN_MEMORY = 2**25


def array_blocks(value: Any) -> Iterator[Array]:
    """The array (n, ...) of a .npy, .npz or .parquet file value, in blocks (k, ...) of some 16 MB.

    An array of one dimension, an empty one and one that is stored by columns come as one block. Of
    a .parquet file one row group at a time is in memory. Blocks are as they are stored: they may
    hold NaN, infinities, or no numbers at all.

    Raises:
        Refused: when there is no array to read, or, after its good blocks, where it ends too soon.
        StorageFailure, PermissionError: when the storage fails.
    """
    where = place_of(value)
    suffix = posixpath.splitext(name_of(value))[1].lower()
    if suffix not in _READERS:
        raise Refused(f"{name_of(value)}: expected .npy, .npz or .parquet")
    try:
        with open_member(where["url"], where["member"]) as handle:
            yield from _READERS[suffix](handle)
    except Refused as refused:
        raise Refused(f"{name_of(value)} is no readable array ({refused})") from None
    except Exception as error:
        raise refusal_of(where, error) from None


def _npy_blocks(stream: BinaryIO) -> Iterator[Array]:
    version = npy.read_magic(stream)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in read_header:
        raise Refused(f"version {version} of the format is for arrays of records")
    shape, by_columns, dtype = read_header[version](stream)
    if dtype.hasobject:  # pickles run code
        raise Refused("it holds Python objects, not numbers")
    _expect_size(math.prod(shape), dtype.itemsize)
    per_row = dtype.itemsize * math.prod(shape[1:])
    if len(shape) < 2 or per_row == 0 or shape[0] == 0 or by_columns:
        data = _read_exactly(stream, math.prod(shape) * dtype.itemsize)
        yield np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")
        return
    at_once = max(1, _BLOCK // per_row)
    for first in range(0, shape[0], at_once):
        count = min(at_once, shape[0] - first)
        data = _read_exactly(stream, count * per_row)
        yield np.frombuffer(data, dtype).reshape(count, *shape[1:])


def _npz_blocks(handle: BinaryIO) -> Iterator[Array]:
    with zipfile.ZipFile(io.BufferedReader(cast(io.RawIOBase, handle), 2**17)) as packed:
        names = packed.namelist()
        if len(names) != 1:
            raise Refused(f"it holds {', '.join(names) or 'nothing'}: expected one array")
        if packed.getinfo(names[0]).file_size > FILE_LIMIT:
            raise Refused(f"it unpacks to more than {FILE_LIMIT:,} bytes")
        with packed.open(names[0]) as stream:
            yield from _npy_blocks(cast(BinaryIO, stream))


def _parquet_blocks(handle: BinaryIO) -> Iterator[Array]:
    if not isinstance(handle, io.RawIOBase):
        handle = _unpacked(handle)  # a step back in a packed member is a new start
    file = pq.ParquetFile(handle, pre_buffer=False)
    rows, width = file.metadata.num_rows, file.metadata.num_columns
    _expect_size(stored_numbers(file.metadata), 1)
    at_once = max(1, 4 * _BLOCK // (8 * max(width, 1)))  # each block costs time for each column
    if rows == 0:
        yield np.empty((0, width))
    for batch in file.iter_batches(at_once):
        yield pl.DataFrame(pl.from_arrow(batch)).to_numpy()


_READERS = {".npy": _npy_blocks, ".npz": _npz_blocks, ".parquet": _parquet_blocks}


def _expect_size(numbers: int, itemsize: int) -> None:
    if numbers > ARRAY_LIMIT or numbers * itemsize > FILE_LIMIT:
        raise Refused(f"more than {ARRAY_LIMIT:,} numbers, or {FILE_LIMIT:,} bytes")


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise Refused("it ends before its last row")
    return data


def _unpacked(handle: BinaryIO) -> BinaryIO:
    unpacked = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - lives as long as its reader
    while chunk := handle.read(2**20):
        unpacked.write(chunk)
        if unpacked.tell() > FILE_LIMIT:
            raise Refused(f"it unpacks to more than {FILE_LIMIT:,} bytes")
    unpacked.seek(0)
    return cast(BinaryIO, unpacked)


class StoredRows:
    """The rows of an array that comes in blocks, to be taken in any order: of one block as they are,
    of some in memory, of many in a temporary file.

    Raises:
        Refused: when they are no numbers.
    """

    def __init__(self, blocks: Iterable[Array]) -> None:
        self._only: Array | None = None
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - lives as long as this
        self._count = 0
        self._shape: tuple[int, ...] | None = None
        self._dtype = np.dtype(float)
        for block in blocks:
            if not block.ndim or block.dtype.hasobject:
                raise Refused("expected rows of numbers")
            if self._shape is None:
                self._shape, self._dtype, self._only = block.shape[1:], block.dtype, block
            else:
                if self._only is not None:
                    self._write(self._only)
                    self._only = None
                self._write(block)
            self._count += len(block)

    def _write(self, block: Array) -> None:
        self._file.write(np.ascontiguousarray(block).data)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> Array:
        return self.run(row, 1)[0]

    def run(self, first: int, count: int) -> Array:
        """So many rows from `first` on, (count, ...); all of them are there."""
        if self._only is not None:
            return self._only[first : first + count]
        assert self._shape is not None
        size = self._dtype.itemsize * math.prod(self._shape)
        self._file.seek(first * size)
        data = self._file.read(count * size)
        return np.frombuffer(data, self._dtype).reshape(count, *self._shape)
