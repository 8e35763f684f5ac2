"""A step of `prefect deploy` that keeps an automation on the server, which it has no own one for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast
from uuid import UUID

import yaml
from prefect import get_client
from prefect.blocks.webhook import Webhook
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import AutomationCore
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.alerts import WEBHOOK

#: Name of the server's block that holds the webhook's URL; the server keeps it encrypted.
_BLOCK = "general-level-alerts"
#: What is posted when the automation acts: as `tasks.report.alert.failure_alert` of a crashed night,
#: which has no process left that could send it.
_ALERT = """
{%- set store = flow_run.parameters["store_url"] -%}
{%- if "@" in store -%}
  {%- set store = store.split("://")[0] ~ "://" ~ store.split("@")[-1] -%}
{%- endif -%}
{
  "event": "crashed",
  "text": {{ ("General-Level, " ~ store ~ ": crashed: " ~ automation.description) | tojson }},
  "store": {{ store | tojson }},
  "flow_run": {{ flow_run.name | tojson }}
}"""


def keep_automation(file: str) -> None:
    """Creates the automation of a YAML file, or brings the one of that name up to the file.

    Where `GENERAL_LEVEL_WEBHOOK` is set, the automation posts an alert there as well.

    Args:
        file: path of a file as `prefect automation create --from-file` takes it, with one automation.

    Raises:
        OSError, yaml.YAMLError, pydantic.ValidationError: when the file holds no automation.
    """
    wanted = AutomationCore.model_validate(yaml.safe_load(Path(file).read_text()))
    if url := os.environ.get(WEBHOOK):
        wanted.actions.append(_alert(url))
    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(wanted.name)
        if known:
            client.update_automation(known[0].id, wanted)
        else:
            client.create_automation(wanted)


def _alert(url: str) -> CallWebhook:
    """An action that posts to a URL, which the server keeps as a secret."""
    headers = SecretDict({"Content-Type": "application/json"})
    block = Webhook(url=SecretStr(url), headers=headers)
    return CallWebhook(
        block_document_id=cast(UUID, block.save(_BLOCK, overwrite=True)), payload=_ALERT
    )
