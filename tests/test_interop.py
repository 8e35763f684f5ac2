"""Results for other tools and back, and submissions out of the logs of other harnesses."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any

import openpyxl
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.report.export import export_all, export_table, published_tables, read_table, write_table
from tasks.report.formulas import harmless, meant
from tasks.report.past_results import import_past_results
from tasks.report.typeset import escape_latex, latex, markdown
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect

#: Names that break tables, spreadsheets or TeX when they are not escaped.
HOSTILE = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "@x & 50% of $5_000 {a}\\b",
    "*[x]* <b>~^#</b> `y`",
    "a--b ''q'' ``r``",
    "two\nlines | and \\| more",
    "'=quoted",
    "www.example.org https://x.org :smile:",
]


@pytest.fixture
def results(bench) -> Store:
    """Published results of hostile names: two tasks, one of them supported by the first model only."""
    first = bench.add_task("Sums", "accuracy", {i: str(i) for i in range(8)})
    second = bench.add_task(
        "Signs",
        "accuracy",
        {i: str(i) for i in range(8)},
        modality="image",
        paradigm="comprehension",
    )
    for number in range(len(HOSTILE)):
        folder = f"m{number}"
        bench.predict(folder, first, {i: str(i) if i > number // 2 else "x" for i in range(8)})
        if number == 0:
            bench.predict(folder, second, {i: str(i % 3) for i in range(8)})
    store = bench.publish()
    # The names are those of imported results here, as a folder cannot have them all.
    renamed = pl.DataFrame({"model": [f"m{i}" for i in range(len(HOSTILE))], "name": HOSTILE})
    with connect(store) as database:
        scores = read_table(database, "task_results", profile="corrected")
    scores = scores.join(renamed, on="model").with_columns(model="name")
    file = bench.root / "hostile.csv"
    harmless(scores.select("task_id", "model", "raw_score")).write_csv(file)
    other = Store(str(bench.root / "other"))
    catalogue = load_catalogue([bench.catalogue], base=False)
    told = import_past_results(other, str(file), catalogue)
    assert (told["models"], told["refused"]) == (len(HOSTILE), 0)
    build(other, catalogue, RunInfo.now("test"))
    return other


def exported(store: Store, format: str, **choice: Any) -> bytes:
    file = io.BytesIO()
    write_table(store, file, format, **choice)
    return file.getvalue()


# --- tables --------------------------------------------------------------------------------------


def test_every_table_says_the_same_in_every_format(results, tmp_path):
    with connect(results) as database:
        names = published_tables(database)
        frames = {name: read_table(database, name) for name in names}
    assert {"leaderboard", "task_results", "levels", "runs", "boards", "tasks"} <= set(names)
    assert not {name for name in names if name.startswith("stg_")}
    for format in ("csv", "parquet", "json"):
        written = export_all(results, str(tmp_path / format), format)
        assert written == {name: frame.height for name, frame in frames.items()}
    for name, frame in frames.items():
        assert pl.read_parquet(tmp_path / "parquet" / f"{name}.parquet").equals(frame), name
        rows = json.loads((tmp_path / "json" / f"{name}.json").read_bytes())
        texts = (tmp_path / "csv" / f"{name}.csv").read_text()
        lines = list(csv.DictReader(io.StringIO(texts, newline="")))
        assert len(rows) == len(lines) == frame.height
        for column in frame.columns:
            values = frame[column].to_list()
            for value, row, line in zip(values, rows, lines, strict=True):
                assert alike(value, row[column]) and alike(value, meant(line[column])), column


def alike(value: Any, other: Any) -> bool:
    """Whether a cell says the same as the value: exactly, however it is spelt."""
    if value is None:
        return other in (None, "")
    if isinstance(value, bool):
        return other in (value, str(value).lower())
    if isinstance(value, float):
        return float(other) == value if math.isfinite(value) else other in (None, str(value))
    if isinstance(value, int):
        return int(other) == value
    return other == value if isinstance(value, str) else other == f"{value:%Y-%m-%dT%H:%M:%SZ}"


@example(text="'=x")
@example(text="''+x")
@example(text="'plain'")
@given(st.text(st.sampled_from("'=+-@\t\rab"), max_size=6))
def test_no_cell_begins_a_formula_and_every_text_comes_back(text):
    (cell,) = harmless(pl.DataFrame({"name": [text]}))["name"]
    assert not cell.startswith(tuple("=+-@\t\r"))
    assert meant(cell) == text


def test_a_workbook_of_results_is_imported_again_with_the_same_levels(bench):
    first = bench.add_task("Sums", "accuracy", {i: str(i) for i in range(7)})
    second = bench.add_task(
        "Errors", "wer", {i: f"one two {i}" for i in range(5)}, modality="audio",
        paradigm="comprehension",
    )  # fmt: skip
    bench.predict("=strange", first, {i: str(i) if i else "x" for i in range(7)})
    bench.predict("=strange", second, dict.fromkeys(range(5), "one two 1"))
    bench.predict("other", first, dict.fromkeys(range(7), "3"))
    store = bench.publish()
    file = bench.root / "results.xlsx"
    assert export_table(store, str(file), "xlsx", table="task_results") == 4

    book = openpyxl.load_workbook(file)
    assert book.sheetnames == ["NLP", "Audio-Comprehension"]
    head, row = book["NLP"].iter_rows(values_only=True)
    assert head == ("No", "Task Name", "Task Short Name", "Metrics", "=strange", "other")
    assert row[4] == pytest.approx(600 / 7) and row[5] == pytest.approx(100 / 7)
    assert book["Audio-Comprehension"]["F2"].value == "∞"

    again = Store(str(bench.root / "again"))
    catalogue = load_catalogue([bench.catalogue], base=False)
    assert import_past_results(again, str(file), catalogue)["refused"] == 0
    build(again, catalogue, RunInfo.now("again"))
    for table in ("leaderboards", "task_results"):
        frames = []
        for place in (store, again):
            with connect(place) as database:
                frame = read_table(database, table, profile="corrected")
            frames.append(
                frame.select(pl.col("^(board_id|model|task_id|level_.|rank|raw_score|score|wins)$"))
            )
        assert frames[0].equals(frames[1]), table


def test_a_board_and_models_are_chosen_and_unknown_ones_refused(results):
    rows = json.loads(exported(results, "json", board="C-image-comprehension", models=["=1+1"]))
    assert [row["model"] for row in rows] == ["=1+1"]
    for choice, told in [
        ({"table": "nope"}, "no published table 'nope'"),
        ({"board": "Z"}, "no board 'Z'"),
        ({"models": ["=1+2"]}, "no model '=1+2'"),
        ({"table": "runs", "board": "A"}, "runs has no boards"),
        ({"profile": "x"}, "no profile 'x'"),
    ]:
        with pytest.raises(UserError, match=re.escape(told)):
            exported(results, "csv", **choice)


def test_what_is_written_is_whole_or_not_there(results, tmp_path):
    file = tmp_path / "out" / "board.csv"
    export_table(results, str(file), "csv")
    before = file.read_bytes()
    with pytest.raises(UserError):
        export_table(results, str(file), "csv", board="Z")
    assert [path.name for path in file.parent.iterdir()] == ["board.csv"]
    assert file.read_bytes() == before


# --- typeset -------------------------------------------------------------------------------------


def test_a_markdown_reader_sees_the_names_as_they_are(results):
    text = exported(results, "md").decode()
    html = MarkdownIt("gfm-like", {"linkify": False}).enable("table").render(text)
    assert not re.search(r"<(a|b|em|code|s|img)\b", html.replace("<strong>", ""))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", html)
    columns = text.split("\n", 1)[0].count("|") - 1
    import html as entities

    shown = {entities.unescape(cell) for cell in cells[1::columns]}
    assert shown == {name.replace("\n", " ") for name in HOSTILE}


#: What each command of the escaped text sets.
_SET = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\textquotedbl{}": '"',
    **{f"\\{sign}": sign for sign in "&%$#_{}"},
}


def as_set(text: str) -> str:
    """What TeX sets for an escaped text; fails where an active character is left."""
    out = []
    while text:
        command = next((c for c in _SET if text.startswith(c)), None)
        if command:
            out.append(_SET[command])
            text = text[len(command) :]
        elif text[0] in "{}":
            text = text[1:]
        else:
            assert text[0] not in "\\&%$#_^~\n", text
            out.append(text[0])
            text = text[1:]
    return "".join(out)


@given(
    st.text(st.sampled_from("ab&%$#_{}\\^~<>|\"[]*-`'?!, "), max_size=12)
    | st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=20)
)
def test_latex_sets_every_text_as_it_is(text):
    escaped = escape_latex(text)
    assert as_set(escaped) == text
    bare = re.sub(r"\\[{}]", "", escaped)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"--|``|''|[?!]`|,,", escaped)
    assert not escaped.startswith(("[", "*"))


def test_a_latex_table_has_its_rows_and_columns(results):
    text = exported(results, "latex").decode()
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    assert len(body) == len(HOSTILE)
    for line in body:
        assert line.endswith(" \\\\")
        assert len(re.findall(r"(?<!\\)&", line.replace("\\\\", ""))) == 9
    assert text.count("\\begin{") == text.count("\\end{") == 2


def test_the_best_are_bold_and_what_is_not_supported_is_a_dash():
    frame = pl.DataFrame(
        {
            "model": ["a", "b", "c"],
            "level_2": [71.001, 71.004, 0.0],
            "level_3": [0.0, 0.0, 0.0],
            "level_4": [None, None, None],
            "tasks_supported": [2, 1, 0],
        },
        schema_overrides={"level_4": pl.Float64},
    )
    assert markdown(frame).splitlines()[2:] == [
        "| a | **71.00** | 0.00 | – | **2** |",
        "| b | **71.00** | 0.00 | – | 1 |",
        "| c | – | – | – | 0 |",
    ]
    assert "c & -- & -- & -- & 0 \\\\" in latex(frame)
    assert "a & \\textbf{71.00} & 0.00 & -- & \\textbf{2} \\\\" in latex(frame)
