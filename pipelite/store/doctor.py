"""Whether a workspace is whole: what can be seen from outside, and what can be put right without losing anything."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import attrs

from pipelite.clock import CLOCK
from pipelite.errors import WorkspaceError
from pipelite.records import ArtifactRef
from pipelite.store.dead_runs import close_dead_runs, find_dead_runs
from pipelite.store.migrations import version_of
from pipelite.store.owners import clear_after, is_alive, iter_dead_locks
from pipelite.store.paths import remove_tree
from pipelite.store.sizes import size_text
from pipelite.store.workspace import AREAS, DATABASE, Store

#: A temporary file is stale when nobody has written to it for this long.
STALE_S = 3600.0

#: The first SQLite without a rare damage by two connections that checkpoint while a third starts the log anew.
_FIXED_SQLITE = (3, 51, 3)

#: What the core is made of; others are shown by the steps that use them.
_PACKAGES = ("attrs", "blake3", "click", "croniter", "joblib", "psutil", "python-dateutil", "sqlite-utils")


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at."""

    #: What was looked at, in a word: "database", "artifacts", ...
    name: str
    level: Level
    #: What was found, and what to do about it.
    message: str


def examine(store: Store, *, deep: bool = False) -> list[Finding]:
    """Look at everything in the workspace, and change nothing.

    Parameters
    ----------
    deep : bool
        Read every artifact and compare its digest, instead of its size and time only.
    """
    looks: dict[str, Callable[[], Finding]] = {
        "database": lambda: _examine_database(store),
        "links": lambda: _examine_links(store),
        "schema": lambda: _examine_schema(store),
        "sqlite": lambda: _examine_sqlite(sqlite3.sqlite_version_info),
        "artifacts": lambda: _examine_artifacts(store, deep=deep),
        "files": lambda: _examine_files(store),
        "logs": lambda: _examine_logs(store),
        "owners": lambda: _examine_owners(store),
        "sizes": lambda: _examine_sizes(store),
        "versions": _examine_versions,
    }
    return [_look(name, look) for name, look in looks.items()]


def _look(name: str, look: Callable[[], Finding]) -> Finding:
    """Look at one thing; where that fails, the failure is the finding, and the others are looked at all the same."""
    try:
        return look()
    except (WorkspaceError, OSError) as exc:
        # The reason that SQLite or the system gives: what a WorkspaceError says is to look here.
        reason = exc.__cause__ if isinstance(exc, WorkspaceError) else exc
        return Finding(name=name, level=Level.ERROR, message=f"cannot be read ({reason}); restore a backup")


def repair(store: Store, *, deep: bool = False) -> list[str]:
    """Put right what can be, and return what was done.

    Results whose artifacts are missing or damaged are forgotten, so that they are computed again; runs whose process is
    gone are marked as interrupted; stale temporary files and locks of dead owners are removed.
    """
    done = []
    damaged = list(iter_damaged(store, deep=deep))
    if damaged:
        n_results = _forget(store, damaged)
        done.append(f"{len(damaged)} damaged artifacts removed; {n_results} results will be computed again")
    closed = close_dead_runs(store)
    if closed:
        done.append(f"runs marked as interrupted: {', '.join(closed)}")
    stale, gone = _stale_files(store), list(iter_dead_locks(store.path))
    for path in stale:
        remove_tree(path)
    for path in gone:
        clear_after(store.path, path.stem)
    if stale or gone:
        done.append(f"{len(stale) + len(gone)} stale files removed")
    return done


def iter_damaged(store: Store, *, deep: bool = False) -> Iterator[ArtifactRef]:
    """Yield the artifacts that are missing, or are not as they were stored."""
    for row in store.database.read(
        "SELECT digest, kind, path, size_bytes, mtime_ns, file_digest, type_name FROM artifacts ORDER BY path"
    ):
        ref = ArtifactRef(**dict(row))
        if not store.artifacts.is_intact(ref) or (deep and not store.artifacts.verify(ref)):
            yield ref


def _examine_database(store: Store) -> Finding:
    problems = [row[0] for row in store.database.read("PRAGMA integrity_check(20)")]
    if problems == ["ok"]:
        return Finding(name="database", level=Level.OK, message="is whole")
    return Finding(
        name="database",
        level=Level.ERROR,
        message=f"is damaged ({'; '.join(problems[:3])}); restore a backup of {store.database.path}",
    )


def _examine_links(store: Store) -> Finding:
    broken = store.database.read("PRAGMA foreign_key_check")
    if not broken:
        return Finding(name="links", level=Level.OK, message="all rows that others refer to are there")
    tables = ", ".join(sorted({row["table"] for row in broken}))
    return Finding(
        name="links",
        level=Level.ERROR,
        message=f"{len(broken)} rows of {tables} refer to rows that are missing; restore a backup",
    )


