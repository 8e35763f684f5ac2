"""Refused rows and files, as rows of `QUARANTINE_SCHEMA`."""

from __future__ import annotations

from typing import Any

import msgspec

EXCERPT_LENGTH = 200


def refusal(
    source: str,
    reason: str,
    *,
    model: str | None = None,
    task_id: str | None = None,
    position: int | None = None,
    instance_id: str | None = None,
    excerpt: Any = None,
) -> dict[str, Any]:
    """One refused row, or with no position one refused file. The excerpt is cut to 200 characters."""
    if excerpt is not None and not isinstance(excerpt, str):
        try:
            excerpt = msgspec.json.encode(excerpt).decode()
        except (TypeError, ValueError, RecursionError):
            excerpt = repr(excerpt)
    return {
        "stage": "ingest",
        "model": model,
        "task_id": task_id,
        "source": printable(source),
        "position": position,
        "instance_id": printable(instance_id),
        "reason": printable(reason),
        "excerpt": printable(excerpt[:EXCERPT_LENGTH]) if excerpt is not None else None,
    }


def printable(text: Any) -> Any:
    """Text that can be stored as UTF-8: lone surrogates become their escapes."""
    if not isinstance(text, str):
        return text
    return text.encode("utf-8", "backslashreplace").decode()
