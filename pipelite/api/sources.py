"""The source of a pipeline: kept when it runs or is published, written out where it is to run again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.errors import ArtifactError, NotFoundError
from pipelite.execute import collect_sources, import_module
from pipelite.fingerprint import digest
from pipelite.records import CodeFingerprint
from pipelite.store import (
    KEPT_SNAPSHOTS,
    Snapshot,
    SourceFolder,
    Store,
    describe_kept,
    find_known,
    get_source,
    keep_snapshot,
    use_kept,
)

if TYPE_CHECKING:
    from pipelite.api.pipelines import Pipeline


def keep_sources(
    store: Store, codes: Iterable[CodeFingerprint], snapshots: Mapping[SourceFolder, Snapshot]
) -> tuple[dict[str, str], dict[str, bytes]]:
    """Keep snapshots, and find own source files: place to digest, and digest to text of those that are not stored yet."""
    places, files = collect_sources(codes, store.file_cache)
    contents: dict[str, Path | bytes] = {**files}
    if snapshots:
        for folder, snapshot in snapshots.items():
            keep_snapshot(folder, snapshot, store.artifacts)
        kept = describe_kept(snapshots)
        places[KEPT_SNAPSHOTS] = digest("snapshots", kept)
        contents[places[KEPT_SNAPSHOTS]] = kept
    unknown = set(contents) - find_known(store, "sources", list(contents))
    return places, {name: _read(contents[name]) for name in unknown}


def _read(content: Path | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def write_sources(
    store: Store, places: Mapping[str, str], folder: Path, *, whose: str, contents: Mapping[str, bytes] | None = None
) -> None:
    """Write kept source files below a folder; `contents` are those that are not stored yet."""
    for place, source in places.items():
        target = folder / place
        if folder not in target.resolve().parents:
            raise ArtifactError(f"{whose} names a source file outside of its folder: {place!r}")
        target.parent.mkdir(parents=True, exist_ok=True)
        known = contents.get(source) if contents is not None else None
        target.write_bytes(get_source(store, source) if known is None else known)


def use_sources(folder: Path) -> None:
    """Have this process import from kept source files, and take the snapshots that were kept with them."""
    use_kept(folder)
    sys.path.insert(0, str(folder))


def import_pipeline(target: str, folder: Path, *, whose: str) -> Pipeline[Any, Any]:
    """The pipeline that a target names, from the kept source below a folder."""
    from pipelite.api.pipelines import Pipeline

    module, _, qualname = target.partition(":")
    if all(part.isidentifier() for part in module.split(".")):
        found: Any = importlib.import_module(module)
    else:
        found = import_module(module, str(folder / f"{module}.py"))
    for part in qualname.split("."):
        found = getattr(found, part)
    if not isinstance(found, Pipeline):
        raise NotFoundError(f"{target} is not a pipeline in the source that {whose} kept")
    return found
