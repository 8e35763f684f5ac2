"""What nothing points to any more: kept for a while, then removed.

Whoever opened the results before a run replaced a part goes on reading it: an analyst's query may
take long. When it was seen first that nothing points to something is written beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from tasks.storage import Store

#: Seconds for which parts are kept after the run that superseded them.
GRACE_SECONDS = 3600.0
#: In the folder, by name of what nothing points to, since when.
RECORD = "superseded.json"


def drop_superseded(
    store: Store,
    live: Collection[str],
    *folder: str,
    delete: Callable[..., None] | None = None,
) -> None:
    """Deletes what lies in a folder and is not `live`, once it has not been for `GRACE_SECONDS`.

    Only for when nobody else writes there: what is written before it is pointed to is not live yet.

    Args:
        delete: removes one thing from the store, by default `store.delete`.
    """
    names = store.names(*folder)
    known: dict[str, datetime] = {}
    if RECORD in names:
        known = store.read_struct(dict[str, datetime], *folder, RECORD) or {}
    now = datetime.now(UTC)
    # What is live again is forgotten: its time begins anew.
    since = {n: known.get(n, now) for n in names if n not in live and n != RECORD}
    kept = {n: t for n, t in since.items() if (now - t).total_seconds() < GRACE_SECONDS}
    for name in since.keys() - kept.keys():
        (delete or store.delete)(*folder, name)
    if kept == known:
        return
    if kept:
        store.write_struct(kept, *folder, RECORD)
    else:
        store.delete(*folder, RECORD)
