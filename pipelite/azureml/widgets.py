"""`azureml.widgets`."""

from __future__ import annotations

from typing import Any


class RunDetails:
    """Shows a run."""

    def __init__(self, run_instance: Any) -> None:
        self._run = run_instance

    def show(self, render_lib: Any = None, widget_settings: Any = None) -> None:
        """Show the run: as a page in a notebook, else a line for each step."""
        self._run._native.show()

    def get_widget_data(self, widget_settings: Any = None) -> dict[str, Any]:
        return {
            "status": self._run.get_status(),
            "run_id": self._run.id,
            "child_runs": [{"name": name, "status": step.status} for name, step in self._run._native.steps.items()],
        }
