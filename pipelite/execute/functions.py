"""How a step's function reaches a worker: by the name it can be imported under, else by value."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import sys
import sysconfig
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from pipelite.define import Step
from pipelite.errors import DefinitionError, FingerprintError, PipeliteError, SourceChangedError
from pipelite.execute.messages import ShippedFunction
from pipelite.fingerprint import Fingerprinter, digest_file, is_own_path, main_name, module_name
from pipelite.records import CodeFingerprint
from pipelite.store import dumps_value, loads_value

_numbers = itertools.count(1)


class ImportingScript(BaseException):
    """Ends the import of a script in a worker at the point where the script would start a run.

    A script without an `if __name__ == "__main__"` guard would run its pipeline again in every worker. All that its
    steps need stands above that line. Not an `Exception`, so that the script does not catch it by chance.
    """


#: True while a worker imports the running script.
_is_importing_script = False


def stop_if_importing_script() -> None:
    """To be called before a run starts."""
    if _is_importing_script:
        raise ImportingScript


class StaleWorkerError(PipeliteError):
    """A worker that has been running for a while holds an older version of the code."""


#: What was shipped before, by function: a worker that has it need not be sent it again by the next run.
_shipped: WeakKeyDictionary[Callable[..., Any], ShippedFunction] = WeakKeyDictionary()


def ship_function(step: Step[..., Any], code: CodeFingerprint, environments: str) -> ShippedFunction:
    """Describe a step's function so that any worker on this machine can get hold of it.

    The same function with the same code, for another run, is described by the same object. `environments` is the
    workspace's setting of that name.

    Raises
    ------
    DefinitionError
        If it can neither be imported nor pickled; names what it holds on to.
    """
    tracking = {name: getattr(step.options, name) for name in ("version", "depends_on", "track")}
    environment = step.options.environment
    if environment is not None:
        described = _describe(step, code, tracking)
        if described.pickled is not None and not (step.starts_process or environment.takes_by_value(environments)):
            raise DefinitionError(
                f"step {step.name!r} is to run in another Python, which has to import its function by name; define it at the "
                "top level of a module: a lambda, a function inside a function or one of a notebook cannot be imported",
                step=step.name,
            )
        return attrs.evolve(
            described,
            environment=environment,
            environments=environments,
            starts_process=step.starts_process,
        )
    try:
        known = _shipped.get(step.func)
    except TypeError:  # neither hashed nor referred to weakly
        return _describe(step, code, tracking)
    if known is None or known.code.digest != code.digest or known.tracking != tracking:
        known = _describe(step, code, tracking)
        with contextlib.suppress(TypeError):
            _shipped[step.func] = known
    return known


def _describe(step: Step[..., Any], code: CodeFingerprint, tracking: dict[str, Any]) -> ShippedFunction:
    function = step.func
    module = getattr(function, "__module__", None)
    qualname = str(getattr(function, "__qualname__", function))
    file, pickled = None, None
    if module and _is_found(function, module, qualname):
        file = script_file() if module == "__main__" else None
        module = module_name(module)
    else:
        module, pickled = None, _dump_by_value(function, step.name)
    return ShippedFunction(next(_numbers), module, qualname, file, pickled, code, tracking)


def hold_function(step: Step[..., Any], code: CodeFingerprint, environments: str) -> ShippedFunction:
    """Describe a step's function for a target in this process, which calls it as it is."""
    function = step.func
    qualname = str(getattr(function, "__qualname__", function))
    return ShippedFunction(
        next(_numbers),
        None,
        qualname,
        None,
        None,
        code,
        {},
        function,
        environment=step.options.environment,
        environments=environments,
        starts_process=step.starts_process,
    )


def receive_function(shipped: ShippedFunction, *, is_fresh: bool) -> Callable[..., Any]:
    """Get hold of a function in a worker, and make sure that it is the code that the run was planned with.

    Parameters
    ----------
    is_fresh : whether this worker has imported nothing of the user's before

    Raises
    ------
    StaleWorkerError
        If it is not, and a new worker may hold the right one.
    FingerprintError
        If it is not, and a new worker would not either; names what differs.
    """
    if shipped.pickled is not None:
        _check_sources(shipped.code)
        return loads_value(shipped.pickled)  # type: ignore[no-any-return]
    assert shipped.module is not None
    try:
        function = find_function(import_module(shipped.module, shipped.file), shipped.qualname)
    except Exception as exc:
        if is_fresh:
            raise
        # An earlier run's module of that name, from another folder or before an edit, may be in its place.
        raise StaleWorkerError(f"{shipped.qualname} is not in {shipped.module} as this worker knows it") from exc
    try:
        here = Fingerprinter().code(function, **shipped.tracking)
    except SourceChangedError as exc:
        if is_fresh:
            raise
        raise StaleWorkerError(str(exc)) from exc
    if here.digest != shipped.code.digest:
        _check_sources(shipped.code)
        if not is_fresh:
            raise StaleWorkerError(f"{shipped.qualname} is another version")
        raise FingerprintError(_describe_difference(shipped, here))
    return function


