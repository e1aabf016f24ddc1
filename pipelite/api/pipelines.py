"""`@pipeline`: a function of steps that can be run, tracked."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

import attrs

from pipelite.api.interrupts import read_grace
from pipelite.api.workspace import open_store
from pipelite.define import Graph, Step, bind_parameters, is_tracing, parameters_of, prefix, trace
from pipelite.errors import DefinitionError, TracingError
from pipelite.execute import Coordinator, end_in_order, preview, stop_if_importing_script
from pipelite.fingerprint import main_name, module_name
from pipelite.records import RESULT

if TYPE_CHECKING:
    from pipelite.api.publishing import PublishedPipeline
    from pipelite.api.runs import Run
    from pipelite.define import ParameterSpec

P = ParamSpec("P")
R = TypeVar("R")


@attrs.frozen(kw_only=True)
class PlannedStep:
    """What a run would do with one step now."""

    name: str
    #: "reuse", "compute", "wait" for another run that is at it, "skip", "fail", or "unknown" where an input is not known
    #: before another step has been computed.
    action: str
    #: Why, where there is more to say than that nothing equal is stored.
    reason: str | None
    #: The step that has to be computed first, for "unknown".
    depends_on: str | None


@attrs.frozen(kw_only=True)
class PipelineOptions:
    """What `@pipeline(...)` and `.with_options(...)` take."""

    name: str
    description: str | None = None
    #: Name that groups runs; the pipeline's name if None.
    experiment: str | None = None
    tags: Mapping[str, str] = attrs.field(factory=dict)
    #: Called with the run in the submitting process after it completed, or failed.
    on_success: Callable[[Run], object] | None = None
    on_failure: Callable[[Run], object] | None = None
    #: Outputs, of the pipeline or as "STEP/OUTPUT", to the names under which they are registered as datasets when a run has
    #: completed.
    register_outputs: Mapping[str, str] = attrs.field(factory=dict)
    #: When a step fails, go on with everything that does not need it.
    keep_going: bool = False
    #: Compute every step, and store the new results.
    regenerate_outputs: bool = False
    #: Where steps run that name no compute target: the name of one, or an executor; None is "local".
    compute: str | Executor | None = None
    #: Show no progress.
    quiet: bool = False


class Pipeline(Generic[P, R]):
    """A function of steps. Called directly it is the function; `run` and `submit` track it."""

    def __init__(self, func: Callable[P, R], options: PipelineOptions) -> None:
        self.func = func
        self.options = options
        #: The parameters, in the order of the signature.
        self.specs: tuple[ParameterSpec, ...] = parameters_of(func, pipeline=options.name)
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(self, name, getattr(func, name, None))
        self.__wrapped__ = func

    @property
    def name(self) -> str:
        return self.options.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function; inside another pipeline's body its steps become part of that one, names prefixed."""
        if is_tracing():
            with prefix(self.name):
                return self.func(*args, **kwargs)
        return self.func(*args, **kwargs)

    def with_options(self, **changes: Any) -> Pipeline[P, R]:
        """A copy with other options: those of `@pipeline`, and regenerate_outputs, quiet."""
        return Pipeline(self.func, _change_options(self.options, changes, f"pipeline {self.name!r}"))

    def run(self, **parameters: Any) -> Run:
        """Run it and wait, showing progress.

        Raises
        ------
        ParameterError
            If a parameter is unknown, missing or of the wrong type.
        TracingError, DefinitionError, FingerprintError
            If the body, a step's code or an argument makes a run impossible; nothing has been started then.
        StepFailed
            If a step failed; its `__cause__` is the step's own exception, where that can be pickled.
        RunCanceled
            If the run was canceled or interrupted, for example by Ctrl-C: once lets running steps finish, twice ends them.
        """
        # A mistake there is told before anything has started.
        read_grace()
        return self._start(parameters, shows_progress=True)._wait_in_foreground()

    def submit(self, **parameters: Any) -> Run:
        """Start it in a background thread of this process, which waits for it at exit."""
        end_in_order()
        return self._start(parameters, shows_progress=False)

    def publish(
        self, name: str | None = None, *, version: str = "1.0", description: str | None = None, default: bool = False
    ) -> PublishedPipeline:
        """Publish it as it is now, as a version that never changes.

        Parameters
        ----------
        name : by default the pipeline's; the first version of a name makes the endpoint of that name
        version : a text such as "1.0"
        description : by default the pipeline's
        default : have the endpoint lead to it from now on

        Raises
        ------
        PublishError
            If no import finds it, if it needs a value that no request can carry, if its source cannot be imported on its
            own, or if the version is there already with other content.
        """
        from pipelite.api.publishing import publish_pipeline

        return publish_pipeline(
            open_store(), self, name=name, version=version, description=description, default=default
        )

    def trace(self, **parameters: Any) -> Graph:
        """The graph of one call, without running anything."""
        if is_tracing():
            raise TracingError(f"pipeline {self.name!r} cannot be traced while another pipeline's body is running")
        values = bind_parameters(self.specs, parameters, pipeline=self.name)
        return trace(self.func, values, name=self.name)

    def plan(self, **parameters: Any) -> list[PlannedStep]:
        """What a run would do now, step by step; nothing is computed."""
        coordinator = self._coordinate(self.trace(**parameters))
        return [
            PlannedStep(
                name=found.state.node.name, action=found.action, reason=found.reason, depends_on=found.depends_on
            )
            for found in preview(coordinator)
        ]

    @property
    def target(self) -> str | None:
        """ "module:qualname" where it can be imported again; None for one of a notebook or inside of a function."""
        module = getattr(self.func, "__module__", None)
        qualname = getattr(self.func, "__qualname__", "<")
        if not module or "<" in qualname or (module == "__main__" and main_name() is None):
            return None
        return f"{module_name(module)}:{qualname}"

    def _coordinate(self, graph: Graph) -> Coordinator:
        return Coordinator(
            graph,
            store=open_store(),
            working_directory=os.getcwd(),
            keep_going=self.options.keep_going,
            regenerate=self.options.regenerate_outputs,
        )

    def _start(self, parameters: Mapping[str, Any], *, shows_progress: bool, rerun_of: str | None = None) -> Run:
        from pipelite.api.starting import start_run

        values, coordinator = self._prepare(parameters)
        return start_run(self, values, coordinator, shows_progress=shows_progress, rerun_of=rerun_of)

    def _prepare(self, parameters: Mapping[str, Any]) -> tuple[Mapping[str, Any], Coordinator]:
        """Everything that can go wrong before there is a run."""
        stop_if_importing_script()
        if is_tracing():
            raise TracingError(
                f"pipeline {self.name!r} is run in the body of another pipeline; call it, {self.name}(...), to make its "
                "steps part of that one"
            )
        values = bind_parameters(self.specs, parameters, pipeline=self.name)
        graph = trace(self.func, values, name=self.name)
        self._check_registered(graph)
        return values, self._coordinate(graph)

    def _check_registered(self, graph: Graph) -> None:
        """Refuse to register an output that there will not be."""
        if not self.options.register_outputs:
            return
        inner = {f"{node.name}/{output}" for node in graph.nodes for output in node.step.outputs or (RESULT,)}
        for name in self.options.register_outputs:
            if name not in graph.outputs and name not in inner:
                raise DefinitionError(
                    f"pipeline {self.name!r} is to register its output {name!r}, but returns "
                    f"{', '.join(graph.outputs) or 'nothing'}; those of its steps are {', '.join(sorted(inner))}"
                )

    def __get__(self, instance: object, owner: type | None = None) -> Pipeline[P, R]:
        if instance is None:
            return self
        raise DefinitionError(
            f"pipeline {self.name!r} is a method; define it as a function at the top level of a module, "
            "and pass it what it needs as parameters"
        )

    def __repr__(self) -> str:
        return f"<pipeline {self.name!r}>"


