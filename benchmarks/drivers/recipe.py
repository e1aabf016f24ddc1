"""The helper module that the `edit` work of the drivers calls; peers.py edits a copy of it."""


def rate() -> float:
    return 0.25
