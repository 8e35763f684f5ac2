"""`general-level status`: how fresh and how whole the published results are."""

from __future__ import annotations

from dataclasses import asdict

from flows.cli import console
from tasks.report.status import Status, prometheus, read_status, seconds_of
from tasks.storage import Store

FRESH = 0
STALE = 4
NOTHING_PUBLISHED = 5


def show_status(store: str, max_age: str, *, as_json: bool, as_metrics: bool) -> int:
    """Prints the state of the last published run; returns the exit code.

    With `as_metrics` it is 0 once the metrics are printed: age is one of them, and a collector's
    file must be renewed when the results are stale, too.

    Raises:
        UserError: when `max_age` is no span of time.
    """
    oldest = seconds_of(max_age)
    status = read_status(Store(store))
    if as_metrics:
        console.out.print(prometheus(status), end="", soft_wrap=True, markup=False, highlight=False)
        return FRESH
    if status is None:
        code, state = NOTHING_PUBLISHED, "nothing published"
    else:
        fresh = status.age_seconds <= oldest
        code, state = (FRESH, "fresh") if fresh else (STALE, "stale")
    if as_json:
        found = asdict(status) if status else {"store": store}
        if status:
            found["published_at"] = status.published_at.isoformat()
        console.print_json({"state": state, "max_age_seconds": oldest, **found})
    elif status is None:
        console.note(f"{store}: nothing published yet; start with: general-level run --help")
    else:
        _print(status, state, max_age)
    return code


def _print(status: Status, state: str, max_age: str) -> None:
    facts = [
        ("state", f"{state}: {_span(status.age_seconds)} old, at most {max_age}"),
        ("last run", f"{status.run_id}, published {status.published_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("failures", f"{status.failures} in this run"),
        ("levels that fell", "\n".join(map(str, status.regressions)) or "none"),
        ("tasks", _counts(status.tasks)),
        ("stale scores", f"{status.stale} kept of an earlier run, as the task failed since"),
        ("instances", _counts(status.instances)),
        ("quarantine", _counts(status.quarantine)),
        ("models", str(len(status.levels))),
    ]
    console.print_table(status.store, ["", ""], facts)
    if status.stages:
        columns = ["stage", "seconds", "tasks", "unchanged", "instances", "failures", "run_id"]
        rows = [[stage[key] for key in columns] for stage in status.stages]
        console.print_table("last run of each stage", [*columns[:-1], "run"], rows)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.items()) or "none"


def _span(seconds: float) -> str:
    hours, rest = divmod(max(0, int(seconds)), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min"
