"""Descriptions of loaded objects: functions, classes, what wraps them, and values."""

from __future__ import annotations

import functools
import inspect
import os
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import attrs

from pipelite.errors import UnhashableError
from pipelite.fingerprint.bytecode import code_digest, global_names
from pipelite.fingerprint.classes import describe_class
from pipelite.fingerprint.describe import (
    describe_binary,
    describe_foreign,
    describe_module,
    load_sources,
    make_item,
)
from pipelite.fingerprint.digests import identify
from pipelite.fingerprint.files import FileCache
from pipelite.fingerprint.insides import SCALARS, function_name, get_attributes, get_cells, get_plain
from pipelite.fingerprint.items import Binary, Foreign, Item, Live, Target
from pipelite.fingerprint.modules import find_spec, is_own_path, loaded_module, module_name, module_path, qualified_name
from pipelite.fingerprint.names import LiveNames, Resolver
from pipelite.fingerprint.rules import Walk as ValueWalk
from pipelite.fingerprint.rules import rule_for, type_name
from pipelite.fingerprint.sources import find_function, load_source
from pipelite.fingerprint.syntax import Walk
from pipelite.fingerprint.unloaded import OwnModule
from pipelite.fingerprint.values import identify_value

#: Types that programs hold for what they do, not for what is in them: nothing of theirs needs to be mentioned.
_BY_TYPE = frozenset(
    {
        "logging.Logger",
        "logging.LoggerAdapter",
        "_thread.lock",
        "_thread.RLock",
        "_thread._local",
        "threading.Condition",
        "threading.Event",
        "threading.Semaphore",
        "threading.Barrier",
        "_contextvars.ContextVar",
        "_io.TextIOWrapper",
        "os._Environ",
    }
)


