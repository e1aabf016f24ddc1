"""Where steps run: what the dispatcher asks of a compute target, and how the user's words lead to one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Protocol

from pipelite.define import Expander, Step
from pipelite.errors import ComputeTargetError
from pipelite.execute.ending import WorkerProcess
from pipelite.execute.exchange import Exchange
from pipelite.execute.messages import Batch, RunSetup
from pipelite.records import Failure


class TargetSlot(Protocol):
    """One place where a step can run, and what its worker holds already."""

    #: Its worker's process, where that is a child of this one which the coordinator watches and ends.
    worker: WorkerProcess | None
    #: Number of the run setup that its worker has.
    setup: int | None
    #: Numbers of the functions that its worker has.
    functions: set[int]
    #: Own source files that its worker has loaded, to the digest they had.
    sources: dict[str, str]

    def submit(self, batch: Batch) -> Future[bytes]:
        """Send a batch; the future gives a pickled `Returned`."""

    def files_name(self) -> str | None:
        """Name of its worker's files below the run's spool and log folders; None as long as there are none to see."""

    def cancel(self, *, now: bool) -> None:
        """Ask for the end of what was sent: also of what has started if `now`; it comes back as an outcome."""

    def replace(self) -> None:
        """Forget the worker: it holds old code."""


class Target(Protocol):
    """A number of slots."""

    #: What messages call it.
    name: str
    #: How many slots there are, as far as known now.
    size: int
    #: Whether a running step can be ended.
    can_end_steps: bool
    #: Whether a slot may be sent a batch while it works on one; they come back in order.
    takes_ahead: bool
    #: Whether steps run in the coordinator's process.
    is_in_process: bool
    #: Whether that is the coordinator's own thread.
    is_inline: bool
    #: Whether its slots are those of the machine, which all runs of the workspace have in common.
    shares_slots: bool
    #: Brings stored values to workers that do not see the workspace, and back.
    exchange: Exchange | None

    def acquire(self, count: int) -> list[Any] | None:
        """Take `count` slots, or none at all: None if fewer are free."""

    def release(self, slots: list[Any]) -> None:
        """Give slots back."""

    def call_when_free(self, wake: Callable[[], None]) -> int:
        """Have `wake` called, from any thread, whenever slots come free; gives a ticket to end it with."""

    def forget(self, ticket: int) -> None: ...

    def explain_loss(self, future: Future[bytes]) -> Failure | None:
        """Why a batch did not come back, of a worker that is no child of this process; None if no step is to blame."""

    def adapt(self, setup: RunSetup) -> RunSetup:
        """What its workers are told of a run that begins."""

    def finish_run(self) -> None:
        """The run is over."""


#: What a setting of each kind may say besides its kind, and what is expected of it.
KINDS: Mapping[str, Mapping[str, tuple[type, str]]] = {
    "local": {},
    "threads": {"size": (int, "a whole number from 1, of steps that run at once")},
    "inline": {},
    "dask": {
        "address": (str, 'the address of a scheduler, such as "tcp://127.0.0.1:8786"'),
        "shared": (str, "a folder that this machine and the workers see under the same path"),
        "timeout": (float, "seconds to wait for a scheduler that does not answer"),
    },
}
#: Names that every workspace knows.
BUILT_IN = ("local", "threads", "inline")


def check_setting(name: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    """A setting as it is stored.

    Raises
    ------
    ComputeTargetError
        Naming what is wrong with it and what is expected.
    """
    kind = setting.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ComputeTargetError(
            f"compute target {name!r}: kind is {kind!r}; one of {', '.join(map(repr, KINDS))} is expected"
        )
    fields = KINDS[kind]
    checked: dict[str, Any] = {"kind": kind}
    for field, given in setting.items():
        if field == "kind":
            continue
        if field not in fields:
            takes = f"it takes {', '.join(fields)}" if fields else "it takes nothing else"
            raise ComputeTargetError(f"compute target {name!r}: kind {kind!r} has no setting {field!r}; {takes}")
        expected, words = fields[field]
        value = float(given) if expected is float and type(given) is int else given
        if type(value) is not expected or not value or (isinstance(value, int | float) and value < 0):
            raise ComputeTargetError(f"compute target {name!r}: {field} is {value!r}; {words} is expected")
        checked[field] = value
    if kind == "dask" and "address" not in checked:
        raise ComputeTargetError(f"compute target {name!r}: address is missing; {fields['address'][1]} is expected")
    return checked


class Targets:
    """The targets of one run, by the name that its steps use.

    Parameters
    ----------
    default : where steps run that name no target: its name, or an executor; None is "local"
    known : settings and executors by name, the built-in ones included
    """

    def __init__(
        self,
        default: str | Executor | None = None,
        known: Mapping[str, Mapping[str, Any] | Executor] | None = None,
    ) -> None:
        self._default = "local" if default is None else default
        self._known = {name: {"kind": name} for name in BUILT_IN} if known is None else known
        self._found: dict[str | None, Target] = {}

    def check(self, steps: Iterable[Step[..., Any]]) -> None:
        """Make sure that all steps can run where they are to run.

        Raises
        ------
        ComputeTargetError
            If a name is not known, a target cannot be reached, or a step asks for what its target cannot do.
        """
        for step in {id(step): step for step in steps}.values():
            if isinstance(step, Expander):
                # It runs in the coordinator; what it is known to make is checked now, the rest when it is there.
                self.check(step.steps)
                continue
            target = self._found.get(step.options.compute) or self._find(step.options.compute, step.name)
            if step.options.timeout_s is not None and not target.can_end_steps:
                raise ComputeTargetError(
                    f"step {step.name!r} has a timeout of {step.options.timeout_s:g} s, but on compute target "
                    f"{target.name!r} it runs in a thread of this process, which nothing can end; leave the timeout "
                    'out, or give the step compute="local"',
                    step=step.name,
                )
            self._check_environment(step, target)

    def _check_environment(self, step: Step[..., Any], target: Target) -> None:
        if step.options.environment is not None and target.is_in_process and not step.starts_process:
            raise ComputeTargetError(
                f"step {step.name!r} has an environment, but on compute target {target.name!r} it runs in this process; "
                'leave the environment out, or give the step compute="local"',
                step=step.name,
            )

    def are_here(self, step: Step[..., Any]) -> bool:
        """Whether a step, which is checked once more, runs in this process."""
        self.check([step])
        return self.find(step.options.compute).is_in_process

    def find(self, name: str | None) -> Target:
        """The target of a name; None is the run's own."""
        return self._found.get(name) or self._find(name, None)

    def all(self) -> list[Target]:
        """Those found so far, each once."""
        return list({id(target): target for target in self._found.values()}.values())

    def _find(self, name: str | None, step: str | None) -> Target:
        wanted = self._default if name is None else name
        if isinstance(wanted, Executor):
            target = _of_executor(wanted, type(wanted).__qualname__)
        else:
            same = self._found.get(None if wanted == self._default else wanted)
            target = same or _of_name(wanted, "the run" if step is None else f"step {step!r}", self._known)
        self._found[name] = target
        return target


