"""Records to the texts in their rows and back."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from pipelite.clock import CLOCK
from pipelite.records import ArtifactRef, FileRead, MetricRecord, RunRecord, Status, StepRunRecord

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=True).encode
_decode = json.JSONDecoder().raw_decode


def to_json(value: Any) -> str:
    """Compact JSON that can be stored: text as it is, except for halves of surrogate pairs, which UTF-8 cannot hold."""
    text = _encode(value)
    return text if _is_storable(text) else json.dumps(value, separators=(",", ":"))


def finite(value: Any) -> Any:
    """A value as every reader of JSON takes it: numbers that JSON does not have become null, keys texts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return value


def to_text(moment: datetime | None) -> str | None:
    """Time as it stands in a row: UTC, always with microseconds, so that texts sort as times do."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")


def now_text() -> str:
    """Return the present time as it stands in a row."""
    return CLOCK.now().isoformat(timespec="microseconds")


def to_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def encode_outputs(outputs: Mapping[str, ArtifactRef]) -> str:
    """Outputs of a step run as JSON, fields with nothing in them left out.

    Built from parts: `json.dumps` of a dict of dicts takes four times as long, and this is done for every step run.
    """
    text = _outputs_text(outputs, encode_basestring)
    return text if _is_storable(text) else _outputs_text(outputs, encode_basestring_ascii)


def _outputs_text(outputs: Mapping[str, ArtifactRef], quote: Any) -> str:
    items = []
    for name, ref in outputs.items():
        text = f'{quote(name)}:{{"digest":{quote(ref.digest)},"kind":{quote(ref.kind)}'
        if ref.inline is not None:
            text += f',"inline":{quote(ref.inline)}'
        if ref.path is not None:
            text += f',"path":{quote(ref.path)}'
        if ref.size_bytes:
            text += f',"size_bytes":{ref.size_bytes}'
        if ref.mtime_ns is not None:
            text += f',"mtime_ns":{ref.mtime_ns}'
        if ref.file_digest is not None:
            text += f',"file_digest":{quote(ref.file_digest)}'
        if ref.type_name:
            text += f',"type_name":{quote(ref.type_name)}'
        items.append(text + "}")
    return "{" + ",".join(items) + "}"


def _is_storable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode_outputs(text: str | None) -> dict[str, ArtifactRef]:
    """Outputs of a step run from their JSON."""
    # Without the looks for space around it that `json.loads` takes: it was written by `encode_outputs`.
    return {name: ArtifactRef(**fields) for name, fields in _decode(text)[0].items()} if text else {}


def encode_reads(reads: tuple[FileRead, ...]) -> str:
    """Files that a step run read, as a JSON object of path to digest."""
    return to_json({read.path: read.digest for read in reads}) if reads else "{}"


def decode_reads(text: str) -> tuple[FileRead, ...]:
    if text == "{}":
        return ()
    return tuple([FileRead(path=path, digest=digest) for path, digest in json.loads(text).items()])


def run_from_row(row: sqlite3.Row) -> RunRecord:
    status = Status(row["status"])
    options = json.loads(row["options"])
    waits = options.pop("waits", {})
    return RunRecord(
        id=row["id"],
        number=row["number"],
        pipeline=row["pipeline"],
        target=row["target"],
        experiment=row["experiment"],
        description=row["description"],
        status=status,
        # A run that came to its end while it waited has left it there.
        waits_for=waits.get("for") if status is Status.RUNNING else None,
        parameters=json.loads(row["parameters"]),
        options=options,
        outputs=json.loads(row["outputs"]),
        tags=json.loads(row["tags"]),
        error=row["error"],
        created_at=datetime.fromisoformat(row["created_at"]),
        started_at=to_time(row["started_at"]),
        ended_at=to_time(row["ended_at"]),
        duration_s=row["duration_s"],
        owner=row["owner"],
        rerun_of=row["rerun_of"],
        host=row["host"],
        python=row["python"],
        working_directory=row["working_directory"],
        git_commit=row["git_commit"],
        packages=json.loads(row["packages"]),
    )


def step_run_from_row(row: sqlite3.Row) -> StepRunRecord:
    """Return the record of a row of `step_runs` whose outputs and form were joined from the step run it reuses."""
    return StepRunRecord(
        id=row["id"],
        run_id=row["run_id"],
        position=row["position"],
        name=row["name"],
        step=row["step"],
        status=Status(row["status"]),
        key=row["key"],
        code=row["code"],
        inputs=json.loads(row["inputs"]),
        after=tuple(json.loads(row["after"])),
        environment=row["environment"],
        outputs=decode_outputs(row["outputs"]),
        form=row["form"],
        computed_by=row["computed_by"],
        reason=row["reason"],
        attempts=row["attempts"],
        started_at=to_time(row["started_at"]),
        ended_at=to_time(row["ended_at"]),
        duration_s=row["duration_s"],
        cpu_s=row["cpu_s"],
        peak_memory_bytes=row["peak_memory_bytes"],
        error=row["error"],
        reads=decode_reads(row["reads"]),
        log_file=row["log_file"],
        log_start=row["log_start"],
        log_end=row["log_end"],
    )


def metric_from_row(row: sqlite3.Row) -> MetricRecord:
    return MetricRecord(
        step_run=row["step_run"],
        name=row["name"],
        kind=row["kind"],
        step=row["step"],
        value=json.loads(row["value"]),
        logged_at=datetime.fromisoformat(row["logged_at"]),
    )