class LiveObjects:
    """Describes objects of this process, each by itself."""

    def __init__(self, resolver: Resolver, files: FileCache | None) -> None:
        self._resolver = resolver
        self._files = files

    def describe(self, target: Live) -> Item:
        """One item for one object; what it refers to is left as targets."""
        value, label = target.value, target.label
        if isinstance(value, FunctionType):
            return self._function(value, label)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, ModuleType | type | None):
            return self._builtin(value)
        if (module := self._module_of_method(value)) is not None:
            return describe_foreign(Foreign(f"{module}.{value.__name__}", module))
        wrapped = self._wrapped(value, label)
        if wrapped is not None:
            return self._compound(value, label, wrapped)
        return self._value(target)

    # Code

    def is_own_function(self, func: FunctionType) -> bool:
        """By where its code is from: a wrapper made by `functools.wraps` bears the name of another module."""
        module = str(func.__globals__.get("__name__") or "")
        if module.partition(".")[0] == "pipelite":
            return self._resolver.is_own(module)
        if self._resolver.track and self._resolver.is_own(module):
            return True
        path = func.__code__.co_filename
        if not path.startswith("<"):
            return is_own_path(path)
        # Without a module of its own it came out of `exec`, and Python's own code does not.
        return not module or self._resolver.is_own(module)

    def is_own_class(self, cls: type) -> bool:
        module: Any = cls.__module__
        if not isinstance(module, str):
            # A class may have a property of that name.
            return False
        return self._resolver.is_own(module) or (loaded_module(module) is None and find_spec(module) is None)

    def _function(self, func: FunctionType, label: str) -> Item:
        if not self.is_own_function(func):
            return self._installed_function(func, label)
        name = function_name(func)
        cells = get_cells(func)
        self._resolver.touched = {}
        names = LiveNames(self._resolver, func.__globals__, cells, name)
        walk = Walk(names)
        found = find_function(func)
        notes: tuple[str, ...] = ()
        if found is not None:
            walk.function(found[0], with_defaults=False)
        else:
            self._bytecode(func, names, cells, walk)
            notes = (f"function {name}: it has no source, so its bytecode counts, for this minor version of Python",)
        self._defaults(func, name, walk)
        source = (found[1],) if found is not None and found[1].on_disk else ()
        return make_item(f"function {name}", walk.text(), *source, *load_sources(self._resolver.touched), notes=notes)

    def _bytecode(self, func: FunctionType, names: LiveNames, cells: dict[str, Any], walk: Walk) -> None:
        walk.add(f"bytecode {code_digest(func.__code__)}")
        for name in (*cells, *global_names(func.__code__)):
            target = names.find(name)
            if target is not None:
                walk.refer(target, name)

    def _defaults(self, func: FunctionType, name: str, walk: Walk) -> None:
        code = func.__code__
        defaults = func.__defaults__ or ()
        parameters = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        given = [*zip(parameters, defaults, strict=True), *sorted((func.__kwdefaults__ or {}).items())]
        for parameter, default in given:
            self._part(walk, f"default {parameter}", default, f"{name}.{parameter}")
        for attribute, value in sorted(vars(func).items()):
            if not attribute.startswith("__") and not self._is_of_pipelite(value):
                self._part(walk, f"attribute {attribute}", value, f"{name}.{attribute}")
        if "__wrapped__" in vars(func):
            walk.refer(Live(vars(func)["__wrapped__"], name), "__wrapped__")

    def _is_of_pipelite(self, value: Any) -> bool:
        return type(value).__module__.partition(".")[0] == "pipelite"

    def _part(self, walk: Walk, what: str, value: Any, label: str, home: str = "") -> None:
        if type(value) in SCALARS:
            walk.add(f"{what} {identify_value(value, own_class=qualified_name)}")
        else:
            walk.add(what)
            found = self._resolver.find_object(value, label)
            walk.refer(attrs.evolve(found, home=home) if isinstance(found, Live) else found, what)

    def _installed_function(self, func: FunctionType, label: str) -> Item:
        """A function of a package, often a wrapper: the user's code that it holds counts in full."""
        walk = Walk(LiveNames(self._resolver, func.__globals__, {}, label))
        for name, value in get_cells(func).items():
            if self._holds_code(value):
                walk.refer(Live(value, f"{label}.{name}"), name)
        if "__wrapped__" in vars(func):
            walk.refer(Live(vars(func)["__wrapped__"], label), "__wrapped__")
        module = str(func.__globals__.get("__name__") or func.__module__)
        foreign = Foreign(f"{module}.{func.__code__.co_qualname}", module)
        if not walk.text().references:
            return describe_foreign(foreign)
        walk.refer(foreign, foreign.name)
        return _unnamed(walk)

    def _holds_code(self, value: Any, depth: int = 3) -> bool:
        """Whether own code is in a value that an installed function keeps."""
        if isinstance(value, FunctionType):
            return self.is_own_function(value) or "__wrapped__" in vars(value) or value.__closure__ is not None
        if isinstance(value, type):
            return self.is_own_class(value)
        if isinstance(value, functools.partial | MethodType):
            return True
        if depth and isinstance(value, list | tuple | set | frozenset):
            return any(self._holds_code(part, depth - 1) for part in value)
        if depth and isinstance(value, dict):
            return any(self._holds_code(part, depth - 1) for part in value.values())
        return self.is_own_class(type(value))

    def _class(self, cls: type) -> Item:
        if self.is_own_class(cls):
            return describe_class(cls, self._resolver, self._part)
        return describe_foreign(Foreign(f"{cls.__module__}.{cls.__qualname__}", cls.__module__))

    def _module(self, module: ModuleType) -> Item:
        path = module_path(module)
        if path is not None and not path.endswith((".py", ".pyw")):
            return describe_binary(Binary(module.__name__, path), self._files)
        source = load_source(path) if path is not None else None
        if source is not None:
            return describe_module(OwnModule(module.__name__, source), self._resolver)
        name = module_name(module.__name__)
        note = f"module {name}: it has no file, so what is looked up in it does not count"
        return Item(label=None, identity="", shape=f"module {name}", notes=(note,), is_value=True)

    def _builtin(self, func: Any) -> Item:
        owner = func.__self__
        module = func.__module__ or (owner.__module__ if isinstance(owner, type) else "builtins")
        path = module_path(module) if module not in ("builtins", None) else None
        if path is not None and self._resolver.is_own(module):
            return describe_binary(Binary(module, path), self._files)
        return describe_foreign(Foreign(f"{module}.{func.__qualname__}", module))

    # What wraps code

    def _wrapped(self, value: Any, label: str) -> list[tuple[str, Any]] | None:
        """Parts of an object that stands for the function inside it, each with a name; None for other objects."""
        if isinstance(value, functools.partial):
            named = [(name, value.keywords[name]) for name in value.keywords]
            return [("func", value.func), *((f"[{i}]", part) for i, part in enumerate(value.args)), *named]
        if isinstance(value, MethodType):
            name = getattr(value.__func__, "__name__", "")
            if inspect.getattr_static(type(value.__self__), name, None) is value.__func__:
                return [(f"method {name} of", value.__self__)]
            return [("func", value.__func__), ("self", value.__self__)]
        if isinstance(value, property):
            return [("get", value.fget), ("set", value.fset), ("delete", value.fdel)]
        if isinstance(value, staticmethod | classmethod):
            return [("func", value.__func__)]
        if isinstance(value, functools.cached_property | functools.partialmethod):
            return [("func", value.func)]
        cls = type(value)
        if cls.__module__.partition(".")[0] == "pipelite" and callable(getattr(value, "func", None)):
            options = getattr(value, "options", None)
            depends_on = tuple(getattr(options, "depends_on", ()))
            return [("func", value.func), ("version", getattr(options, "version", None)), ("depends_on", depends_on)]
        if not self.is_own_class(cls) and callable(wrapped := get_plain(value, "__wrapped__")):
            return [("func", wrapped)]
        return None

    def _compound(self, value: Any, label: str, parts: list[tuple[str, Any]]) -> Item:
        walk = Walk(LiveNames(self._resolver, {}, {}, label))
        cls = type(value)
        walk.add(f"{cls.__module__}.{cls.__qualname__}")
        if cls.__module__ not in ("builtins", "functools") and not self._is_of_pipelite(value):
            walk.refer(Live(cls, label), "type")
        for name, part in parts:
            self._part(walk, name, part, label if name == "func" else f"{label}.{name}")
        return _unnamed(walk, None if len(parts) == 1 else f"{cls.__name__} {label}")

    # Values

    def _module_of_method(self, value: Any) -> str | None:
        """The module that offers a method of a hidden instance of its own as a function, as `random.random` is."""
        owner = getattr(value, "__self__", None) if isinstance(value, MethodType | BuiltinFunctionType) else None
        module = loaded_module(str(type(owner).__module__))
        if owner is None or module is None or self.is_own_class(type(owner)):
            return None
        return module.__name__ if vars(module).get(value.__name__) == value else None

    def _value(self, target: Live) -> Item:
        value, label = target.value, target.label
        if self._is_of_pipelite(value) or not _BY_TYPE.isdisjoint(map(type_name, type(value).__mro__)):
            return self._by_type(value, label, ())
        if isinstance(value, PurePath):
            return _path(value, target)
        if self._holds_path(value):
            return self._by_attributes(target)
        try:
            identity, references = self._identify(value)
        except UnhashableError:
            return self._by_attributes(target)
        return Item(
            label=f"constant {label}",
            identity=identity,
            shape=identify("value", identity),
            references=references,
            is_value=not references,
        )

    def _identify(self, value: Any) -> tuple[str, tuple[Target, ...]]:
        """Identity of a value with places for the code in it, and that code.

        The places are numbered by name, for the members of a set come in another order in every process.
        """
        if type(value) in SCALARS:
            return identify_value(value, own_class=qualified_name), ()
        found: dict[int, Any] = {}

        def meet(code: Any) -> str:
            found[id(code)] = code
            return ""

        identity = identify_value(value, own_class=meet, own_function=meet, files=self._files)
        if not found:
            return identity, ()
        ordered = sorted(found.values(), key=_order)
        places = {id(code): f"{code.__qualname__}@{place}" for place, code in enumerate(ordered)}

        def place(code: Any) -> str:
            return places[id(code)]

        identity = identify_value(value, own_class=place, own_function=place, files=self._files)
        return identity, tuple(Live(code, qualified_name(code)) for code in ordered)

    def _holds_path(self, value: Any, depth: int = 3) -> bool:
        """Whether a path is among the settings that a global keeps together."""
        if isinstance(value, PurePath):
            return True
        if not depth or type(value) in SCALARS:
            return False
        if type(value) in (list, tuple):
            return any(self._holds_path(part, depth - 1) for part in value)
        if type(value) is dict or self.is_own_class(type(value)):
            parts = value if type(value) is dict else get_attributes(value)
            return any(self._holds_path(part, depth - 1) for part in parts.values())
        return False

    def _by_attributes(self, target: Live) -> Item:
        """Part by part: a container, and what has no stable hash but is of an own class, or holds own code."""
        value, label = target.value, target.label
        attributes = get_attributes(value)
        is_known = isinstance(value, list | tuple | dict) or self.is_own_class(type(value))
        if not (is_known or any(map(self._holds_code, attributes.values()))):
            name = f"{type(value).__module__}.{type(value).__qualname__}"
            return self._by_type(value, label, (f"global {label!r} (type {name}): only its type counts",))
        walk = Walk(LiveNames(self._resolver, {}, {}, label))
        walk.refer(Live(type(value), label), "type")
        for name, part in sorted(attributes.items()):
            self._part(walk, name, part, f"{label}.{name}", target.home)
        return _unnamed(walk, f"constant {label}")

    def _by_type(self, value: Any, label: str, notes: tuple[str, ...]) -> Item:
        cls = type(value)
        shape = f"{cls.__module__}.{cls.__qualname__}"
        return Item(
            label=f"constant {label}",
            identity=identify("type", shape),
            shape=identify("type", "" if self.is_own_class(cls) else shape),
            references=(Live(cls, shape),),
            notes=notes,
        )


def _path(value: PurePath, target: Live) -> Item:
    """A path in a global counts as it is written: what a step reads from it is recorded when it reads.

    One that was made from `__file__` counts from the folder of its module, so that a program may be moved.
    """
    text = value.as_posix()
    project = os.path.dirname(os.path.dirname(target.home))
    if value.is_absolute() and target.home and os.path.commonpath([project, value]) == project:
        text = PurePath(os.path.relpath(value, target.home)).as_posix()
    identity = identify("path", text)
    return Item(label=f"constant {target.label}", identity=identity, shape=identity, is_value=True)


def _order(code: Any) -> tuple[str, str, int]:
    line = code.__code__.co_firstlineno if isinstance(code, FunctionType) else 0
    return code.__qualname__, qualified_name(code), line


def _unnamed(walk: Walk, label: str | None = None) -> Item:
    text = walk.text()
    return Item(label=label, identity=text.named, shape=text.shape, references=text.references)


@rule_for("functools._lru_cache_wrapper", "pipelite.define.step.Step")
def _identify_wrapper(value: Any, walk: ValueWalk) -> str:
    """What stands for a function inside a container counts as the function; pickle would store only its name."""
    return walk(value.__wrapped__)
