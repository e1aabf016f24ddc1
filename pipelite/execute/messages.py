"""What travels between the coordinator and its workers: plain, small, picklable by reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import attrs

from pipelite.define import EnvironmentSpec
from pipelite.records import ArtifactRef, CodeFingerprint, Failure


@attrs.frozen
class ShippedFunction:
    """A step's function, sent once to each worker that runs it."""

    #: Number of the function in the coordinator's process.
    id: int
    #: Where the worker imports it from; None for a function that travels by value.
    module: str | None
    qualname: str
    #: File of the module where the import system would not find it: the running script.
    file: str | None
    #: The function by value, where it cannot be imported.
    pickled: bytes | None
    #: What the run was planned with: a worker that holds other code must not run it.
    code: CodeFingerprint
    #: Options that are part of the fingerprint: version, depends_on, track.
    tracking: Mapping[str, Any]
    #: The function itself, for a target in the coordinator's own process.
    held: Callable[..., Any] | None = None
    #: What the step asks for to run in, and the workspace's setting that says how that is met.
    environment: EnvironmentSpec | None = None
    environments: str = ""
    #: Whether the function itself starts what is to run in the environment.
    starts_process: bool = False


@attrs.frozen
class RunSetup:
    """What a worker needs once for each run."""

    #: Distinguishes two setups of one run; a slot is sent a setup when it holds another one.
    id: int
    run_id: str
    pipeline: str
    #: The workspace folder, and what names begin with there that the owner's workers give for a while.
    root: str
    prefix: str
    working_directory: str
    sys_path: tuple[str, ...]
    environment: Mapping[str, str]
    #: File of the running script and the module name it has when imported, or None.
    main: tuple[str, str] | None
    #: The worker's own folder for logs, spool and scratch, where it is not to use the workspace's.
    folder: str | None = None
    #: Name of the worker's files; None is its process id.
    worker: str | None = None
    #: Whether the worker keeps its own environment variables and import path: it may run on another machine.
    is_elsewhere: bool = False


class Stored(NamedTuple):
    """An input that the worker loads: one stored output, and where to look inside it."""

    ref: ArtifactRef
    path: tuple[Any, ...]


class Packed(NamedTuple):
    """A constant input that plain pickle might not bring across, already pickled."""

    pickled: bytes


class Nested(NamedTuple):
    """A list, tuple or dict with `Stored` inputs somewhere inside, pickled."""

    pickled: bytes


class WorkItem(NamedTuple):
    """One step to run."""

    position: int
    name: str
    function: int
    attempt: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[str, ...]
    cpus: int
    #: Whether reads are recorded: only a step that may be reused needs them.
    records_reads: bool
    #: Inputs that are files or folders: opening them is no news, they are in the key.
    input_paths: tuple[str, ...]
    #: For a target that ends steps itself.
    timeout_s: float | None = None

    # Named tuples pickle themselves by a call of their own, and take three times as long.
    def __reduce__(self) -> tuple[Any, ...]:
        return WorkItem, tuple(self)


class Batch(NamedTuple):
    """What one call sends to a worker."""

    setup: RunSetup | None
    functions: tuple[ShippedFunction, ...]
    items: tuple[WorkItem, ...]
    #: Seconds after which the rest of the items is handed back.
    budget_s: float

    def __reduce__(self) -> tuple[Any, ...]:
        return Batch, tuple(self)


class Outcome(NamedTuple):
    """How one step ended in the worker."""

    position: int
    attempt: int
    failure: Failure | None
    #: As the store keeps it: JSON of the output references by name.
    outputs: str
    form: str
    #: (digest, kind, path, size_bytes, mtime_ns, file_digest, type_name) of each output that is a file.
    artifacts: tuple[tuple[Any, ...], ...]
    #: Whether everything it returned was None.
    returned_none: bool
    #: ((path, digest), ...)
    reads: tuple[tuple[str, str], ...]
    #: UTC as ISO text: made by the workers, of which there are several, for the one coordinator.
    started_at: str
    ended_at: str
    duration_s: float
    cpu_s: float
    #: None where it cannot be told from that of other steps.
    peak_memory_bytes: int | None
    #: None where nothing was printed because it did not start.
    log_start: int | None
    log_end: int | None
    #: Bytes of the worker's spool up to the end of this step.
    spool_end: int

    def __reduce__(self) -> tuple[Any, ...]:
        return Outcome, tuple(self)


#: What a target that ends steps itself calls a canceled one: no exception has such a name.
CANCELED = "(canceled)"


def is_canceled(failure: Failure) -> bool:
    return failure.type_name == CANCELED


class StepEnded(BaseException):
    """Raised by a step in a thread that was asked to end, and does: it ends as its run does."""


class Returned(NamedTuple):
    """What one call brings back."""

    outcomes: tuple[Outcome, ...]
    #: None if the worker could not be prepared for the run, or where nothing is captured.
    log_file: str | None
    #: None if the worker could not be prepared for the run.
    spool_file: str | None
    #: Whether the worker is to be replaced: memory ran out in it, or it could not end what a step left behind.
    is_spent: bool = False
    #: Parts of the log file as (offset, bytes) and records of the spool, from a worker with a folder of its own.
    log_parts: tuple[tuple[int, bytes], ...] = ()
    spool_part: bytes = b""
    #: Why nothing came of it: the worker that had it first was lost, or it could not begin.
    loss: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Returned, tuple(self)
