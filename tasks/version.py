"""The scorer's version: part of every stored score.

Raise it when the way from statistics to a task score changes (a change inside one metric raises
that metric's own version instead). Every score is then made anew on the next run.
"""

SCORER_VERSION = "3"