def import_unchecked(shipped: ShippedFunction) -> Callable[..., Any]:
    """Get hold of a function in an environment of its own, where other packages are installed.

    What these are counts in the step's key by its environment; the user's own files must be those of the run.
    """
    assert shipped.module is not None
    _check_sources(shipped.code)
    return find_function(import_module(shipped.module, shipped.file), shipped.qualname)


def _check_sources(code: CodeFingerprint) -> None:
    for path, digest in code.sources.items():
        if digest_file(Path(path)) != digest:
            raise SourceChangedError(
                f"{path} was edited after the run had started; run the pipeline again to use the new code"
            )


def _describe_difference(shipped: ShippedFunction, here: CodeFingerprint) -> str:
    there = shipped.code.parts
    names = sorted(name for name in {*there, *here.parts} if there.get(name) != here.parts.get(name))
    shown = [
        f"{name} is {there.get(name, 'not there')} in the process that started the run, and "
        f"{here.parts.get(name, 'not there')} after a fresh import"
        for name in names[:5]
    ]
    return (
        f"{shipped.module}.{shipped.qualname} is not the same in a worker process, which imports its module anew: "
        f"{'; '.join(shown) or 'the order of its parts differs'}. "
        "What a step uses and the program changes while it runs has to be passed to the step as an argument"
    )


def import_module(name: str, file: str | None) -> Any:
    """Import a module; the running script from its file, under the name it has when imported."""
    if file is None:
        return importlib.import_module(name)
    loaded = sys.modules.get(name)
    if loaded is not None and _is_same_file(getattr(loaded, "__file__", None), file):
        return loaded
    return _import_script(name, file)


def find_function(module: Any, qualname: str) -> Callable[..., Any]:
    """The plain function under a qualified name, where the name may stand for the step made of it."""
    found: Any = module
    for part in qualname.split("."):
        found = vars(found)[part] if isinstance(found, type) else getattr(found, part)
    while isinstance(found, Step | staticmethod | classmethod):
        found = found.func if isinstance(found, Step) else found.__func__
    return found  # type: ignore[no-any-return]


def script_file() -> str | None:
    """File of the user's running script; None for a notebook, a prompt, or an installed command such as `pipelite`."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    name = main_name()
    if name is None or not isinstance(file, str) or name.partition(".")[0] == "pipelite":
        return None
    path = Path(file).resolve()
    if path.parent == Path(sysconfig.get_path("scripts")).resolve() or not is_own_path(str(path)):
        return None
    return str(path)


def _is_found(function: Callable[..., Any], module: str, qualname: str) -> bool:
    """Whether an import of that name would give this function."""
    if module == "__main__" and main_name() is None:
        return False
    if "<" in qualname:
        return False
    try:
        return find_function(sys.modules[module], qualname) is function
    except (KeyError, AttributeError):
        return False


def _import_script(name: str, file: str) -> Any:
    global _is_importing_script
    package, _, _ = name.rpartition(".")
    if package:
        importlib.import_module(package)
    loader = SourceFileLoader(name, file)
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _is_importing_script = True
    try:
        # Compiled from the source, as Python does with a script: a cached form may be of another version that was
        # written within the same second.
        exec(loader.source_to_code(loader.get_data(file), file), vars(module))  # noqa: S102 - what an import does
    except ImportingScript:
        pass
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        _is_importing_script = False
    return module


def _is_same_file(one: str | None, other: str) -> bool:
    return one is not None and Path(one).resolve() == Path(other)


def _dump_by_value(function: Callable[..., Any], step: str) -> bytes:
    """Pickle a function that no import finds: a lambda, a closure, a partial, a bound method, a notebook's."""
    try:
        return dumps_value(function)
    except Exception as exc:
        raise DefinitionError(
            f"step {step!r} cannot be sent to a worker process: {exc}; define its function at the top level of a "
            "module, and pass what it needs as arguments",
            step=step,
        ) from exc


def describe_import_error(shipped: ShippedFunction, error: BaseException) -> PipeliteError:
    """Say why a worker has no function to run."""
    return DefinitionError(
        f"a worker process could not load the step's function {shipped.module or ''}.{shipped.qualname}: "
        f"{type(error).__name__}: {error}"
    )
