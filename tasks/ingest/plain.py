"""Files whose rows are all alike and good, by far the most: taken by column, not row by row.

Every function returns None as soon as one row is not plain; the rows are then looked at one by one
(`payload.py`), with the same result for the plain ones among them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

from tasks.ingest.payload import reference_paths


class PlainRows(NamedTuple):
    """Ids and texts of the rows, in their order (String, LargeString)."""

    ids: pa.Array
    texts: pa.Array


def plain_predictions(rows: list[Any]) -> PlainRows | None:
    """Rows of `{"id": ..., "prediction": text}`."""
    if not _only(dict, rows):
        return None
    return _plain_rows(rows, [row.get("prediction") for row in rows])


def plain_references(rows: list[Any], task_type: str) -> PlainRows | None:
    """Rows whose `output` is a text, or an object of the same fields with a text for reference."""
    if not _only(dict, rows) or task_type.strip().lower() == "proof":
        return None
    outputs = [row.get("output") for row in rows]
    if _only(str, outputs):
        return _plain_rows(rows, outputs)
    if not _only(dict, outputs) or len(set(map(tuple, outputs))) != 1:
        return None
    fields = outputs[0].keys()
    for path in reference_paths(task_type):
        name, *deeper = path.split(".")
        if name in fields:
            # A nested field may be there in one row and absent in the next.
            return None if deeper else _plain_rows(rows, [output[name] for output in outputs])
    if len(fields) != 1:
        return None
    return _plain_rows(rows, [next(iter(output.values())) for output in outputs])


def _plain_rows(rows: list[Any], texts: list[Any]) -> PlainRows | None:
    if not _only(str, texts):
        return None
    ids = [row.get("id") for row in rows]
    whole = _only(int, ids)
    # The types first: an id may be a list, which no set holds.
    if not whole and (not _only(str, ids) or "" in ids):
        return None
    if len(set(ids)) != len(ids):
        return None
    try:
        # As a whole column, numbers become texts in a third of the time that `str` takes.
        column = (
            pa.array(ids, pa.int64()).cast(pa.string()) if whole else pa.array(ids, pa.string())
        )
        return PlainRows(column, pa.array(texts, pa.large_string()))
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
        return None  # an id beyond 64 bits, half a surrogate pair


def _only(kind: type, values: list[Any]) -> bool:
    return set(map(type, values)) == {kind}
