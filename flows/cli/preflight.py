"""What can be told of a call before Prefect's server is started, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks.catalog import load_catalogue
from tasks.ingest import open_source
from tasks.lock import hold
from tasks.storage import Store

#: What the store's lock says of its holder while a call is checked.
CHECK = "check of a call"


def check_call(
    store: str,
    catalogue_files: Sequence[str] = (),
    base_catalogue: bool = True,
    sources: Iterable[str | None] = (),
) -> None:
    """Returns when a run could begin: its lock can be taken and given back, its catalogue loads, and
    its sources are there. The flow finds out for itself again, as time goes by.

    Args:
        store: folder or URL of the store.
        catalogue_files: user catalogue files, later ones win.
        base_catalogue: whether the published catalogue is under them.
        sources: folders, files or URLs that the run would read; None is none.

    Raises:
        UserError: when the store is in use or on a bucket that is not there, a catalogue file is
            wrong, or a source is absent.
        OSError: when the store may not be written.
    """
    with hold(Store(store), CHECK):
        pass
    load_catalogue(catalogue_files, base=base_catalogue)
    for source in sources:
        if source is not None:
            open_source(source)
