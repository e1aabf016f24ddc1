"""How a step's function reaches a worker: by the name it can be imported under, else by value."""

from __future__ import annotations

import importlib
import importlib.util
import io
import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelite.define import Step
from pipelite.errors import DefinitionError, PipeliteError, SourceChangedError
from pipelite.execute.messages import ShippedFunction
from pipelite.fingerprint import digest_file, main_name, module_name

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


def ship_function(function: Callable[..., Any], sources: Mapping[str, str], step: str) -> ShippedFunction:
    """Describe a function so that any worker on this machine can get hold of it.

    Raises
    ------
    DefinitionError
        If it can neither be imported nor pickled; names what it holds on to.
    """
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if module and qualname and _is_found(function, module, qualname):
        name = module_name(module)
        file = str(Path(sys.modules["__main__"].__file__ or "").resolve()) if module == "__main__" else None
        return ShippedFunction(next(_numbers), name, qualname, file, None, dict(sources))
    return ShippedFunction(
        next(_numbers), None, str(qualname or function), None, _dump_by_value(function, step), dict(sources)
    )


def receive_function(shipped: ShippedFunction) -> Callable[..., Any]:
    """Get hold of a function in a worker, and make sure that its source is the one that the run was planned with."""
    for path, digest in shipped.sources.items():
        if digest_file(Path(path)) != digest:
            raise SourceChangedError(
                f"{path} was edited after the run had started; run the pipeline again to use the new code"
            )
    if shipped.pickled is not None:
        import pickle

        value = pickle.loads(shipped.pickled)
        return value  # type: ignore[no-any-return]
    assert shipped.module is not None
    return find_function(import_module(shipped.module, shipped.file), shipped.qualname)


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
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise DefinitionError(f"{file} cannot be imported by a worker as module {name!r}; rename it to end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _is_importing_script = True
    try:
        spec.loader.exec_module(module)
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
    buffer = io.BytesIO()
    try:
        _make_pickler(buffer).dump(function)
    except Exception as exc:
        raise DefinitionError(
            f"step {step!r} cannot be sent to a worker process: {exc}; define its function at the top level of a "
            "module, and pass what it needs as arguments",
            step=step,
        ) from exc
    return buffer.getvalue()


def _make_pickler(buffer: io.BytesIO) -> Any:
    """A by-value pickler that leaves to imports what the running script defines at its top level.

    Otherwise a class of the script would reach the worker as a copy, and `isinstance` there would fail.
    """
    from joblib.externals import cloudpickle

    class ScriptPickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, Step):
                return _take, (obj.func,)
            if getattr(obj, "__module__", None) == "__main__" and isinstance(obj, type | type(_take)):
                file = getattr(sys.modules["__main__"], "__file__", None)
                if file and _is_found(obj, "__main__", obj.__qualname__):
                    return _import_object, (main_name(), str(Path(file).resolve()), obj.__qualname__)
            return super().reducer_override(obj)

    return ScriptPickler(buffer)


def _take(value: Any) -> Any:
    return value


def _import_object(name: str, file: str, qualname: str) -> Any:
    return find_function(import_module(name, file), qualname)


def describe_import_error(shipped: ShippedFunction, error: BaseException) -> PipeliteError:
    """Say why a worker has no function to run."""
    return DefinitionError(
        f"a worker process could not load the step's function {shipped.module or ''}.{shipped.qualname}: "
        f"{type(error).__name__}: {error}"
    )
