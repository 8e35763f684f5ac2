"""Prefect flows: what runs, in which order, with what retries and limits. No arithmetic here."""
