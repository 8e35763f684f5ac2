"""A step of `prefect deploy` that keeps an automation on the server, which it has no own one for."""

from __future__ import annotations

from pathlib import Path

import yaml
from prefect import get_client
from prefect.events.schemas.automations import AutomationCore


def keep_automation(file: str) -> None:
    """Creates the automation of a YAML file, or brings the one of that name up to the file.

    Args:
        file: path of a file as `prefect automation create --from-file` takes it, with one automation.

    Raises:
        OSError, yaml.YAMLError, pydantic.ValidationError: when the file holds no automation.
    """
    wanted = AutomationCore.model_validate(yaml.safe_load(Path(file).read_text()))
    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(wanted.name)
        if known:
            client.update_automation(known[0].id, wanted)
        else:
            client.create_automation(wanted)
