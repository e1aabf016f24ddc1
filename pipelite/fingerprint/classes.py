"""Description of a class of the user's own: its statement, its bases, and what was set on it since."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from pipelite.fingerprint.describe import load_sources, make_item
from pipelite.fingerprint.insides import SCALARS
from pipelite.fingerprint.items import Item, Live
from pipelite.fingerprint.modules import is_own_path, loaded_module, module_name, qualified_name
from pipelite.fingerprint.names import LiveNames, Resolver
from pipelite.fingerprint.scopes import scope_of_body
from pipelite.fingerprint.sources import find_class, load_source
from pipelite.fingerprint.syntax import Walk

#: Adds one value to a walk: what it is, the value, its label.
AddPart = Callable[[Walk, str, Any, str], None]


def describe_class(cls: type, resolver: Resolver, add_part: AddPart) -> Item:
    """The statement counts as it is written, so that decorators that make methods need not be seen through."""
    name = qualified_name(cls)
    resolver.touched = {}
    functions = [value for value in vars(cls).values() if isinstance(value, FunctionType)]
    walk = Walk(LiveNames(resolver, _namespace(cls, functions), _cells(functions), name))
    found = find_class(cls)
    if found is not None:
        walk.class_body(found[0])
        written = scope_of_body("class", found[0].body).bound
    else:
        written = set()
        _made_by_call(cls, walk, add_part)
    for base in cls.__bases__:
        if base is not object:
            walk.refer(Live(base, qualified_name(base)), "base")
    if type(cls) is not type:
        walk.refer(Live(type(cls), qualified_name(type(cls))), "metaclass")
    _values(cls, name, written, walk, add_part)
    _set_from_outside(cls, written, walk)
    source = (found[1],) if found is not None and found[1].on_disk else ()
    return make_item(f"class {name}", walk.text(), *source, *load_sources(resolver.touched))


def _namespace(cls: type, functions: list[FunctionType]) -> dict[str, Any]:
    module = loaded_module(cls.__module__)
    if module is not None:
        return vars(module)
    name = {"__name__": module_name(cls.__module__)}
    return next((func.__globals__ for func in functions if func.__module__ == cls.__module__), name)


def _cells(functions: list[FunctionType]) -> dict[str, Any]:
    """What methods close over is what the body of a class inside a function sees."""
    cells: dict[str, Any] = {}
    for func in functions:
        for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
            try:
                cells[name] = cell.cell_contents
            except ValueError:
                continue
    cells.pop("__class__", None)
    return cells


def _values(cls: type, name: str, written: set[str], walk: Walk, add_part: AddPart) -> None:
    """Plain values of the class as they are now: programs set them from outside."""
    if issubclass(cls, enum.Enum):
        return
    for attribute, value in sorted(vars(cls).items()):
        # Private names that nobody wrote are the notes of whatever made the class.
        if (attribute in written or not attribute.startswith("_")) and _is_plain(value):
            add_part(walk, f"value {attribute}", value, f"{name}.{attribute}")


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple, set, frozenset):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(_is_plain(key) and _is_plain(part) for key, part in value.items())
    return type(value) in SCALARS


def _set_from_outside(cls: type, written: set[str], walk: Walk) -> None:
    """Functions that are not from the body of the class: `Cleaner.clean = other`."""
    for attribute, value in sorted(vars(cls).items()):
        func = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if not isinstance(func, FunctionType) or func.__code__.co_qualname.startswith(f"{cls.__qualname__}."):
            continue
        # A decorated method is followed by its decorator; what has no source was made by one, from the fields.
        if attribute in written or not is_own_path(func.__code__.co_filename):
            continue
        if load_source(func.__code__.co_filename) is None or func.__code__.co_filename.startswith("<attrs "):
            continue
        walk.add(f"set {attribute}")
        walk.refer(Live(func, qualified_name(func)), attribute)


def _made_by_call(cls: type, walk: Walk, add_part: AddPart) -> None:
    """A class without statement, as `namedtuple("Point", "x y")` makes it: by what such calls take."""
    name = qualified_name(cls)
    if issubclass(cls, enum.Enum):
        for member, entry in cls.__members__.items():
            add_part(walk, f"member {member}", entry.value, f"{name}.{member}")
        return
    for attribute in ("_fields", "_field_defaults", "__match_args__", "__total__", "__slots__"):
        if attribute in vars(cls):
            add_part(walk, attribute, vars(cls)[attribute], f"{name}.{attribute}")
    for field, annotation in vars(cls).get("__annotations__", {}).items():
        walk.add(f"field {field} {annotation if isinstance(annotation, str) else _annotation(annotation)}")
    for field in vars(cls).get("__dataclass_fields__", {}).values():
        add_part(walk, f"default {field.name}", field.default, f"{name}.{field.name}")
        add_part(walk, f"factory {field.name}", field.default_factory, f"{name}.{field.name}")
    for attribute, func in _functions(cls):
        walk.add(f"method {attribute}")
        walk.refer(Live(func, qualified_name(func)), attribute)


def _annotation(annotation: Any) -> str:
    return qualified_name(annotation) if isinstance(annotation, type) else repr(annotation)


def _functions(cls: type) -> Iterator[tuple[str, FunctionType]]:
    for attribute, value in sorted(vars(cls).items()):
        if isinstance(value, FunctionType) and load_source(value.__code__.co_filename) is not None:
            yield attribute, value
