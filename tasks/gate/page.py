"""The report as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.errors import UserError
from tasks.gate.report import READY, WORTHLESS, Report
from tasks.storage import Store

_TEMPLATES = Path(__file__).parent / "templates"
#: Characters that do not show, or turn the direction of those after them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
#: Longest text that is shown of a name or a reason.
_LONGEST = 500


def write_page(report: Report, path: str) -> None:
    """Writes the report as one HTML file, at once.

    Args:
        path: a local file, which is replaced.

    Raises:
        UserError: when it is remote, a folder, or in a folder that does not exist.
    """
    file = Path(path)
    if "://" in path or file.is_dir() or not file.parent.is_dir():
        raise UserError(f"{path} cannot be a page", "name a file in a folder that exists")
    data = render(report).encode()
    Store(file.parent).write_bytes(data, file.name)


def render(report: Report) -> str:
    """The page as text. Whatever a name holds is shown, and never read as markup."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters |= {"count": "{:,}".format, "size": _size}
    state = {READY: "ready", WORTHLESS: "worthless"}.get(report.verdict, "losses")
    return environment.get_template("report.html.j2").render(report=report, state=state)


def _visible(value: object) -> object:
    """Texts with escapes for what does not show, cut where nobody reads on."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    text = value if len(value) <= _LONGEST else value[:_LONGEST] + " …"
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _size(size: int) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= step:
            return f"{size / step:,.1f} {unit}"
    return f"{size} bytes"
