"""One row's value as the columns of `INSTANCE_SCHEMA`, or why it cannot be taken."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import orjson

from tasks.media import RESERVED, names_files

#: Reference fields by annotation type (lower-cased), as the published data has them; a dot goes in.
_FIELDS_BY_TYPE = {
    "multiplechoiceqa": ("answer",),
    "openqa": ("answer",),
    "summarization": ("summary", "highlights"),
    "translation": ("translation",),
    "story generation": ("story",),
    "dialogue": ("reference",),
    "code generation": ("response.content",),
    "code repair": ("repairCode",),
    "code defect detection": ("target",),
    "text to sql": ("sql",),
    "code explanation": ("nl",),
    "mathematical word problem solving": ("solution.final_answer",),
    "paraphrase generation": ("paraphraseSentence",),
    "grammar correction": ("Standard English",),
    "text style transfer": ("answer",),
    "table-to-text generation": ("response.text",),
    "time series": ("target",),
}
#: Payloads of the catalogue that are stored as JSON documents: structures, and files by reference.
STRUCTURED = frozenset({"json", "media", "features"})
#: Fields of a spatio-temporal tube that stand in the annotation's row itself.
_TUBE = ("tube_start_frame", "tube_end_frame", "trajectory", "frame_count")
#: Fields tried for every other type, in this order, before an only value.
_KNOWN_FIELDS = ("answer", "text", *dict.fromkeys(f for fs in _FIELDS_BY_TYPE.values() for f in fs))


class Payload(NamedTuple):
    """The typed columns of one value."""

    kind: str
    text: str | None = None
    texts: list[str] | None = None
    number: float | None = None
    json: str | None = None


class Unreadable(ValueError):
    """A value that cannot be taken; the message says what was expected and what was found."""


def instance_id(value: Any) -> str:
    """A row's id as text: the number 7 and the text "7" are one id. Raises `Unreadable`."""
    if isinstance(value, str):
        if value:
            return checked(value)
    elif type(value) is int or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise Unreadable(f"the id must be a text or a number, found {_name(value)}")


def prediction(value: Any) -> Payload:
    """A model's answer: text, number, list of texts, or a structure as JSON."""
    if isinstance(value, list):
        if value and all(isinstance(item, str) for item in value):
            return Payload("texts", texts=[checked(item) for item in value])
        return Payload("json", json=_json(value))
    return _scalar(value, "the prediction")


def reference(output: Any, task_type: str, numeric: bool) -> Payload:
    """The reference in an annotation's `output`; a list is alternatives, of which the best counts.

    Args:
        output: the row's `output`: a mapping of fields, or the reference itself.
        task_type: the annotation's `type`.
        numeric: whether the task's metric reads numbers; a list of numbers is then one array.
    """
    value = reference_field(output, task_type)
    if isinstance(value, list) and not numeric:
        if not value:
            raise Unreadable("the list of references is empty")
        if all(isinstance(item, (str, int, float)) for item in value):
            return Payload("texts", texts=[checked(_as_text(item)) for item in value])
    if isinstance(value, list):
        return Payload("json", json=_json(value))
    return _scalar(value, "the reference")


def structure(value: Any, file: dict[str, Any] | None = None) -> Payload:
    """A structure (boxes, masks ...) as a JSON document.

    Args:
        file: the file or folder that was found for the value, and goes into its document.

    Raises:
        Unreadable: when it cannot be stored, or names a file by itself.
    """
    document = _json(value)
    if '"$file' in document and names_files(value):
        raise Unreadable(RESERVED)
    return Payload("json", json=document if file is None else _json(value | file))


def top_level_reference(row: dict[str, Any]) -> Any:
    """The reference of an annotation that has no `output` but states a tube in the row itself."""
    return {name: row[name] for name in _TUBE if name in row} if "trajectory" in row else None


def reference_field(output: Any, task_type: str, structured: bool = False) -> Any:
    """The reference itself, out of an annotation's `output`.

    Args:
        structured: for structures and files. The only field of a structure says what its value is
            (`bbox`, `mask` ...) and stays; the only field of a file does not matter.
    """
    if not isinstance(output, dict):
        return output
    value = _field(output, task_type.strip().lower())
    unwrapped = structured and len(output) == 1 and not isinstance(value, str)
    return output if unwrapped and not output.keys() & set(_KNOWN_FIELDS) else value


def reference_paths(task_type: str) -> tuple[str, ...]:
    """Fields of an `output` that may hold the reference, in the order they are tried; a dot goes in."""
    return (*_FIELDS_BY_TYPE.get(task_type.strip().lower(), ()), *_KNOWN_FIELDS)


def _field(output: dict[str, Any], task_type: str) -> Any:
    if task_type == "proof" and isinstance(output.get("proof"), dict):
        proof = output["proof"]
        steps = [step for step in proof.get("steps", []) if isinstance(step, str)]
        return "\n".join(steps) + f"\nConclusion: {proof.get('conclusion', '')}"
    for path in reference_paths(task_type):
        value: Any = output
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return value
    if len(output) == 1:
        return next(iter(output.values()))
    # A structure of its own (masks, boxes ...): the metric's own reader knows what to do with it.
    return output


def _scalar(value: Any, what: str) -> Payload:
    if isinstance(value, str):
        return Payload("text", text=checked(value))
    if isinstance(value, bool):
        return Payload("text", text=str(value))
    if isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise Unreadable(f"{what} must be a finite number, found {value!r:.40}")
        return Payload("number", text=str(value), number=number)
    if isinstance(value, dict):
        return Payload("json", json=_json(value))
    raise Unreadable(f"{what} must be a text, a number, a list or an object, found {_name(value)}")


def checked(text: str) -> str:
    """The text, if it can be stored as UTF-8. Raises `Unreadable` on lone surrogates."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            where = f"at character {error.start}"
            raise Unreadable(f"the text is not valid Unicode (lone surrogate {where})") from None
    return text


def _json(value: Any) -> str:
    try:
        # No more than 254 levels deep: what reads it later has less of the stack left than there is.
        encoded = orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise Unreadable(f"the structure cannot be stored ({error})") from None
    # NaN and infinities are written as null: a structure that holds them is no JSON.
    if "null" in encoded and _has_nonfinite(value):
        raise Unreadable("the structure holds NaN or an infinity")
    return encoded


def _has_nonfinite(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_nonfinite(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_nonfinite(item) for item in value)
    return isinstance(value, float) and not math.isfinite(value)


def _as_text(item: str | float) -> str:
    return item if isinstance(item, str) else str(item)


def _name(value: Any) -> str:
    return {type(None): "null", bool: "true or false", list: "a list", dict: "an object"}.get(
        type(value), repr(value)[:40]
    )
