"""The commands of `general-level`. Exit codes: 0 done, 1 user's mistake, 2 wrong usage,
3 done but something failed (the rest is published) or was found wanting, 4 not healthy or stale,
5 nothing published yet (status).
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from flows.cli import console
from flows.cli.options import (
    EXAMPLES,
    CatalogueOption,
    DaskOption,
    DatasetOption,
    ForceOption,
    JsonOption,
    ModelOption,
    OnlyCatalogueOption,
    StoreOption,
    SubmissionsOption,
    VerboseOption,
    WorkersOption,
)
from tasks.errors import UserError

app = typer.Typer(
    name="general-level",
    help="Score multimodal models on General-Bench and compute their General-Level (1 to 5).\n\n"
    "Start with: general-level run --example mini",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PARTIAL = 3
UNHEALTHY = 4


def main() -> None:
    """Entry point: a user's mistake ends in a message, never in a traceback."""
    verbose = "--verbose" in sys.argv or "-v" in sys.argv
    try:
        app(standalone_mode=True)
    except UserError as error:
        if verbose:
            raise
        console.complain(error.message, error.remedy)
        sys.exit(1)
    except OSError as error:
        if verbose or isinstance(error, BrokenPipeError):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = (
            "make room and run it again: what was published stays, finished work is kept"
            if full
            else "check the path and the permissions; --verbose shows more"
        )
        console.complain(str(error), remedy)
        sys.exit(1)
    except Exception as error:
        from tasks.files import is_storage_failure

        if verbose or not is_storage_failure(error):
            raise
        remedy = "check the address, the credentials and the network, and run it again"
        console.complain(f"the storage failed: {error}", remedy)
        sys.exit(1)


#: Models that `run` prints; `levels` prints all.
LONGEST_BOARD = 20


