"""Tables for papers and pages: LaTeX (booktabs) and Markdown (GFM), names escaped, the best in bold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

#: Of these the highest figure of a board is set in bold.
_BEST = ("level_2", "level_3", "level_4", "level_5", "tasks_supported", "tasks_won")
#: Line ends and other controls would end the row that a name stands in.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # After the \\ of the row before they would be its argument and its star.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
#: `&` goes as an entity, too: `&lt;` in a name must not become `<`. Dollars begin formulas.
_MARKDOWN = {
    "|": "&#124;",
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "$": "&#36;",
    **{sign: f"\\{sign}" for sign in "\\`*_{}[]~:@"},
}
#: Between these two TeX would make one other sign: a dash, quotation marks, a turned mark.
_LIGATURE = re.compile(r"--|``|''|[?!]`|,,")
_AUTOLINK = re.compile(r"(www)\.", re.IGNORECASE)
_LATEX_TABLE = str.maketrans(_LATEX)
_MARKDOWN_TABLE = str.maketrans(_MARKDOWN)


def escape_latex(text: str) -> str:
    """The text as LaTeX sets it, on one line, whatever it contains (UTF-8 input assumed)."""
    text = _one_line(text).translate(_LATEX_TABLE)
    while _LIGATURE.search(text):
        text = _LIGATURE.sub(lambda found: "{}".join(found[0]), text)
    return text


def escape_markdown(text: str) -> str:
    """The text as a GFM table cell shows it, on one line, whatever it contains."""
    return _AUTOLINK.sub(r"\1\\.", _one_line(text).translate(_MARKDOWN_TABLE))


def latex(frame: pl.DataFrame, caption: str = "", label: str = "") -> str:
    """A `table` environment with booktabs rules (needs `\\usepackage{booktabs}`).

    Args:
        frame: any table of texts, numbers, truth values and times.
        caption: plain text.
        label: its `\\label`, of letters, digits, `:` and `-`.
    """
    head, rows = _cells(frame, escape_latex, "\\textbf{{{}}}", "--")
    columns = "".join("r" if dtype.is_numeric() else "l" for dtype in frame.dtypes)
    lines = [r"\begin{table}", r"\centering"]
    lines += [f"\\caption{{{escape_latex(caption)}}}"] if caption else []
    lines += [f"\\label{{{label}}}"] if label else []
    lines += [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", f"{' & '.join(head)} \\\\"]
    lines += [r"\midrule", *(f"{' & '.join(row)} \\\\" for row in rows)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def markdown(frame: pl.DataFrame) -> str:
    """A GFM table, numbers to the right.

    Args:
        frame: any table of texts, numbers, truth values and times.
    """
    head, rows = _cells(frame, escape_markdown, "**{}**", "–")
    rule = ["---:" if dtype.is_numeric() else ":---" for dtype in frame.dtypes]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def _one_line(text: str) -> str:
    return _CONTROLS.sub(" ", text)


def _cells(
    frame: pl.DataFrame, escape: Callable[[str], str], bold: str, dash: str
) -> tuple[list[str], list[Sequence[str]]]:
    """Headings and rows as they are set."""
    head = [escape(name.replace("_", " ").capitalize()) for name in frame.columns]
    columns = [
        _column(column, escape, bold if _has_best(frame, column.name) else "", dash)
        for column in _without_unsupported(frame)
    ]
    return head, list(zip(*columns, strict=True))


def _has_best(frame: pl.DataFrame, name: str) -> bool:
    return name in _BEST and "model" in frame.columns and frame["model"].is_unique().all()


def _without_unsupported(frame: pl.DataFrame) -> pl.DataFrame:
    """What is 0 because nothing is supported is no figure."""
    if "status" in frame.columns and "score" in frame.columns:
        return frame.with_columns(pl.when(pl.col("status") == "scored").then(pl.col("score")))
    if "tasks_supported" in frame.columns:
        levels = pl.col([name for name in frame.columns if name.startswith("level_")])
        return frame.with_columns(pl.when(pl.col("tasks_supported") > 0).then(levels))
    return frame


def _column(column: pl.Series, escape: Callable[[str], str], bold: str, dash: str) -> list[str]:
    shown = [_shown(value, escape) for value in column]
    best = column.max() if bold else None
    # What reads the same is as good: nobody sees the third decimal.
    most = _shown(best, escape) if best else None
    return [dash if text is None else bold.format(text) if text == most else text for text in shown]


def _shown(value: Any, escape: Callable[[str], str]) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"
    return str(value) if isinstance(value, (int, float)) else escape(str(value))