@overload
def pipeline(func: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline(
    *,
    name: str = ...,
    description: str | None = ...,
    experiment: str | None = ...,
    tags: Mapping[str, str] = ...,
    on_success: Callable[[Run], object] | None = ...,
    on_failure: Callable[[Run], object] | None = ...,
    register_outputs: Mapping[str, str] = ...,
    keep_going: bool = ...,
    compute: str | Executor | None = ...,
) -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...
def pipeline(func: Any = None, /, **options: Any) -> Any:
    """Make a pipeline of a function that calls steps: `@pipeline`, or `@pipeline(name="nightly")`.

    Parameters
    ----------
    name : str
        By default the function's name.
    description : str
        By default the first line of the function's docstring.
    experiment : str
        Groups runs; by default the pipeline's name.
    tags : mapping of str to str
        Given to every run.
    on_success, on_failure : function of the run
        Called in the submitting process when a run has completed, or failed. An exception of theirs is a warning.
    register_outputs : mapping of str to str
        Outputs that become datasets when a run has completed, to the names of these: outputs that the pipeline returns, or
        as "STEP/OUTPUT" those of any step in it ("STEP/result" if its outputs have no names). Each is a DataFrame, an Arrow
        table, or a file or folder that a step wrote.
    keep_going : bool
        When a step fails, go on with everything that does not need it.
    compute : str or Executor
        Where steps run that do not say so themselves: the name of a compute target of the workspace, or any
        `concurrent.futures.Executor`. By default "local".

    Raises
    ------
    DefinitionError
        If an option is unknown or wrong, or the function cannot be a pipeline.
    """
    if func is None:
        return lambda decorated: _make(decorated, options)
    return _make(func, options)


def _make(func: Any, options: Mapping[str, Any]) -> Pipeline[Any, Any]:
    if isinstance(func, Step):
        raise DefinitionError(f"{func.name!r} is a step already; a function is either a step or a pipeline")
    if isinstance(func, Pipeline):
        raise DefinitionError(f"{func.name!r} is a pipeline already")
    if not inspect.isfunction(func):
        raise DefinitionError(f"@pipeline stands above a function, not above {func!r}")
    if inspect.iscoroutinefunction(func) or inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise DefinitionError(f"pipeline {func.__name__!r} is an async or generator function; a plain one is expected")
    doc = (inspect.getdoc(func) or "").partition("\n")[0] or None
    first = PipelineOptions(name=func.__name__, description=doc)
    return Pipeline(func, _change_options(first, options, f"pipeline {func.__name__!r}"))


def _change_options(options: PipelineOptions, changes: Mapping[str, Any], where: str) -> PipelineOptions:
    known = [field.name for field in attrs.fields(PipelineOptions)]
    for name, value in changes.items():
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; the options are: {', '.join(known)}"
            raise DefinitionError(f"{where} has no option {name!r}{hint}")
        expected = _OPTION_CHECKS[name]
        if not expected[1](value):
            raise DefinitionError(f"{where}: {name}={value!r} is wrong; {expected[0]} is expected")
    return attrs.evolve(options, **changes)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_mapping_of_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(part, str) for pair in value.items() for part in pair)


_OPTION_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("a text without /", lambda value: _is_text(value) and "/" not in value),
    "description": ("a text", lambda value: value is None or isinstance(value, str)),
    "experiment": ("a text", lambda value: value is None or _is_text(value)),
    "tags": ("a mapping of text to text", _is_mapping_of_texts),
    "register_outputs": ("a mapping of outputs to names of datasets", _is_mapping_of_texts),
    "on_success": ("a function of the run", lambda value: value is None or callable(value)),
    "on_failure": ("a function of the run", lambda value: value is None or callable(value)),
    "compute": (
        "the name of a compute target, or an executor",
        lambda value: value is None or _is_text(value) or isinstance(value, Executor),
    ),
    "keep_going": ("True or False", lambda value: isinstance(value, bool)),
    "regenerate_outputs": ("True or False", lambda value: isinstance(value, bool)),
    "quiet": ("True or False", lambda value: isinstance(value, bool)),
}
