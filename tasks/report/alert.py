"""Alerts: what somebody should know of a night, as a small JSON document posted to a webhook."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from tasks.report.night import FIRST_ROWS, Regression

#: Seconds for the whole exchange: a receiver that hangs must not hold the night up.
TIMEOUT_SECONDS = 10.0
#: Characters of one message; the flow run's page has the whole.
_LONGEST = 500

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def without_credentials(text: str) -> str:
    """The text with `user:password@` cut out of every URL in it."""
    return _CREDENTIALS.sub("", text)


def night_alert(
    store: str, run_id: str, failures: Sequence[str], regressions: Sequence[Regression]
) -> dict[str, Any] | None:
    """What to tell of a night that published; None when there is nothing to tell.

    Returns:
        `event` is `incomplete` (something failed) or `regressed` (a level fell); `text` says it for
        people, under the name that Slack, Mattermost and others read.
    """
    if not failures and not regressions:
        return None
    told = []
    if failures:
        told.append(f"{len(failures)} failed, first: {failures[0]}")
    if regressions:
        told.append(f"{len(regressions)} level scores fell, first: {regressions[0]}")
    return _document(
        "incomplete" if failures else "regressed",
        store,
        "; ".join(told),
        run_id=run_id,
        failures=[_short(failure) for failure in failures[:FIRST_ROWS]],
        regressions=[
            {
                "model": fall.model,
                "level": fall.level,
                "score": fall.score,
                "score_before": fall.score_before,
            }
            for fall in regressions[:FIRST_ROWS]
        ],
    )


def failure_alert(store: str, flow_run: str, state: str, message: str) -> dict[str, Any]:
    """What to tell of a night that published nothing.

    Args:
        state: how Prefect calls its end, Failed or Crashed; `event` is the same in small letters.
    """
    said = f"{flow_run} {state.lower()}: {message}"
    return _document(state.lower(), store, said, flow_run=without_credentials(flow_run))


def post(url: str, document: dict[str, Any], timeout: float = TIMEOUT_SECONDS) -> str | None:
    """Posts the document as JSON; returns what went wrong, without the URL (which is a secret)."""
    if not url.startswith(("http://", "https://")):
        return "the webhook is no http(s) URL"
    request = urllib.request.Request(  # noqa: S310 - http(s) only, checked above
        url, json.dumps(document).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return f"the webhook answered {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return f"the webhook cannot be reached ({type(reason).__name__})"


def _document(event: str, store: str, said: str, **more: Any) -> dict[str, Any]:
    text = _short(f"General-Level, {without_credentials(store)}: {said}")
    return {"event": event, "text": text, "store": without_credentials(store), **more}


def _short(text: str) -> str:
    return without_credentials(text)[:_LONGEST]