@app.command()
def run(
    store: StoreOption = "store",
    dataset: DatasetOption = None,
    submissions: SubmissionsOption = None,
    results: Annotated[
        list[str] | None,
        typer.Option("--results", "-r", help="Past results to import: workbook (.xlsx) or CSV."),
    ] = None,
    example: Annotated[
        str | None,
        typer.Option(
            "--example",
            help="Run on a bundled input instead: "
            + "; ".join(f"{e.name} ({e.about})" for e in EXAMPLES.values()),
        ),
    ] = None,
    catalogue: CatalogueOption = None,
    only_catalogue: OnlyCatalogueOption = False,
    model: ModelOption = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """The main job: ingest what changed, score what changed, publish levels, print them.

    Examples:

      general-level run --example mini

      general-level run --dataset General-Bench-Openset --submissions outputs/

      general-level run --results my_results.xlsx
    """
    arguments: dict[str, Any] = {
        "dataset": dataset,
        "submissions": submissions,
        "results": results or [],
        "catalogue_files": catalogue or [],
        "base_catalogue": not only_catalogue,
    }
    chosen = None
    if example is not None:
        if example not in EXAMPLES:
            raise UserError(
                f"there is no example {example!r}", f"choose from: {', '.join(EXAMPLES)}"
            )
        chosen = EXAMPLES[example]
        arguments = {
            "dataset": chosen.dataset and chosen.path(chosen.dataset),
            "submissions": chosen.submissions and chosen.path(chosen.submissions),
            "results": [chosen.path(part) for part in chosen.results],
            "catalogue_files": [chosen.path(part) for part in chosen.catalogue],
            "base_catalogue": chosen.base_catalogue,
        }
        store = f"{store.rstrip('/')}/{example}"
    elif not (dataset or submissions or results):
        raise UserError(
            "nothing to run on: no --dataset, --submissions or --results",
            "general-level run --example mini, or general-level run --help",
        )
    sources = [arguments["dataset"], arguments["submissions"], *arguments["results"]]
    report = _in_prefect(
        "nightly",
        verbose,
        as_json,
        sources,
        store,
        **arguments,
        models=model,
        workers=workers,
        dask=dask,
        force=force,
    )
    if as_json:
        console.print_json(asdict(report) | {"failures": report.failures})
    else:
        _print_run(report)
        board = chosen.board if chosen else "A"
        _print_levels(store, board, "corrected", "modality_mean", LONGEST_BOARD)
        if chosen and chosen.published_levels:
            _print_against_published(store, chosen.path(chosen.published_levels))
        console.note(f"query them: general-level sql --store {store} 'FROM leaderboard'")
    if report.failures:
        raise typer.Exit(PARTIAL)


@app.command()
def ingest(
    store: StoreOption = "store",
    dataset: DatasetOption = None,
    submissions: SubmissionsOption = None,
    results: Annotated[
        list[str] | None,
        typer.Option("--results", "-r", help="Past results to import: workbook (.xlsx) or CSV."),
    ] = None,
    catalogue: CatalogueOption = None,
    only_catalogue: OnlyCatalogueOption = False,
    model: ModelOption = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Read dataset, model outputs or past results into the store, without scoring."""
    if not (dataset or submissions or results):
        raise UserError("nothing to ingest", "give --dataset, --submissions or --results")
    reports: list[Any] = []
    if dataset or submissions:
        reports = _in_prefect(
            "ingest",
            verbose,
            as_json,
            [dataset, submissions, *(results or [])],
            store,
            dataset,
            submissions,
            catalogue_files=catalogue or [],
            base_catalogue=not only_catalogue,
            models=model,
            workers=workers,
            dask=dask,
            force=force,
        )
    imports = []
    if results:
        from flows.runtime import sole_writer
        from tasks.catalog import load_catalogue
        from tasks.report.past_results import import_past_results
        from tasks.storage import Store

        loaded = load_catalogue(catalogue or [], base=not only_catalogue)
        with sole_writer(store):
            imports = [import_past_results(Store(store), path, loaded) for path in results]
    if as_json:
        console.print_json({"ingest": [asdict(r) for r in reports], "imports": imports})
    else:
        _print_ingest(reports)
        _print_imports(imports)
    if any(report.failures for report in reports):
        raise typer.Exit(PARTIAL)


@app.command()
def score(
    store: StoreOption = "store",
    catalogue: CatalogueOption = None,
    only_catalogue: OnlyCatalogueOption = False,
    model: ModelOption = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Score what changed since the last time, without publishing."""
    reports = _in_prefect(
        "score",
        verbose,
        as_json,
        [],
        store,
        catalogue_files=catalogue or [],
        base_catalogue=not only_catalogue,
        models=model,
        workers=workers,
        dask=dask,
        force=force,
    )
    if as_json:
        console.print_json([asdict(report) for report in reports])
    else:
        _print_scores(reports)
    if any(report.failures for report in reports):
        raise typer.Exit(PARTIAL)


@app.command()
def publish(
    store: StoreOption = "store",
    catalogue: CatalogueOption = None,
    only_catalogue: OnlyCatalogueOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Join the scores with the specialists, compute levels and boards, swap the results in."""
    from flows.nightly import new_run_id

    published = _in_prefect(
        "publish",
        verbose,
        as_json,
        [],
        store,
        new_run_id(),
        catalogue_files=catalogue or [],
        base_catalogue=not only_catalogue,
    )
    if as_json:
        console.print_json(published)
    else:
        _print_levels(store, "A", "corrected", "modality_mean")


@app.command()
def levels(
    store: StoreOption = "store",
    board: Annotated[
        str, typer.Option("--board", "-b", help="Board, e.g. A, B-image, C-audio-generation.")
    ] = "A",
    boards: Annotated[
        bool, typer.Option("--boards", help="List the boards with their tasks instead.")
    ] = False,
    profile: Annotated[
        str,
        typer.Option(
            help="corrected (default), published (the published scorer's rules) or quick (a fixed "
            "hundred instances of each task)."
        ),
    ] = "corrected",
    aggregation: Annotated[
        str, typer.Option(help="modality_mean (default) or task_mean.")
    ] = "modality_mean",
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Print a board: levels 2 to 5 of every model, as last published."""
    from flows.cli import results

    if boards:
        listed = results.boards(store)
        if as_json:
            console.print_json(listed)
        else:
            columns = ["board", "title", "highest level", "tasks"]
            console.print_table("boards", columns, [list(row.values()) for row in listed])
    elif as_json:
        console.print_json(results.board(store, board, profile, aggregation))
    else:
        _print_levels(store, board, profile, aggregation)


@app.command()
def compare(
    model: Annotated[str, typer.Argument(help="Model.")],
    other: Annotated[str, typer.Argument(help="The model to compare it with.")],
    store: StoreOption = "store",
    board: Annotated[str, typer.Option("--board", "-b", help="Board whose levels to compare.")] = (
        "A"
    ),
    rate: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="False discovery rate over the tasks."),
    ] = 0.05,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare two models: which is better on which tasks, and how sure that is.

    Differences are paired by instance, with bootstrap intervals of 95 %; the tasks' p-values are
    adjusted for their number (Benjamini-Hochberg).
    """
    from flows.cli.compare import show_comparison

    show_comparison(store, model, other, board, rate, as_json=as_json)


@app.command()
def task(
    name: Annotated[str, typer.Argument(help="Task id or title, e.g. 'Bird Detection'.")],
    store: StoreOption = "store",
    catalogue: CatalogueOption = None,
    only_catalogue: OnlyCatalogueOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show one task: its metric, its specialist, and every model's score on it."""
    from flows.cli import results

    about, scores = results.task(store, name, catalogue or [], not only_catalogue)
    if as_json:
        console.print_json({"task": about, "scores": scores})
        return
    console.print_table(about["task_id"], ["", ""], [(k, v) for k, v in about.items()])
    if scores:
        console.print_table("scores", list(scores[0]), [list(row.values()) for row in scores])
    else:
        console.note(f"no published scores for it in {store}")


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="Model.")],
    task: Annotated[str, typer.Argument(help="Task id or title.")],
    store: StoreOption = "store",
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Tell how a score came about: instances, metric, normalisation, specialist, levels."""
    from flows.cli.explain import show_explanation

    show_explanation(store, model, task, as_json=as_json)


@app.command()
def sql(
    query: Annotated[
        str, typer.Argument(help="DuckDB SQL; '-' reads it from standard input.")
    ] = "SHOW TABLES",
    store: StoreOption = "store",
    limit: Annotated[int, typer.Option(help="Rows to print at most; 0 prints all.")] = 200,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Query the published results, read-only. Tables: levels, task_results, leaderboard, ...

    Besides the published tables there are views over the stored rows themselves:
    instance_scores, predictions, references_ and quarantine (refused rows, with reasons).
    """
    from flows.cli import results

    columns, rows = results.query(store, sys.stdin.read() if query == "-" else query)
    if as_json:
        console.print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    shown = rows[:limit] if limit else rows
    more = (
        f"{len(rows) - len(shown)} more rows; --limit 0 shows all" if len(rows) > len(shown) else ""
    )
    console.print_table(f"{len(rows)} rows", columns, shown, more)


