"""The command line `general-level`: a thin way in to the flows and to the published results."""

from flows.cli.app import main

__all__ = ["main"]
