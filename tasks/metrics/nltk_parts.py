"""What metrics use of NLTK, without the rest of it.

`import nltk` loads all that NLTK has, and with it SciPy's statistics and, where they are installed,
scikit-learn and matplotlib: seconds for each process that workers are forked from. The modules used
here need none of that, only to be found under their names. Import this module where it is needed,
not at the top: it takes a moment still.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

__all__ = ["NLTKWordTokenizer", "PorterStemmer", "PunktParameters", "PunktSentenceTokenizer"]


@contextmanager
def _nothing_else(*packages: str) -> Iterator[None]:
    """Empty packages in the place of NLTK's while its modules load inside.

    They, and all that was loaded under them, are known to nobody afterwards: whoever imports NLTK
    later gets the whole of it. Where it is there already, it is used as it is.
    """
    if "nltk" in sys.modules:
        yield
        return
    found = find_spec("nltk")
    assert found is not None and found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0])
    try:
        for package in ("nltk", *packages):
            empty = ModuleType(package)
            empty.__path__ = [str(folder.joinpath(*package.split(".")[1:]))]
            sys.modules[package] = empty
        yield
    finally:
        for loaded in [name for name in sys.modules if f"{name}.".startswith("nltk.")]:
            del sys.modules[loaded]


with _nothing_else("nltk.stem", "nltk.tokenize"):
    from nltk.stem.porter import PorterStemmer
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
