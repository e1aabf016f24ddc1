"""What steps logged, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelite.errors import NotFoundError
from pipelite.records import MetricRecord


class Metrics(Mapping[str, Any]):
    """Logged values. A name gives the last value, if one step logged it; "step/name" gives that step's."""

    def __init__(self, records: list[MetricRecord]) -> None:
        self._records = records

    def __getitem__(self, name: str) -> Any:
        return self._find(name)[-1].value

    def __iter__(self) -> Iterator[str]:
        steps: dict[str, set[str]] = {}
        for record in self._records:
            steps.setdefault(record.name, set()).add(record.step_run)
        for name, logged_by in steps.items():
            if len(logged_by) == 1:
                yield name
            else:
                yield from (f"{step}/{name}" for step in sorted(logged_by))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def series(self, name: str) -> list[tuple[int | None, Any]]:
        """All values under a name, as pairs of step number and value."""
        return [(record.step, record.value) for record in self._find(name)]

    def records(self) -> list[MetricRecord]:
        """Everything logged, with kinds and times."""
        return list(self._records)

    def _find(self, name: str) -> list[MetricRecord]:
        found = [record for record in self._records if record.name == name]
        steps = dict.fromkeys(record.step_run for record in found)
        if len(steps) > 1:
            names = ", ".join(f"{step}/{name}" for step in sorted(steps))
            raise NotFoundError(f"metric {name!r} was logged by {len(steps)} steps; say which: {names}")
        if not found:
            found = [record for record in self._records if f"{record.step_run}/{record.name}" == name]
        if not found:
            names = ", ".join(self) or "none"
            raise NotFoundError(f"there is no metric {name!r}; logged were: {names}")
        return found

    def __repr__(self) -> str:
        return repr(dict(self))
