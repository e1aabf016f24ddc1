"""What has to hold of a workspace after whatever happened to it."""

from __future__ import annotations

from pipelite.execute import recover_dead_runs
from pipelite.records import ArtifactRef
from pipelite.store import Store


def check_whole(store: Store) -> None:
    """The database and all artifacts are as they should be, and nothing half-written is left."""
    recover_dead_runs(store)
    assert [row[0] for row in store.database.read("PRAGMA integrity_check")] == ["ok"]
    assert store.database.read("PRAGMA foreign_key_check") == []
    for row in store.database.read(
        "SELECT digest, kind, path, size_bytes, mtime_ns, file_digest, type_name FROM artifacts"
    ):
        assert store.artifacts.verify(ArtifactRef(**dict(row)))
    assert [path.name for path in (store.path / "tmp").iterdir()] == []
    assert [path.name for path in (store.path / "spool").iterdir()] == []


def check_complete(run, number: int) -> None:
    """A run of `disk_graph` that says that it completed has everything."""
    assert run.status == "completed"
    assert run.outputs["total"] == 203_000 * number + 500 * len(f"one {number}")
    assert run.metrics["number"] == number
    assert run.tags["number"] == str(number)
    assert run.steps["array"].logs == f"array {number}\n"