def _of_name(name: str, who: str, known: Mapping[str, Mapping[str, Any] | Executor]) -> Target:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ComputeTargetError(
            f"{who} is to run on compute target {name!r}, which this workspace does not know{hint}; it knows "
            f"{', '.join(map(repr, sorted(known)))}, and Workspace().compute[{name!r}] = ... adds one"
        )
    found = known[name]
    return _of_executor(found, name) if isinstance(found, Executor) else _of_setting(name, found)


def _of_setting(name: str, setting: Mapping[str, Any]) -> Target:
    kind = setting["kind"]
    if kind == "threads":
        from pipelite.execute.in_process import threads_target

        return threads_target(name, setting.get("size"))
    if kind == "inline":
        from pipelite.execute.in_process import InlineTarget

        return InlineTarget(name)
    if kind == "dask":
        from pipelite.execute.dask_cluster import connect

        return connect(name, setting)
    from pipelite.execute.slots import local_target

    return local_target()


def _of_executor(executor: Executor, name: str) -> Target:
    if isinstance(executor, ThreadPoolExecutor):
        from pipelite.execute.in_process import ThreadPoolTarget

        return ThreadPoolTarget(name, executor)
    if type(executor).__module__.startswith("distributed."):
        from pipelite.execute.dask_cluster import DaskTarget

        return DaskTarget(name, executor)
    from pipelite.execute.executors import ExecutorTarget

    return ExecutorTarget(name, executor)
