"""Values that are put together from outputs that are stored already: lists, tuples and dicts of references."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pipelite.records import ArtifactRef

#: The kind of such an artifact; it is kept in its row, and has no file.
PARTS = "parts"


class Part(NamedTuple):
    """A stored output, and where to look inside it."""

    ref: ArtifactRef
    path: tuple[Any, ...]


def join_parts(value: Any, *, identity: str, put: Callable[[Any], ArtifactRef]) -> ArtifactRef:
    """A reference for a value in which `Part`s stand for stored outputs; `put` stores what stands beside them."""
    text = json.dumps(_encode(value, put), separators=(",", ":"))
    return ArtifactRef(digest=identity, kind=PARTS, inline=text, size_bytes=len(text), type_name=type(value).__name__)


def load_parts(text: str, load: Callable[[ArtifactRef], Any]) -> Any:
    """The value, each of its parts loaded."""
    return _decode(json.loads(text), load)


def iter_parts(text: str) -> Iterator[ArtifactRef]:
    """Every stored value that such a value is put together from."""
    waiting = [json.loads(text)]
    while waiting:
        form = waiting.pop()
        if "ref" in form:
            yield ArtifactRef(**form["ref"])
        elif "dict" in form:
            waiting.extend(form["dict"].values())
        else:
            waiting.extend(form.get("list") or form.get("tuple") or ())


def _encode(value: Any, put: Callable[[Any], ArtifactRef]) -> Any:
    if type(value) is Part:
        return {"ref": _fields(value.ref), "path": list(value.path)}
    if type(value) is list or type(value) is tuple:
        return {type(value).__name__: [_encode(item, put) for item in value]}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encode(item, put) for key, item in value.items()}}
    return {"ref": _fields(put(value)), "path": []}


def _decode(form: dict[str, Any], load: Callable[[ArtifactRef], Any]) -> Any:
    if "ref" in form:
        value = load(ArtifactRef(**form["ref"]))
        for part in form["path"]:
            value = value[part]
        return value
    if "dict" in form:
        return {key: _decode(item, load) for key, item in form["dict"].items()}
    if "list" in form:
        return [_decode(item, load) for item in form["list"]]
    return tuple(_decode(item, load) for item in form["tuple"])


def _fields(ref: ArtifactRef) -> dict[str, Any]:
    fields = {name: getattr(ref, name) for name in ("digest", "kind", "inline", "path", "size_bytes", "mtime_ns")}
    fields.update(file_digest=ref.file_digest, type_name=ref.type_name)
    return {name: value for name, value in fields.items() if value is not None}
