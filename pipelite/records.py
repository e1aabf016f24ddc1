"""Records that cross a room, a process or a disk: frozen, plain, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs


class Status(StrEnum):
    """The states of runs and of step runs."""

    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    REUSED = "reused"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELING = "canceling"
    CANCELED = "canceled"
    INTERRUPTED = "interrupted"


#: States that a run or a step run does not leave any more.
FINAL = frozenset({Status.COMPLETED, Status.REUSED, Status.FAILED, Status.SKIPPED, Status.CANCELED})

#: Name of the output of a step that names none.
RESULT = "result"


@attrs.frozen(kw_only=True)
class CodeFingerprint:
    """What a step's code is made of."""

    #: Identity of all of it together; the same wherever the code is kept.
    digest: str
    #: Everything that counts, by a name for people ("function flow.clean", "package numpy"), to its identity.
    parts: Mapping[str, str]
    #: What could not be seen through, in words.
    not_tracked: tuple[str, ...] = ()
    #: Own source files that were reached: absolute path to blake3 hex digest of the bytes.
    sources: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ArtifactRef:
    """Where one stored output is and how to load it; small enough to travel instead of the value."""

    #: Identity of the value: what counts in the keys of the steps that take it.
    digest: str
    #: Name of the serializer: "json", "npy", "dataframe", "estimator", "pickle", "file", "folder" or a registered one.
    kind: str
    #: The value itself as JSON text where it is small and plain; then there is no file.
    inline: str | None = None
    #: Path below the workspace's `artifacts/`, with forward slashes; None for an inline value.
    path: str | None = None
    size_bytes: int = 0
    #: Modification time of the file (of a folder: 0), looked at on every use; None for an inline value.
    mtime_ns: int | None = None
    #: blake3 hex digest of the stored bytes, for the deep check; None for an inline value.
    file_digest: str | None = None
    #: Qualified type name of the value, for people.
    type_name: str = ""


@attrs.frozen(kw_only=True)
class FileRead:
    """A file that a step opened for reading while it ran."""

    #: Relative to the run's working directory where it lies below it, else absolute.
    path: str
    #: blake3 hex digest of its bytes; "missing" for one that was looked for and not there.
    digest: str


@attrs.frozen(kw_only=True)
class StoredResult:
    """What is stored under one key: outputs, and what they depend on besides the key."""

    key: str
    #: The step run that computed it.
    step_run_id: int
    #: Its outputs as the store keeps them: most are never looked at, and to decode them all would be half of the time.
    outputs: str
    #: Whether an output may be a file, or None: then it is to be looked at before it is reused.
    needs_look: bool
    #: "value", "tuple" or "dict": what the function returned, so that all outputs together can be given as it did.
    form: str
    reads: tuple[FileRead, ...]
    #: UTC, as ISO text.
    created_at: str


@attrs.frozen(kw_only=True)
class Claim:
    """Who is at work on what a key stands for."""

    key: str
    #: Run and name of the owner's lock; None where the run has ended without giving it back.
    run_id: str | None
    owner: str | None
    #: Name of the step in that run.
    step: str


@attrs.frozen(kw_only=True)
class Failure:
    """An exception as it travels: text always, the exception itself where it can be pickled."""

    type_name: str
    message: str
    traceback: str
    #: Pickle of the exception, checked to load again; None where it does not.
    pickled: bytes | None = None


@attrs.frozen(kw_only=True)
class RunRecord:
    """One tracked execution of a pipeline, as stored."""

    id: str
    number: int
    pipeline: str
    #: "module:qualname" where the pipeline can be imported again; None where it cannot.
    target: str | None
    experiment: str
    description: str | None
    status: Status
    #: Parameter name to text for people; the values themselves are in `parameters_pickle`.
    parameters: Mapping[str, Any]
    #: Options of the run: keep_going, regenerate_outputs.
    options: Mapping[str, Any]
    #: Output name to where it comes from: {"step": node name, "output": output name, "path": [...]}.
    outputs: Mapping[str, Any]
    tags: Mapping[str, str]
    error: str | None
    #: UTC.
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    #: Seconds by the monotonic clock; None while it is running.
    duration_s: float | None
    #: Name of the owner's lock file.
    owner: str | None
    rerun_of: str | None
    host: str
    python: str
    working_directory: str
    git_commit: str | None
    #: Installed package to version.
    packages: Mapping[str, str]
    #: Of a run that is running but for the time being cannot work: for what, in words.
    waits_for: str | None = None


@attrs.frozen(kw_only=True)
class StepRunRecord:
    """One execution of one node: computed, reused, failed or never reached."""

    id: int
    run_id: str
    #: Place of the node in its graph, from 0.
    position: int
    name: str
    #: "module.qualname" of the step's function.
    step: str
    status: Status
    key: str | None
    #: Digest of the step's code fingerprint.
    code: str | None
    #: Input name to {"id": identity, "from": [[node name, output name], ...]}.
    inputs: Mapping[str, Any]
    #: Names of the nodes it waits for without taking their output.
    after: tuple[str, ...]
    environment: str | None
    outputs: Mapping[str, ArtifactRef]
    form: str
    #: The step run whose outputs, logs and metrics these are, if it was reused.
    computed_by: int | None
    #: Why it was reused or computed.
    reason: str | None
    #: Executions, the successful one included; 0 for a reused one.
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    duration_s: float | None
    #: Seconds of processor time of the step and its finished children.
    cpu_s: float | None
    #: Highest resident size of the worker while the step ran.
    peak_memory_bytes: int | None
    error: str | None
    reads: tuple[FileRead, ...]
    #: Log file below the workspace's `logs/`, and the step's part of it.
    log_file: str | None
    log_start: int | None
    #: None while it is running: the part then reaches to the end of the file.
    log_end: int | None


@attrs.frozen(kw_only=True)
class GrowthRecord:
    """One thing that an expander did, or was told, while its run went on."""

    #: Place of the expander in the graph.
    position: int
    #: "made" {"first": position, "count": n, "names": names, or the one before [0], [1], ...}, "stop" position,
    #: "status" what it was told that a step is, "logged" [position, metric, value, number], "ended" [position, status,
    #: error, seconds]; "failed" [position] is an end that the run does not tolerate: a resume goes back to before it.
    #: "cut" n: of what the expander did and was told before, only the first n count.
    kind: str
    value: Any


@attrs.frozen(kw_only=True)
class MetricRecord:
    """One thing that a step logged."""

    #: Node name of the step run that logged it.
    step_run: str
    name: str
    #: "scalar", "row", "list", "table", "image", "confusion_matrix" or "file".
    kind: str
    #: The step number given with it, e.g. an epoch.
    step: int | None
    #: Number, text, or the JSON form of a row, list, table; for an image or a file its ArtifactRef as a dict.
    value: Any
    logged_at: datetime
