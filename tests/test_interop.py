"""Results for other tools and back, and submissions out of the logs of other harnesses."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from flows.cli.app import app
from scripts import schemas
from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.report.convert import convert_logs
from tasks.report.export import export_all, export_table, published_tables, read_table, write_table
from tasks.report.formulas import harmless, meant
from tasks.report.past_results import import_past_results
from tasks.report.typeset import escape_latex, latex, markdown
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect
from tests.conftest import s3_server

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


# --- logs of other harnesses ----------------------------------------------------------------------

MINI = Path(__file__).parent.parent / "examples" / "general-bench-mini"
TIME = "2026-08-21T19-56-54.123456"
#: Folders of the example and their tasks: open answers, an option's letter, a class of an image.
TASKS = {
    "nlp/Currency-Question-Answering": "language.currency-question-answering",
    "nlp/Library-Module-Choice": "language.library-module-choice",
    "image/comprehension/Handwritten-Digit-Recognition": (
        "image.comprehension.handwritten-digit-recognition"
    ),
}


@pytest.fixture
def mini(bench):
    """The small example's dataset and catalogue, with no submissions yet."""
    bench.dataset = MINI / "dataset"
    bench.catalogue = MINI / "catalogue.csv"
    bench.submissions.mkdir()
    return bench


def instances(folder: str) -> list[tuple[dict, str]]:
    """(annotation row, the example model's answer) of a task of the example."""
    rows = json.loads((MINI / "dataset" / folder / "annotation.json").read_bytes())["data"]
    answers = json.loads(
        (MINI / "submissions/nearest-neighbour" / folder / "prediction.json").read_bytes()
    )
    by_id = {row["id"]: row["prediction"] for row in answers["data"]}
    return [(row, str(by_id[row["id"]])) for row in rows]


def lm_eval(number: int, row: dict, answer: str, **more: Any) -> dict:
    """A generated sample as lm-evaluation-harness logs it (0.4.9: evaluator.py, evaluation_tracker.py)."""
    return {
        "doc_id": number,
        "doc": row,
        "target": str(row["output"]),
        "arguments": {"gen_args_0": {"arg_0": str(row["input"]), "arg_1": {"until": ["\n"]}}},
        "resps": [[f" {answer}\n"]],
        "filtered_resps": [answer],
        "filter": "none",
        "metrics": ["exact_match"],
        "doc_hash": "0" * 64,
        "prompt_hash": "1" * 64,
        "target_hash": "2" * 64,
        "exact_match": math.nan,
    } | more


def lm_eval_ranked(number: int, row: dict, answer: str) -> dict:
    """A multiple choice by log-likelihoods: numbers and truth values are texts in the log."""
    options = list(row["input"]["options"])
    ranks = [[str(-1.5 if option == answer else -7.25), "False"] for option in options]
    return lm_eval(number, row, answer) | {
        "arguments": {
            f"gen_args_{i}": {"arg_0": "Q: ...\nA:", "arg_1": f" {option}"}
            for i, option in enumerate(options)
        },
        "resps": [[rank] for rank in ranks],
        "filtered_resps": ranks,
    }


def lmms_eval(number: int, row: dict, answer: str) -> dict:
    """A sample as lmms-eval logs it: no document, one response bare, and `resps` only if it differs."""
    return {
        "doc_id": number,
        "target": str(row["output"]),
        "filtered_resps": answer,
        "token_counts": [None],
        "doc_hash": "0" * 64,
        "exact_match": 0.0,
        "input": str(row["input"]),
    }


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def write_logs(harness: str, folder: Path, suffix: str = "") -> None:
    """The example model's answers as a harness would have logged them."""
    for place in TASKS:
        rows = instances(place)
        name = place.rpartition("/")[2]
        snake = "general_bench_" + name.lower().replace("-", "_")
        if harness == "lm-eval":
            sample = lm_eval_ranked if name == "Library-Module-Choice" else lm_eval
            path = folder / f"acme__m1/samples_{snake}_{TIME}.jsonl"
            write_jsonl(path, [sample(i, *row) for i, row in enumerate(rows)])
            (path.parent / f"results_{TIME}.json").write_text("{}")
        elif harness == "lmms-eval":
            path = folder / f"acme__m1/20260821_195654_samples_{snake}.jsonl"
            write_jsonl(path, [lmms_eval(i, *row) for i, row in enumerate(rows)])
        else:
            path = folder / f"m_1/T20260821_G1a2b3c4d/m_1_{name}.{suffix}"
            write_vlmevalkit(path, rows)


