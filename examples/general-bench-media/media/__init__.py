"""The tasks of the example, their algorithms and their measures."""
