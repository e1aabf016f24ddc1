"""From names to what they stand for, in loaded code and in source that nobody has imported."""

from __future__ import annotations

import builtins
import functools
import importlib.util
import os
import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any

import attrs

from pipelite.errors import SourceChangedError
from pipelite.fingerprint.items import Binary, Folder, Foreign, Live, Static, Target
from pipelite.fingerprint.modules import find_spec, is_own, loaded_module, module_name, module_path
from pipelite.fingerprint.scopes import Imported
from pipelite.fingerprint.sources import load_source
from pipelite.fingerprint.unloaded import OwnModule

_BUILTINS = vars(builtins)
#: Names that every module has, and that say where it is, not what it does.
_MODULE_NAMES = frozenset(
    {"__name__", "__file__", "__doc__", "__package__", "__spec__", "__loader__", "__path__", "__builtins__"}
)


class Resolver:
    """Follows imports and attributes of modules; the same answer whether or not a module is loaded by now."""

    def __init__(self, track: tuple[str, ...]) -> None:
        self.track = track
        self._modules: dict[str, Target] = {}
        #: Imports that are being followed now: they may lead in a circle.
        self._following: set[tuple[str, str]] = set()
        #: Files of the own modules that look-ups went through since whoever asks emptied it.
        self.touched: dict[str, None] = {}

    def is_own(self, module: str | ModuleType) -> bool:
        return is_own(module, self.track)

    def find_module(self, name: str) -> Target | None:
        """A module by its absolute name, own ones read from their source; None if own code has none of that name."""
        found = self._modules.get(name)
        if found is None:
            found = self._find_module(name)
            if found is not None:
                self._modules[name] = found
        return found

    def _find_module(self, name: str) -> Target | None:
        if not self.is_own(name):
            return Foreign(name, name)
        path = module_path(name)
        if path is None:
            loaded = loaded_module(name)
            if loaded is not None and not hasattr(loaded, "__path__"):
                return Live(loaded, name)
            return Folder(name) if loaded is not None or find_spec(name) is not None else None
        if not path.endswith((".py", ".pyw")):
            return Binary(name, path)
        try:
            source = load_source(path)
        except SourceChangedError:
            if loaded_module(name) is not None:
                raise
            # Not Python: whoever imports it gets an error, and another one when its bytes change.
            return Binary(name, path)
        return OwnModule(name, source) if source is not None else None

    def find_import(self, imported: Imported, package: str) -> Target | None:
        name = imported.module
        if imported.level:
            try:
                name = importlib.util.resolve_name("." * imported.level + name, package)
            except ImportError:
                return None
        module = self.find_module(name)
        if imported.attribute is None:
            return module
        if module is None:
            return None
        return self.find_member(module, imported.attribute)

    def find_member(self, target: Target, name: str) -> Target | None:
        match target:
            case Foreign(name=above, module=module):
                full = f"{above}.{name}"
                return Foreign(full, full if self._is_in_namespace(above, module, full) else module)
            case Binary():
                # One file, one piece: nothing in it can be told apart.
                return target
            case Folder(name=above):
                return self.find_module(f"{above}.{name}")
            case OwnModule():
                self.touched[target.source.path] = None
                return self._find_static(target, name)
            case Live(value=ModuleType() as module):
                self._touch(module)
                if name in vars(module):
                    label = f"{module_name(module.__name__)}.{name}"
                    return self.find_object(vars(module)[name], label, vars(module).get("__file__"))
                if self._has_module(module.__name__, name):
                    return self.find_module(f"{module.__name__}.{name}")
                hook = vars(module).get("__getattr__")
                return None if hook is None else Live(hook, f"{module_name(module.__name__)}.__getattr__")
        return None

    def _touch(self, module: ModuleType) -> None:
        path = module_path(module)
        if path is not None:
            self.touched[path] = None

    def touch_origin(self, module: str, name: str) -> None:
        """Remember the file that a value was imported from: its text decided the value."""
        found = self.find_module(module)
        if isinstance(found, OwnModule):
            self.find_member(found, name)

    def find_object(self, value: Any, label: str, home: Any = None) -> Target:
        """The target that a loaded object is; `home` is the file of the module that holds it."""
        if isinstance(value, ModuleType) and not self.is_own(value):
            return Foreign(value.__name__, value.__name__)
        return Live(value, label, os.path.dirname(os.path.abspath(home)) if isinstance(home, str) else "")

    def is_whole(self, target: Target) -> bool:
        return isinstance(target, OwnModule | Folder) or (
            isinstance(target, Live) and isinstance(target.value, ModuleType)
        )

    def is_ignored(self, target: Target) -> bool:
        match target:
            case Foreign(module=module):
                return module.partition(".")[0] == "pipelite"
            case Live(value=value):
                inner = value.func if isinstance(value, functools.partial) else value
                module = getattr(inner, "__module__", None) or type(value).__module__
                return any(
                    isinstance(name, str) and name.partition(".")[0] == "pipelite"
                    for name in (module, type(value).__module__)
                )
        return False

    def _find_static(self, module: OwnModule, name: str) -> Target | None:
        step = (module.name, name)
        # `from . import prices` in a package leads back to the package: then it means the module of that name.
        if name in module.bindings and step not in self._following:
            imported = module.imported(name)
            return Static(module, name) if imported is None else self._follow(step, imported, module.package)
        if self._has_module(module.name, name):
            return self.find_module(f"{module.name}.{name}")
        if step not in self._following:
            for star in module.stars:
                found = self._follow(step, attrs.evolve(star, attribute=name), module.package)
                if found is not None and not isinstance(found, Foreign):
                    return found
        return Static(module, "__getattr__") if "__getattr__" in module.bindings else None

    def _follow(self, step: tuple[str, str], imported: Imported, package: str) -> Target | None:
        self._following.add(step)
        try:
            return self.find_import(imported, package)
        finally:
            self._following.discard(step)

    def find_starred(self, module: OwnModule, name: str) -> Target | None:
        """A name that is only explained by a star import from an installed package."""
        for star in module.stars:
            found = self.find_import(star, module.package)
            if isinstance(found, Foreign):
                return self.find_member(found, name)
        return None

    def _is_in_namespace(self, above: str, module: str, full: str) -> bool:
        """Whether this is a module of a folder that several packages share: only it tells which one it is from."""
        if above != module or above.partition(".")[0] in sys.stdlib_module_names or module_path(above) is not None:
            return False
        return find_spec(full) is not None

    def _has_module(self, package: str, name: str) -> bool:
        full = f"{package}.{name}"
        return loaded_module(full) is not None or find_spec(full) is not None


