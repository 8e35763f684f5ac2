"""The task table: what every task is, how it is measured, and what its specialist reaches.

`load_catalogue()` gives the 699 published tasks; see docs/catalogue.md for the columns, the
published oddities and how to override or add tasks.
"""

from tasks.catalog.check import check_catalogue
from tasks.catalog.load import load_catalogue
from tasks.catalog.model import MODALITIES, PARADIGMS, Catalogue, Task
from tasks.catalog.normalise import MAPS, UNITS, normalise

__all__ = [
    "MAPS",
    "MODALITIES",
    "PARADIGMS",
    "UNITS",
    "Catalogue",
    "Task",
    "check_catalogue",
    "load_catalogue",
    "normalise",
]
