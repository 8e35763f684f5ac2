"""Alerts of a night to a webhook: what failed or fell, and the hooks of a night that died."""

from __future__ import annotations

import os
from typing import Any

from prefect import Flow, State, get_run_logger
from prefect.client.schemas.objects import FlowRun
from prefect.logging.loggers import flow_run_logger

from flows.options import RunReport
from tasks.report.alert import failure_alert, night_alert, post
from tasks.report.night import Standing

#: Environment variable with the webhook's URL: it is a secret, and a parameter is shown to everybody.
WEBHOOK = "GENERAL_LEVEL_WEBHOOK"


def alert_night(report: RunReport, standing: Standing, webhook: str | None) -> None:
    """Tells of a published night in which something failed or a level fell."""
    alert = night_alert(report.store, report.run_id, report.failures, standing.regressions)
    if alert is not None:
        _send(webhook, alert, get_run_logger())


def alert_end(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tells of a night that failed or crashed. A hook: the worker calls it for a killed process."""
    parameters = flow_run.parameters
    alert = failure_alert(
        str(parameters.get("store_url", "")), flow_run.name, state.name or "", state.message or ""
    )
    _send(parameters.get("webhook"), alert, flow_run_logger(flow_run, flow))


def _send(webhook: str | None, alert: dict[str, Any], logger: Any) -> None:
    url = webhook or os.environ.get(WEBHOOK)
    if not url:
        return
    problem = post(url, alert)
    if problem is None:
        logger.info("alert sent: %s", alert["event"])
    else:
        logger.warning("alert %s not sent: %s", alert["event"], problem)
