"""What the command lines of the benchmarks share: where a report goes."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path


def parser(doc: str | None) -> ArgumentParser:
    """A parser with `--out`, described by the first line of a module's docstring."""
    options = ArgumentParser(description=(doc or "").split("\n")[0])
    options.add_argument("--out", type=Path, help="write the report there as Markdown")
    return options


def tell(report: str, out: Path | None) -> None:
    """Prints a report, and writes it where `--out` says; it ends in one newline, however it was made."""
    text = report.rstrip("\n") + "\n"
    print(text, end="", flush=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