class _Names:
    def __init__(self, resolver: Resolver, package: str) -> None:
        self._resolver = resolver
        self._package = package
        self.find_member = resolver.find_member
        self.is_whole = resolver.is_whole
        self.is_ignored = resolver.is_ignored

    def find_import(self, imported: Imported) -> Target | None:
        return self._resolver.find_import(imported, self._package)


class LiveNames(_Names):
    """The names that loaded code sees: the cells of its closure, then the globals of its module."""

    def __init__(self, resolver: Resolver, namespace: Mapping[str, Any], cells: Mapping[str, Any], owner: str) -> None:
        name = str(namespace.get("__name__") or "__main__")
        package = namespace.get("__package__")
        super().__init__(resolver, package if isinstance(package, str) else name.rpartition(".")[0])
        self._name = name
        self._module = module_name(name)
        self._namespace = namespace
        self._cells = cells
        self._owner = owner

    def find(self, name: str) -> Target | None:
        if name in self._cells:
            return self._resolver.find_object(
                self._cells[name], f"{self._owner}.{name}", self._namespace.get("__file__")
            )
        return self.find_global(name)

    def find_global(self, name: str) -> Target | None:
        if name not in self._namespace or name in _MODULE_NAMES:
            return None
        value = self._namespace[name]
        if not isinstance(value, FunctionType | ModuleType | type):
            self._resolver.touch_origin(self._name, name)
        return self._resolver.find_object(value, f"{self._module}.{name}", self._namespace.get("__file__"))


class StaticNames(_Names):
    """The names that the source of a module sees."""

    def __init__(self, resolver: Resolver, module: OwnModule) -> None:
        super().__init__(resolver, module.package)
        self._module = module

    def find(self, name: str) -> Target | None:
        return self.find_global(name)

    def find_global(self, name: str) -> Target | None:
        if name in _MODULE_NAMES:
            return None
        if name in self._module.bindings:
            return self._resolver.find_member(self._module, name)
        if name in _BUILTINS and not self._module.stars:
            return None
        found = self._resolver.find_member(self._module, name) if self._module.stars else None
        if found is None and name not in _BUILTINS:
            found = self._resolver.find_starred(self._module, name)
        return found
