"""What an operator finds on a flow run's page: tags, tables and a summary. `tasks.report.night`
makes them; a server that does not take them costs a warning, never the night."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any

import httpx
from prefect import Flow, State, get_client, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.logging import get_logger

from flows.options import RunReport
from tasks.report.night import (
    Standing,
    ingested_table,
    one_line,
    rescored_table,
    stage_table,
    summary,
)


def tag_run(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tags a flow run with `general-level` and the store's name (its last folder). A hook: it runs
    for the flow that was called, and not for those it is composed of."""
    with _or_warn("tags"):
        _tag(flow_run)


def show_tags() -> None:
    """The tags of `tag_run` on the flow run under way, beside its work."""
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        _send("tags", partial(_tag, context.flow_run))


def _tag(flow_run: FlowRun) -> None:
    store = str(flow_run.parameters.get("store_url", "")).rstrip("/").rsplit("/", 1)[-1]
    tags = {*flow_run.tags, "general-level", f"store:{store}"}
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags=sorted(tags))


def show_leaderboard(run_id: str, levels: Sequence[dict[str, Any]]) -> None:
    """Board A as a table."""
    _table(
        "leaderboard",
        list(levels) or [{"model": "no model has been scored yet"}],
        f"General-Level leaderboard, board A, corrected profile (run {run_id})",
    )


_Send = Callable[[], None]
#: What has artifacts sent beside the work; None where they are sent at once.
_beside: Callable[[_Send], None] | None = None


@contextmanager
def shown_meanwhile() -> Iterator[None]:
    """Artifacts of the flow run inside are sent beside its work, one after the other; at the end all
    have been. A server takes some 20 ms for each, and has them while nobody waits."""
    global _beside
    sent: list[Future[None]] = []
    with ThreadPoolExecutor(1, "artifacts") as sender:

        def send_beside(send: _Send) -> None:
            # In the context of the flow run: an artifact finds its run, and the client, there.
            sent.append(sender.submit(copy_context().run, send))

        _beside = send_beside
        try:
            yield
        finally:
            _beside = None
    for sending in sent:
        sending.result()  # raises what no warning covers


def show_work(report: RunReport) -> None:
    """What was read and scored, as soon as it was."""
    about = f"run {report.run_id}"
    _table("ingested", ingested_table(report.ingest), f"What was read, by source, {about}")
    rescored = rescored_table(report.scores)
    _table("rescored", rescored, f"What was scored again, and why, {about}")


def show_stages(report: RunReport) -> None:
    """How long each stage took."""
    about = f"Wall time and counts of each stage, run {report.run_id}"
    _table("stages", stage_table(report.stages), about)


def show_night(report: RunReport, standing: Standing) -> None:
    """The summary and the tables behind it, on the page; what needs somebody, in the log."""
    run = f"run {report.run_id}"
    text = summary(
        report.run_id, report.store, report.failures, report.scores, report.stages, standing
    )
    about = f"The night in short, {run}"
    _send("night", partial(create_markdown_artifact, text, key="night", description=about))
    for key, rows, about in (
        ("coverage", standing.coverage, "Instances seen, missed and refused, by model"),
        ("quarantine", standing.quarantine, "Refused rows and files, by reason"),
        ("quarantine-rows", standing.quarantine_rows, f"The first of {standing.refused} refused"),
    ):
        _table(key, rows, f"{about}, {run}")
    logger = get_run_logger()
    for failure in report.failures:
        logger.warning("failed: %s", failure)
    for regression in standing.regressions:
        logger.warning("%s", regression)
    logger.info("night %s: %s", report.run_id, one_line(report.stages, standing))


def _table(key: str, rows: Sequence[dict[str, Any]], description: str) -> None:
    if rows:
        table = partial(create_table_artifact, table=list(rows), key=key, description=description)
        _send(key, table)


def _send(key: str, create: Callable[[], object]) -> None:
    def send() -> None:
        with _or_warn(key):
            create()

    if _beside is None:
        send()
    else:
        _beside(send)


@contextmanager
def _or_warn(what: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        get_logger(__name__).warning("the %s could not be shown: %s", what, error)