@app.command()
def validate(
    submission: Annotated[str, typer.Argument(help="One model's outputs: folder, archive or URL.")],
    dataset: DatasetOption = None,
    store: StoreOption = "store",
    catalogue: CatalogueOption = None,
    only_catalogue: OnlyCatalogueOption = False,
    quick_media: Annotated[
        int | None,
        typer.Option(
            "--quick-media", min=1, help="Open so many files of each task only; by default all."
        ),
    ] = None,
    page: Annotated[
        str | None, typer.Option("--page", help="Write the report to this HTML file as well.")
    ] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check one submission before it is scored: what is missing, wrong or unknown, what it reaches.

    References come from --dataset, or else from the store; without any, the rest is checked.
    Nothing is written to the store. Exit codes: 0 ready, 3 ready with losses, 1 nothing can be scored.
    """
    from flows.cli.validate import show_validation

    code = show_validation(
        submission,
        store=store,
        dataset=dataset,
        catalogue=catalogue or [],
        base_catalogue=not only_catalogue,
        quick_media=quick_media,
        page=page,
        as_json=as_json,
    )
    if code:
        raise typer.Exit(code)


@app.command()
def doctor(
    store: StoreOption = "store", as_json: JsonOption = False, verbose: VerboseOption = False
) -> None:
    """Check the installation and the store: versions, Prefect server, catalogue, results."""
    from flows.cli.doctor import examine

    checks = examine(store)
    if as_json:
        console.print_json([asdict(check) for check in checks])
    else:
        rows = [[check.name, "ok" if check.ok else "PROBLEM", check.detail] for check in checks]
        console.print_table("general-level doctor", ["check", "state", "detail"], rows)
    if not all(check.ok for check in checks):
        raise typer.Exit(UNHEALTHY)


@app.command()
def status(
    store: StoreOption = "store",
    max_age: Annotated[
        str, typer.Option("--max-age", help="Results older than this are stale: 26h, 90m, 2d.")
    ] = "26h",
    prometheus: Annotated[
        bool,
        typer.Option("--prometheus", help="Print metrics in the Prometheus text format instead."),
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Tell how old the published results are, what their run took, and what was refused.

    Exit codes: 0 fresh, 4 stale, 5 nothing published yet; with --prometheus 0 in each case.
    """
    from flows.cli.ops import show_status

    code = show_status(store, max_age, as_json=as_json, as_metrics=prometheus)
    if code:
        raise typer.Exit(code)


@app.command()
def site(
    store: StoreOption = "store",
    out: Annotated[
        str,
        typer.Option("--out", "-o", help="Folder for it; a site that is there is replaced."),
    ] = "site",
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write the results as a static site: boards, models, tasks, comparison. Open its index.html.

    Needs the extra `site`, which brings the chart library: docs/site.md.
    """
    from tasks.report.site import build_site
    from tasks.storage import Store

    written = build_site(Store(store), out)
    if as_json:
        console.print_json(asdict(written))
        return
    console.note(
        f"{written.models} models, {written.tasks} tasks, {written.boards} boards: "
        f"{written.files} files, {written.size / 1e6:.1f} MB"
    )
    console.note(f"open {written.folder}/index.html")


@app.command()
def export(
    store: StoreOption = "store",
    to: Annotated[str, typer.Option("--to", "-o", help="File or URL; - is standard output.")] = "-",
    everything: Annotated[
        str | None,
        typer.Option("--all", help="Write every published table into this folder or URL instead."),
    ] = None,
    table: Annotated[
        str, typer.Option("--table", "-t", help="Published table; leaderboard is any board's.")
    ] = "leaderboard",
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="csv, parquet, json, md (Markdown), latex or xlsx; by default as the file's suffix "
            "says, else csv, with --all parquet.",
        ),
    ] = None,
    board: Annotated[str | None, typer.Option("--board", "-b", help="Only this board.")] = None,
    model: ModelOption = None,
    profile: Annotated[str | None, typer.Option(help="Only this profile.")] = None,
    aggregation: Annotated[str | None, typer.Option(help="Only this aggregation.")] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write published tables for other tools: CSV, Parquet, JSON, Markdown, LaTeX, workbooks.

    The table task_results as xlsx is the results workbook, which run --results imports again.

    Examples:

      general-level export --board B-image --format latex

      general-level export --table task_results --model my-model --to my_results.xlsx
    """
    from flows.cli.export import export as write

    write(
        store,
        to,
        everything,
        file_format,
        as_json=as_json,
        table=table,
        board=board,
        models=model or [],
        profile=profile,
        aggregation=aggregation,
    )


@app.command()
def convert(
    log: Annotated[str, typer.Argument(help="One model's logs: a file, a folder or a URL.")],
    harness: Annotated[
        str, typer.Option("--from", help="lm-eval, lmms-eval or vlmevalkit: what wrote the logs.")
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder or URL that becomes the submission.")
    ],
    task_map: Annotated[
        str | None,
        typer.Option(
            "--task-map",
            help="CSV of harness_task and task_id (and id_field, filter), where names differ.",
        ),
    ] = None,
    dataset: DatasetOption = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The model's name, by default that of the folder."),
    ] = None,
    catalogue: CatalogueOption = None,
    only_catalogue: OnlyCatalogueOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make a submission out of the per-sample logs of another evaluation harness.

    With --dataset, samples that are only numbered get the ids of the dataset's instances.
    """
    from flows.cli.convert import show_conversion
    from tasks.catalog import load_catalogue

    loaded = load_catalogue(catalogue or [], base=not only_catalogue)
    if show_conversion(log, harness, out, loaded, task_map, dataset, model, as_json=as_json):
        raise typer.Exit(PARTIAL)


def _in_prefect(
    name: str,
    verbose: bool,
    quiet: bool,
    sources: list[str | None],
    store: str,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Runs a flow against a Prefect server, with progress bars unless Prefect's own lines show.

    What is wrong with the call itself is told before a server is started.
    """
    from flows.cli.preflight import check_call

    check_call(store, kwargs["catalogue_files"], kwargs["base_catalogue"], sources)
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    if not verbose:
        # The server keeps every log line; on the console a mistake is told once, without traceback.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if not quiet:
        console.note("starting Prefect ...")
    gc.disable()  # in what is loaded here is no garbage, and looking for it takes a sixth of the time
    from flows import ingest, nightly, publish, score
    from flows.runtime import prefect_server, reporting_to

    gc.freeze()
    gc.enable()
    flows = {
        "nightly": nightly.nightly,
        "ingest": ingest.ingest,
        "score": score.score,
        "publish": publish.publish,
    }
    bars = console.progress_bars(enabled=not verbose and not quiet and console.err.is_terminal)
    with bars as progress, reporting_to(progress), prefect_server():
        return flows[name](store, *args, **kwargs)


def _print_run(report: Any) -> None:
    _print_ingest(report.ingest)
    _print_imports(report.imports)
    _print_scores(report.scores)
    timings = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items())
    console.note(f"run {report.run_id}: {timings}")
    if any(r.quarantined or r.files.get("refused") for r in report.ingest):
        query = "FROM quarantine"
        told = f"general-level sql --store {report.store} '{query}'"
        console.note(f"some rows or files were refused; see why: {told}")


def _print_ingest(reports: list[Any]) -> None:
    if not reports:
        return
    states = ["new", "changed", "unchanged", "removed", "refused"]
    rows = [[r.name, *(r.files.get(s, 0) for s in states), r.rows, r.quarantined] for r in reports]
    columns = ["source", *states, "rows read", "rows in quarantine"]
    console.print_table("ingested (files by state)", columns, rows)
    _print_failures(reports)


def _print_imports(imports: list[Any]) -> None:
    for summary in imports:
        console.note("imported " + ", ".join(f"{key}: {value}" for key, value in summary.items()))


def _print_scores(reports: list[Any]) -> None:
    if not reports:
        return
    rows = [
        [
            report.model,
            sum(report.scored.values()),
            ", ".join(f"{count} {reason}" for reason, count in report.scored.items()) or "-",
            report.unchanged,
            len(report.refused),
            report.instances,
        ]
        for report in reports
    ]
    columns = ["model", "tasks scored", "why", "unchanged", "without score", "instances"]
    console.print_table("scored", columns, rows)
    for report in reports:
        for task_id, reason in sorted(report.refused.items()):
            console.note(f"  {report.model}: {task_id}: {reason}")
    _print_failures(reports)


def _print_failures(reports: list[Any]) -> None:
    for report in reports:
        for failure in report.failures:
            console.complain(failure)


def _print_levels(
    store: str, board: str, profile: str, aggregation: str, longest: int | None = None
) -> None:
    from flows.cli import results

    rows = results.board(store, board, profile, aggregation)
    columns = ["rank", "model", "level reached", "level 2", "level 3", "level 4", "level 5"]
    columns += ["supported", "wins", "tasks"]
    keys = ["rank", "model", "level_reached", "level_2", "level_3", "level_4", "level_5"]
    keys += ["tasks_supported", "tasks_won", "tasks_total"]
    title = f"General-Level, board {board} ({profile} profile, {aggregation})"
    console.print_table(title, columns, [[row[key] for key in keys] for row in rows[:longest]])
    if longest is not None and len(rows) > longest:
        more = f"general-level levels --store {store} --board {board}"
        console.note(f"{len(rows) - longest} more models: {more}")


def _print_against_published(store: str, path: str) -> None:
    from tasks.report.audit import audit
    from tasks.storage import Store

    found = audit(Store(store), "published_levels", path)
    counts = found["verdict"].value_counts(sort=True).rows()
    agree = dict(counts).get("agrees", 0)
    console.print_table(
        f"published level scores: {agree} of {found.height} agree with the recomputed ones to 0.01",
        ["verdict", "level scores"],
        counts,
    )
    unremarkable = {
        "agrees",
        "follows from the printed modalities",
        "no task results printed",
    }
    odd = [row for row in found.rows() if row[-1] not in unremarkable]
    console.print_table(
        "where the published level does not follow from the published task results",
        ["model", "printed as", "modality", "level", "published", "recomputed", "verdict"],
        odd,
    )