def _examine_schema(store: Store) -> Finding:
    version = version_of(store.database.connection())
    return Finding(name="schema", level=Level.OK, message=f"version {version}")


def _examine_sqlite(version: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, version))
    if version >= _FIXED_SQLITE:
        return Finding(name="sqlite", level=Level.OK, message=f"version {text}")
    return Finding(
        name="sqlite",
        level=Level.WARNING,
        message=f"version {text} can, rarely, damage a file that several programs write (fixed in 3.51.3); pipelite "
        f"works around it, so write to the database with pipelite only, or update SQLite",
    )


def _examine_artifacts(store: Store, *, deep: bool) -> Finding:
    damaged = [ref.path or "" for ref in iter_damaged(store, deep=deep)]
    n_artifacts = store.database.read("SELECT count(*) FROM artifacts")[0][0]
    if not damaged:
        how = "digests compared" if deep else "sizes and times compared"
        return Finding(name="artifacts", level=Level.OK, message=f"all {n_artifacts} are as they were stored ({how})")
    names = ", ".join(damaged[:3]) + (", ..." if len(damaged) > 3 else "")
    return Finding(
        name="artifacts",
        level=Level.ERROR,
        message=f"{len(damaged)} of {n_artifacts} are missing or damaged: {names}; `pipelite doctor --repair` removes "
        f"them, and what needs them is computed again",
    )


def _examine_files(store: Store) -> Finding:
    stale = [*_stale_files(store), *iter_dead_locks(store.path)]
    if not stale:
        return Finding(name="files", level=Level.OK, message="no stale temporary files")
    return Finding(
        name="files",
        level=Level.WARNING,
        message=f"{len(stale)} files were left behind by processes that were killed; `pipelite doctor --repair` removes "
        f"them",
    )


def _examine_logs(store: Store) -> Finding:
    named = {
        row[0] for row in store.database.read("SELECT DISTINCT log_file FROM step_runs WHERE log_file IS NOT NULL")
    }
    missing = [name for name in named if not (store.path / "logs" / name).exists()]
    if not missing:
        return Finding(name="logs", level=Level.OK, message=f"all {len(named)} files are there")
    return Finding(
        name="logs",
        level=Level.WARNING,
        message=f"{len(missing)} of {len(named)} files are missing; what those steps printed is lost, nothing else",
    )


def _examine_owners(store: Store) -> Finding:
    dead = [row["id"] for row in find_dead_runs(store)]
    if not dead:
        return Finding(name="owners", level=Level.OK, message="every run that is going on has a living process")
    return Finding(
        name="owners",
        level=Level.WARNING,
        message=f"the processes of these runs are gone: {', '.join(dead)}; `pipelite doctor --repair` marks them as "
        f"interrupted",
    )


def _examine_sizes(store: Store) -> Finding:
    sizes = {
        "database": sum(path.stat().st_size for path in store.path.glob(f"{DATABASE}*")),
        **{area: _size_of(store.path / area) for area in AREAS},
    }
    text = ", ".join(f"{name} {size_text(size)}" for name, size in sizes.items())
    free = shutil.disk_usage(store.path).free
    return Finding(name="sizes", level=Level.OK, message=f"{text}; free on the disk: {size_text(free)}")


def _examine_versions() -> Finding:
    packages = []
    for name in ("pipelite", *_PACKAGES):
        try:
            packages.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            packages.append(f"{name} not installed")
    return Finding(
        name="versions", level=Level.OK, message=f"Python {platform.python_version()}, {', '.join(packages)}"
    )


def _size_of(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = (Path(place) / name).lstat()
            except FileNotFoundError:
                # Files come and go while runs are going on.
                continue
            # What is allocated: of a long log the middle is given back, and the file keeps its length.
            total += min(status.st_size, status.st_blocks * 512)
    return total


def _stale_files(store: Store) -> list[Path]:
    oldest = CLOCK.time() - STALE_S
    # The scratch folder of a step that runs for hours is not stale: its owner lives.
    return [
        path
        for path in sorted((store.path / "tmp").iterdir())
        if path.lstat().st_mtime < oldest and not is_alive(store.path, path.name.partition("-")[0])
    ]


def _forget(store: Store, damaged: Iterable[ArtifactRef]) -> int:
    """Remove artifacts, and the results that have them among their outputs; return the number of results."""
    n_results = 0
    with store.database.write() as connection:
        for ref in damaged:
            n_results += connection.execute(
                "DELETE FROM results WHERE step_run_id IN (SELECT step_runs.id FROM step_runs, "
                "json_each(step_runs.outputs) AS output WHERE json_extract(output.value, '$.path') = ?)",
                (ref.path,),
            ).rowcount
            connection.execute("DELETE FROM artifacts WHERE digest = ? AND kind = ?", (ref.digest, ref.kind))
    for ref in damaged:
        store.artifacts.remove(ref)
    return n_results
