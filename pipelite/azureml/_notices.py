"""What is said once: settings that mean nothing on one box, and spellings that v1 itself refused."""

from __future__ import annotations

import sys
import warnings

_said: set[str] = set()


def note_ignored(what: str) -> None:
    """Say once on stderr that something is taken and has no meaning here."""
    text = f"pipelite: {what} has no meaning on one box and is not used"
    if text not in _said:
        _said.add(text)
        print(text, file=sys.stderr)


def note_place(path: str | None) -> None:
    """Say once that a script does not choose where its data lie."""
    if path:
        note_ignored("a path on the compute (a script is given that which its data have here)")


def warn_spelling(written: str, right: str) -> None:
    """Warn once of something that is understood here, and that the SDK refused."""
    text = f"{written} is taken as {right}, which is how SDK v1 spells it; it refused the other"
    if text not in _said:
        _said.add(text)
        warnings.warn(text, UserWarning, stacklevel=3)
