"""What a pipeline returned, put together from the outputs of steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelite.errors import NotFoundError
from pipelite.plan import load_outputs
from pipelite.records import ArtifactRef
from pipelite.store import get_stored_outputs

if TYPE_CHECKING:
    from pipelite.api.runs import Run


class Outputs(Mapping[str, Any]):
    """Outputs of a run by name; each is loaded when it is asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._places = run.record.outputs

    def __getitem__(self, name: str) -> Any:
        place = self._place(name)
        steps = set(_iter_steps(place))
        # All at once: a list may have a hundred thousand elements, each of a step of its own.
        stored = get_stored_outputs(self._run._store, self._run.id, steps) if steps else {}
        return self._load(place, stored)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _place(self, name: str) -> Mapping[str, Any]:
        if name not in self._places:
            names = ", ".join(self._places) or "none"
            raise NotFoundError(f"run {self._run.id} has no output {name!r}; the pipeline returned: {names}")
        return self._places[name]  # type: ignore[no-any-return]

    def _load(self, place: Mapping[str, Any], stored: Mapping[str, tuple[dict[str, ArtifactRef], str]]) -> Any:
        if "list" in place:
            return [self._load(part, stored) for part in place["list"]]
        if "tuple" in place:
            return tuple(self._load(part, stored) for part in place["tuple"])
        if "dict" in place:
            return {key: self._load(part, stored) for key, part in place["dict"].items()}
        if "value" in place:
            return place["value"]
        outputs, form = stored[place["step"]]
        if not outputs:
            return None
        value = load_outputs(self._run._store, outputs, form, place["output"])
        for part in place["path"]:
            value = value[part]
        return value

    def __repr__(self) -> str:
        return f"<outputs {', '.join(self._places)}>"


def _iter_steps(place: Mapping[str, Any]) -> Iterator[str]:
    """Names of the steps whose outputs stand at a place."""
    if "step" in place:
        yield place["step"]
    parts = place.get("dict", {}).values() if "dict" in place else place.get("list") or place.get("tuple") or ()
    for part in parts:
        yield from _iter_steps(part)
