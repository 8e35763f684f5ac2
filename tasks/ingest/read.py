"""The rows of one annotation.json or prediction.json, in flat memory, whatever state it is in.

A small valid file is parsed at once (orjson). A large or damaged one is decoded row by row from a
sliding window: memory stays flat, every row before a damage is kept, and values that strict JSON
knows nothing of (NaN, lone surrogates, numbers without end, very deep ones) cost their own row only.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from tasks.ingest.quarantine import printable

#: Files up to this size are parsed at once: the parsed rows take about ten times as much memory.
AT_ONCE = 16 * 2**20
_WINDOW = 4 * 2**20
#: A single row beyond this size is a damage (an unclosed string, say), not a row.
_LONGEST_ROW = 256 * 2**20

_DATA = re.compile(r'"data"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_BEFORE = codecs.BOM_UTF8 + b" \t\r\n"
#: What UTF-16 begins with, decoded as UTF-8 with surrogates in place of what is none.
_UTF_16 = ("\udcff\udcfe", "\udcfe\udcff")
_FIELD = r'"{}"\s*:\s*("(?:[^"\\]|\\.)*")'


#: What the end of a value is found by, without decoding it.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)

_decode = json.JSONDecoder().raw_decode
#: Python makes no integer of more than 4,300 digits.
_decode_long_numbers = json.JSONDecoder(parse_int=float).raw_decode


@dataclass(frozen=True, slots=True)
class BadRow:
    """Stands for a row that cannot be decoded, when those after it can."""

    reason: str
    excerpt: str


class DamagedFile(ValueError):
    """The file is damaged: rows before the damage were given, nothing after it can be read."""


class TaskFileReader:
    """Iterates over the rows of a task file; knows its header and hash when it is done.

    Attributes:
        task_type: the `type` in the header, `` when it has none. Known before the first row.
        title: the `task` in the header.
        sha256: hash of all bytes read, complete after the last row.
    """

    def __init__(self, handle: BinaryIO, size: int) -> None:
        self.task_type = ""
        self.title = ""
        self._handle = handle
        self._digest = hashlib.sha256()
        self._small = self._read_bytes(AT_ONCE + 1) if size <= AT_ONCE else None
        self._rows: list[Any] | None = None
        if self._small is not None and len(self._small) <= AT_ONCE:
            self._rows = self._parse_at_once(self._small)

    @property
    def rows(self) -> list[Any] | None:
        """All rows of a small valid file; None when they have to be read one by one."""
        return self._rows

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Any]:
        """The rows as they were parsed, a `BadRow` for one that cannot be.

        Raises:
            DamagedFile: after the last good row, when something follows that cannot be read.
        """
        if self._rows is not None:
            yield from self._rows
            return
        yield from self._decode_by_row()

    def _read_bytes(self, size: int) -> bytes:
        data = self._handle.read(size)
        self._digest.update(data)
        return data

    def _parse_at_once(self, data: bytes) -> list[Any] | None:
        """The rows, or None when strict parsing fails and the slow way must look closer."""
        try:
            document = orjson.loads(data.removeprefix(codecs.BOM_UTF8))
        except orjson.JSONDecodeError:
            return _mapping(data) if data.lstrip(_BEFORE).startswith(b"{") else None
        if isinstance(document, dict):
            self.task_type = _text(document.get("type"))
            self.title = _text(document.get("task"))
            rows = document.get("data")
            if rows is None and (mapping := _mapping(data)) is not None:
                return mapping
        else:
            rows = document
        if not isinstance(rows, list):
            found = type(rows).__name__ if rows is not None else "no data"
            raise DamagedFile(f'expected a list of rows, or an object with "data"; found {found}')
        return rows

    def _decode_by_row(self) -> Iterator[Any]:
        window = _Window(self)
        start = window.skip_to_rows()
        self.task_type, self.title = window.header_field("type"), window.header_field("task")
        position, number = start, 0
        while True:
            position = _BETWEEN.match(window.text, position).end()  # type: ignore[union-attr]
            if position >= len(window.text):
                if not window.grow(position):
                    raise DamagedFile(f"the file ends after row {number} without closing the list")
                position = 0
                continue
            if window.text[position] == "]":
                break
            try:
                row, end = _decode_row(window.text, position)
            except ValueError as error:
                if len(window.text) - position < _LONGEST_ROW and window.grow(position):
                    position = 0
                    continue
                raise DamagedFile(
                    f"row {number} cannot be read ({getattr(error, 'msg', error)}), "
                    f"{window.before + position:,} characters into the file; the rest is lost"
                ) from None
            if end == len(window.text) and window.grow(position):
                position = 0  # the value may go on behind the window
                continue
            yield row
            position, number = end, number + 1
        window.drain()


class _Window:
    """A piece of the file's text that slides forward."""

    def __init__(self, reader: TaskFileReader) -> None:
        self._reader = reader
        # Bytes that are no UTF-8 become lone surrogates, which the row's own check refuses.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._ended = False
        self.before = 0
        self.text = ""
        first = reader._small
        if first is not None:
            self.text = self._decoder.decode(first)
        self.grow(0)
        self.text = self.text.removeprefix("\ufeff")
        self._head = self.text[:65_536]

    def grow(self, keep_from: int) -> bool:
        """Drops the text before `keep_from` and reads on; False at the end of the file."""
        if self._ended:
            return False
        # A row longer than the window is read in ever larger steps, so that it is not decoded
        # over and over from its start.
        size = max(_WINDOW, len(self.text) - keep_from)
        data = self._reader._read_bytes(size)
        self._ended = not data
        more = self._decoder.decode(data, final=self._ended)
        self.before += keep_from
        self.text = self.text[keep_from:] + more
        return bool(more) or not self._ended

    def skip_to_rows(self) -> int:
        """Where the first row begins."""
        if self.text.startswith(_UTF_16):
            raise DamagedFile("the file is UTF-16: save it as UTF-8")
        stripped = self.text.lstrip()
        if not stripped:
            raise DamagedFile("the file is empty")
        if stripped.startswith("["):
            return len(self.text) - len(stripped) + 1
        found = _DATA.search(self.text)
        if found is None:
            raise DamagedFile('expected a list of rows, or an object with "data": [...]')
        return found.end()

    def header_field(self, name: str) -> str:
        """A text field of the header, as far as it stands before the rows."""
        data = _DATA.search(self._head)
        head = self._head[: data.start()] if data else ""
        found = re.search(_FIELD.format(name), head)
        try:
            return printable(json.loads(found[1])) if found else ""
        except ValueError:  # what looks like a text, but is none
            return ""

    def drain(self) -> None:
        """Reads the file to its end, for the hash."""
        while self._reader._read_bytes(_WINDOW):
            pass


def _decode_row(text: str, position: int) -> tuple[Any, int]:
    """The value at a position, or a `BadRow`, and where it ends. Raises `ValueError` on damage."""
    try:
        return _decode(text, position)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        end = _end_of(text, position)
        return BadRow(
            "the row is nested too deeply", text[position : min(end, position + 200)]
        ), end
    except ValueError:  # an integer without end
        return _decode_long_numbers(text, position)


def _end_of(text: str, position: int) -> int:
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text, position):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return found.end()
    raise ValueError("nested too deeply, and not closed")


def _mapping(data: bytes) -> list[Any] | None:
    """Rows of a file that maps ids to predictions, those of an id that occurs twice too; None when
    it is another file, or damaged."""
    outermost: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal outermost
        outermost = pairs  # those of the whole file come last
        return dict(pairs)

    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    try:
        document = json.loads(text, object_pairs_hook=keep, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or {"task", "type", "skill", "data"} & document.keys():
        return None
    return [{"id": key, "prediction": value} for key, value in outermost]


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < 20 else float(digits)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