def write_vlmevalkit(path: Path, rows: list[tuple[dict, str]]) -> None:
    """A result file as VLMEvalKit dumps it: all in quotes, all in cells, or a list of records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [
        {
            "index": row["id"],
            "question": f'{row["input"]}\twith a tab, a "quote"\nand a line',
            "answer": str(row["output"]),
            "prediction": answer,
        }
        for row, answer in rows
    ]
    if path.suffix == ".json":
        path.write_text(json.dumps(records, indent=4, ensure_ascii=False))
    elif path.suffix == ".tsv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerows([list(records[0]), *(list(record.values()) for record in records)])
    else:
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        for record in [list(records[0]), *(list(record.values()) for record in records)]:
            sheet.append(record)
        book.save(path)


@pytest.mark.parametrize(
    ("harness", "suffix"),
    [("lm-eval", ""), ("lmms-eval", "")]
    + [("vlmevalkit", suffix) for suffix in ("xlsx", "tsv", "json")],
)
def test_from_a_harness_log_to_the_published_score(mini, harness, suffix):
    write_logs(harness, mini.root / "logs", suffix)
    catalogue = load_catalogue([mini.catalogue], base=False)
    done = convert_logs(
        str(mini.root / "logs"), harness, str(mini.submissions / "converted"), catalogue,
        dataset=str(mini.dataset), model="acme/m1",
    )  # fmt: skip
    assert (done.unmatched, done.problems) == ([], [])
    assert {task.task_id: (task.samples, task.written, task.numbered) for task in done.tasks} == {
        task_id: (len(instances(folder)), len(instances(folder)), False)
        for folder, task_id in TASKS.items()
    }
    assert len(done.others) == (1 if harness == "lm-eval" else 0)

    original = mini.submissions / "original"
    for folder in TASKS:
        path = original / folder / "prediction.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(
            (MINI / "submissions/nearest-neighbour" / folder / "prediction.json").read_bytes()
        )
    store = mini.publish()
    with connect(store) as database:
        scores = read_table(database, "task_results", profile="corrected")
    kept = scores.filter(pl.col("task_id").is_in(list(TASKS.values()))).sort("task_id")
    parts = kept.select("model", "task_id", "status", "raw_score", "n_scored").partition_by(
        "model", include_key=False, as_dict=True
    )
    assert parts["converted",].equals(parts["original",])
    assert set(kept["status"]) == {"scored"} and kept.filter(pl.col("raw_score") > 10).height == 6


@pytest.fixture
def sums(bench):
    """A benchmark of one task, `Sums`, whose instances are called q0 to q5."""
    bench.add_task("Sums", "accuracy", {f"q{i}": str(i) for i in range(6)})
    return bench


def converted(bench, harness: str, log: str = "logs", **more: Any) -> tuple[Any, dict[str, Any]]:
    """The conversion, and the predictions written by id."""
    catalogue = load_catalogue([bench.catalogue], base=False)
    done = convert_logs(str(bench.root / log), harness, str(bench.root / "out"), catalogue, **more)
    files = list((bench.root / "out").rglob("prediction.json"))
    rows = [row for file in files for row in json.loads(file.read_bytes())]
    assert all(row.keys() == {"id", "prediction"} for row in rows)
    for task in done.tasks:
        assert task.samples == task.written + task.duplicate + task.missing + task.refused
    assert len(done.problems) == sum(task.missing + task.refused for task in done.tasks)
    return done, {row["id"]: row["prediction"] for row in rows}


def doc(number: int, response: Any, **more: Any) -> dict:
    row = {"id": f"q{number}", "input": "?", "output": str(number)}
    return lm_eval(number, row, str(number)) | {"filtered_resps": response} | more


def test_every_bad_sample_is_counted_with_its_line_and_reason(sums):
    rows = [
        doc(0, ["0"]),
        doc(0, ["0"]),  # the log was appended to
        doc(1, ["1"]),
        doc(1, ["2"]),
        doc(2, []),
        doc(3, ["3", "4"]),
        doc(4, [["-1.0", "False"], ["-2.0", "False"]], arguments={}),
        doc(5, [""]),  # to say nothing is an answer
        doc(6, ["6"], doc={"id": {"of": "another kind"}}),
    ]
    path = write_jsonl(sums.root / f"logs/m/samples_sums_{TIME}.jsonl", rows)
    with path.open("ab") as file:
        file.write(b'{"doc_id": 7, "doc": {"id": \n[1]\n\n\xff\xfe\n')
    done, predictions = converted(sums, "lm-eval")
    assert predictions == {"q0": "0", "q5": ""}
    (task,) = done.tasks
    assert (task.written, task.duplicate, task.missing, task.refused) == (2, 1, 1, 8)
    told = {problem["position"]: problem["reason"] for problem in done.problems}
    assert told == {
        3: "the instance has several different responses",
        4: "the instance has several different responses",
        5: "no response",
        6: "2 responses, of which the harness must take one by a filter",
        7: "log-likelihoods of options whose texts the log does not hold",
        9: "the sample has no id",
        10: "the line is no JSON object",
        11: "the line is no JSON object",
        13: "the line is no JSON object",
    }
    assert all(problem["source"] == str(path) for problem in done.problems)


def test_priors_do_not_rank_and_other_questions_are_no_options(sums):
    def ranked(number: int, *requests: tuple[str, str, float]) -> dict:
        return doc(
            number,
            [[str(likelihood), "False"] for _, _, likelihood in requests],
            arguments={
                f"gen_args_{i}": {"arg_0": context, "arg_1": text}
                for i, (context, text, _) in enumerate(requests)
            },
        )

    rows = [
        ranked(0, ("Q", " 0", -2.0), ("Q", " 1", -3.0), ("", " 0", -9.0), ("", " 1", -0.1)),
        ranked(1, ("Q a", " 1", -2.0), ("Q b", " 1", -3.0)),
        ranked(2, ("Q", " whole text", -2.0)),
    ]
    write_jsonl(sums.root / f"logs/m/samples_sums_{TIME}.jsonl", rows)
    done, predictions = converted(sums, "lm-eval")
    assert predictions == {"q0": "0"}
    assert {p["reason"] for p in done.problems} == {
        "log-likelihoods that rank no options of one question"
    }


def test_a_filter_is_chosen_in_the_map(sums):
    rows = [
        doc(number, [f"{name} {number}"], filter=name)
        for name in ("strict-match", "flexible-extract")
        for number in range(3)
    ]
    write_jsonl(sums.root / f"logs/m/samples_arithmetic_v2_{TIME}.jsonl", rows)
    done, predictions = converted(sums, "lm-eval")
    assert predictions == {} and "no task" in done.unmatched[0]["reason"]
    table = sums.root / "map.csv"
    table.write_text("harness_task,task_id\narithmetic_v2,language.sums\nabsent,language.sums\n")
    done, predictions = converted(sums, "lm-eval", task_map=str(table))
    told = [entry["reason"] for entry in done.unmatched]
    assert "flexible-extract, strict-match" in told[0] and "'absent'" in told[1]
    table.write_text(
        "harness_task,task_id,id_field,filter\n"
        "arithmetic_v2,language.sums,doc_hash/~,strict-match\n"
    )
    done, _ = converted(sums, "lm-eval", task_map=str(table))
    assert [problem["reason"] for problem in done.problems] == ["the sample has no id"] * 3
    table.write_text(table.read_text().replace("doc_hash/~", "doc.output"))
    _, predictions = converted(sums, "lm-eval", task_map=str(table))
    assert predictions == {str(number): f"strict-match {number}" for number in range(3)}


def test_the_latest_log_counts_and_parts_of_a_task_are_put_together(sums):
    for time, answer in (("2026-08-20T10-00-00", "old"), (TIME, "new")):
        write_jsonl(sums.root / f"logs/m/samples_part_a_{time}.jsonl", [doc(0, [answer])])
    write_jsonl(sums.root / f"logs/m/samples_part_b_{TIME}.jsonl", [doc(1, ["b"])])
    table = sums.root / "map.csv"
    table.write_text("harness_task,task_id\npart_a,language.sums\npart_b,language.sums\n")
    done, predictions = converted(sums, "lm-eval", task_map=str(table))
    assert predictions == {"q0": "new", "q1": "b"}
    (older,) = done.unmatched
    assert "2026-08-20" in older["log"] and "later log" in older["reason"]


def test_numbers_are_positions_in_the_dataset_or_said_to_be_only_numbers(sums):
    rows = [lmms_eval(i, {"input": "?", "output": i}, str(i)) for i in (0, 5, 6)]
    write_jsonl(sums.root / "logs/m/20260821_195654_samples_sums.jsonl", rows)
    done, predictions = converted(sums, "lmms-eval", dataset=str(sums.dataset))
    assert predictions == {"q0": "0", "q5": "5"}
    assert done.problems[0]["reason"] == "the dataset has no instance number 6"
    (annotation,) = sums.dataset.rglob("annotation.json")
    annotation.write_bytes(annotation.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        converted(sums, "lmms-eval", dataset=str(sums.dataset))
    done, predictions = converted(sums, "lmms-eval")
    assert done.tasks[0].numbered and predictions == {"0": "0", "5": "5", "6": "6"}


def test_bad_rows_of_vlmevalkit(sums):
    long = "x" * 32_767
    rows = [({"id": "q0", "input": "?", "output": 0}, answer) for answer in ("0",)]
    rows += [
        ({"id": f"q{i}", "input": "?", "output": i}, answer)
        for i, answer in enumerate(("", "Failed to obtain answer via API.", long), 1)
    ]
    folder = sums.root / "logs/some_model"
    write_vlmevalkit(folder / "some_model_Sums.xlsx", rows)
    (folder / "some_model_Sums_acc.csv").write_text("Overall\n0.5\n")
    write_vlmevalkit(folder / "some_model_Other_Bench.tsv", rows)
    (folder / "some_model_sums.json").write_text("{}")  # as good a name, read last: damaged
    done, _ = converted(sums, "vlmevalkit")
    assert {Path(entry["log"]).name for entry in done.unmatched} == {
        "some_model_Other_Bench.tsv",
        "some_model_sums.json",
    }
    assert [Path(path).name for path in done.others] == ["some_model_Sums_acc.csv"]
    assert [problem["reason"] for problem in done.problems] == [
        "no response",
        "no response",
        "the response was cut at 32,767 characters: use PRED_FORMAT=tsv",
    ]

    tsv = sums.root / "tsv/some_model/some_model_Sums.tsv"
    write_vlmevalkit(tsv, rows[:1])
    with tsv.open("a") as file:
        file.write('"q4"\t"?"\n"q5"\t"?"\t"5"\t"five"\n')
    done, predictions = converted(sums, "vlmevalkit", "tsv")
    assert predictions == {"q0": "0", "q5": "five"}
    assert done.problems[0]["reason"] == "2 columns where the heading has 4"


def test_control_characters_of_a_spreadsheet_are_read_back(sums):
    # As xlsxwriter, which pandas writes with, spells a carriage return.
    rows = [({"id": "q1", "input": "?", "output": 1}, "a_x000D_\nb")]
    write_vlmevalkit(sums.root / "logs/m/m_Sums.xlsx", rows)
    assert converted(sums, "vlmevalkit")[1] == {"q1": "a\r\nb"}


def test_mistakes_of_the_call_are_told(sums):
    for model in ("a", "b"):
        write_jsonl(sums.root / f"logs/{model}/samples_sums_{TIME}.jsonl", [doc(0, ["0"])])
    wrong = sums.root / "wrong.csv"
    wrong.write_text("harness_task,task_id\nx,language.sum\n")
    headless = sums.root / "headless.csv"
    headless.write_text("a,b\n")
    for harness, log, more, told in [
        ("nope", "logs", {}, "no harness 'nope'"),
        ("lm-eval", "absent", {}, "does not exist"),
        ("lm-eval", "logs", {}, "logs of 2 models: a, b"),
        ("lmms-eval", "logs", {}, "no per-sample log of lmms-eval"),
        ("lm-eval", "logs/a", {"task_map": str(wrong)}, "line 2: the catalogue has no task"),
        ("lm-eval", "logs/a", {"task_map": str(headless)}, "lacks the columns harness_task"),
        ("lm-eval", "logs/a", {"task_map": "absent.csv"}, "absent.csv does not exist"),
    ]:
        with pytest.raises(UserError, match=re.escape(told)):
            converted(sums, harness, log, **more)
    assert not (sums.root / "out").exists()


# --- schemas -------------------------------------------------------------------------------------


def test_schemas_are_current():
    written = {
        path.relative_to(schemas.FOLDER).as_posix(): path.read_text()
        for path in schemas.FOLDER.rglob("*.json")
    }
    assert written == schemas.schemas(), "python -m scripts.schemas writes them anew"


def validated(name: str, document: Any) -> Any:
    """The document, if its schema has nothing against it."""
    schema = json.loads((schemas.FOLDER / f"{name}.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)
    return document


def test_every_command_prints_what_its_schema_says(server, mini, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", server)
    monkeypatch.chdir(mini.root)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    left = {name for name, of in commands.items() if any("--json" in p.opts for p in of.params)}

    def call(name: str, *arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
        left.discard(name)
        result = CliRunner().invoke(app, [name, *arguments, "--json"], catch_exceptions=False)
        assert result.exit_code in codes, result.output
        return validated(name, json.loads(result.stdout))

    assert call("status", codes=(5,))["state"] == "nothing published"
    assert call("run", "--example", "mini")["published"]["levels"]
    mine = ("--store", "store/mini")
    use = ("--catalogue", str(mini.catalogue), "--only-catalogue")
    task = "language.currency-question-answering"
    call("ingest", *mine, *use, "--dataset", str(mini.dataset))
    call("score", *mine, *use)
    call("publish", *mine, *use)
    assert len(call("levels", *mine)) == 3
    assert len(call("levels", *mine, "--boards")) > 10
    assert call("compare", "tuned-ensemble", "majority-baseline", *mine)["tasks"]
    assert call("task", task, *mine)["scores"]
    assert call("explain", "tuned-ensemble", task, *mine)["contributions"]
    assert call("sql", "FROM runs", *mine)
    broken = str(MINI / "submissions-broken" / "broken-model")
    call("validate", broken, *use, "--dataset", str(mini.dataset), codes=(3,))
    call("doctor", *mine)
    assert call("status", *mine)["state"] == "fresh"
    assert call("site", *mine, "--out", "site")["models"] == 3
    call("export", *mine, "--to", "board.csv")
    write_logs("lm-eval", mini.root / "logs")
    converted = ("logs", "--from", "lm-eval", "--out", "out", *use, "--model", "acme/m1")
    assert len(call("convert", *converted)["tasks"]) == 3
    assert json.loads(Path("out/model.json").read_bytes()) == {"name": "acme/m1"}
    assert not left, "scripts/schemas.py lacks their output, or this test a call of them"

    written = call("export", *mine, "--all", "tables", "--format", "json")["tables"]
    filled = set()
    for table, rows in written.items():
        document = json.loads(Path(f"tables/{table}.json").read_bytes())
        validated(f"tables/{table}", document)
        filled |= {table} if rows else set()
    assert len(filled) >= len(written) - 2  # what changed between the runs may be nothing
    wrong = json.loads(Path("tables/leaderboard.json").read_bytes())
    with pytest.raises(ValidationError):
        validated("tables/leaderboard", [wrong[0] | {"rank": "first"}])
    with pytest.raises(ValidationError):
        validated("tables/leaderboard", [{"rank": 1}])


def test_tables_go_to_standard_output_and_to_a_bucket(results, monkeypatch, tmp_path):
    told = CliRunner().invoke(app, ["export", "--store", results.url, "--format", "csv"])
    assert told.stdout.startswith("rank,model,") and told.stdout.count("'=1+1") == 1
    with s3_server(monkeypatch, "tables"):
        export_table(results, "s3://tables/deep/board.parquet", "parquet")
        assert export_all(results, "s3://tables/all", "csv")["leaderboard"] == len(HOSTILE)
        there = Store("s3://tables")
        assert len(there.read_table("deep", "board.parquet")) == len(HOSTILE)
        assert "leaderboard.csv" in there.names("all")
