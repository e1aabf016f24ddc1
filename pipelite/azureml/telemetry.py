"""`azureml.telemetry`: nothing is sent to anybody."""

from __future__ import annotations

from pipelite.azureml._notices import note_ignored


def set_diagnostics_collection(send_diagnostics: bool = True, verbosity: int = 0, reason: str = "") -> None:
    """Take the wish; nothing is collected here."""
    if send_diagnostics:
        note_ignored("sending diagnostics")
