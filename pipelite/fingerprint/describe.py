"""Descriptions of what is not loaded: source that nobody imported, installed packages, own modules in machine code."""

from __future__ import annotations

import ast
import sys
from types import FunctionType
from typing import Any

from pipelite.fingerprint.bytecode import constant_text
from pipelite.fingerprint.digests import digest, identify
from pipelite.fingerprint.files import FileCache, digest_file
from pipelite.fingerprint.items import Binary, Folder, Foreign, Item, Live, Static
from pipelite.fingerprint.modules import (
    distribution_of,
    is_own_path,
    loaded_module,
    module_name,
    module_path,
    qualified_name,
)
from pipelite.fingerprint.names import Resolver, StaticNames
from pipelite.fingerprint.sources import SourceFile, find_class, find_function, load_source
from pipelite.fingerprint.syntax import Text, Walk
from pipelite.fingerprint.unloaded import OwnModule


def describe_foreign(target: Foreign) -> Item:
    """Something of Python's counts by name, something installed also by its package's version."""
    package = describe_package(target.module)
    version = "" if package is None else f"{package.label} {package.identity}"
    return Item(
        label=None if package is None else package.label,
        identity="" if package is None else package.identity,
        shape=identify("foreign", f"{target.name} {version}"),
        notes=() if package is None else package.notes,
        is_value=True,
    )


def describe_package(module: str) -> Item | None:
    """The installed package that a module belongs to; None for Python's own modules, pipelite's and missing ones."""
    top = module.partition(".")[0]
    if top == "pipelite" or top in sys.stdlib_module_names or module_path(module) is None:
        return None
    found = distribution_of(module)
    if found is not None:
        return Item(label=f"package {found[0]}", identity=found[1], shape=f"{found[0]} {found[1]}", is_value=True)
    return Item(
        label=f"package {top}",
        identity="unknown version",
        shape=top,
        notes=(f"package {top}: it has no version that can be found, so changes in it do not count",),
        is_value=True,
    )


def describe_binary(target: Binary, files: FileCache | None) -> Item:
    """An own module without source counts by the bytes of its file."""
    content = digest_file(target.path, files)
    return Item(
        label=f"module {module_name(target.module)}", identity=content, shape=identify("binary", content), is_value=True
    )


def describe_folder(target: Folder) -> Item:
    return Item(label=None, identity="", shape=identify("folder", target.name), is_value=True)


def describe_module(target: OwnModule, resolver: Resolver) -> Item:
    """All of an own module: for code that hands the module on, or looks its names up by a computed name."""
    _check_loaded(target)
    walk = Walk(StaticNames(resolver, target))
    walk.module(target.source.tree)
    return make_item(f"module {target.name}", walk.text(), target.source)


def describe_static(target: Static, resolver: Resolver) -> Item:
    """A name of an own module by the statements that bind it."""
    module, name = target.module, target.name
    walk = Walk(StaticNames(resolver, module))
    statements = module.statements(name)
    kind = "constant"
    if len(statements) == 1 and isinstance(statements[0], ast.FunctionDef | ast.AsyncFunctionDef):
        kind = "function"
        walk.function(statements[0], with_defaults=True)
    elif len(statements) == 1 and isinstance(statements[0], ast.ClassDef):
        kind = "class"
        walk.class_body(statements[0])
    else:
        walk.statements(statements)
    _compare_with_loaded(target, kind, statements, walk)
    return make_item(f"{kind} {module.name}.{name}", walk.text(), module.source)


def _compare_with_loaded(target: Static, kind: str, statements: list[ast.stmt], walk: Walk) -> None:
    """Where the module is loaded after all, its object must be what the source says, or counts as it is.

    Raises
    ------
    SourceChangedError
        If the file was edited after it was loaded.
    """
    loaded = loaded_module(target.module.name)
    if loaded is None or target.name not in vars(loaded):
        return
    value = vars(loaded)[target.name]
    label = f"{target.module.name}.{target.name}"
    if kind == "function" and isinstance(value, FunctionType):
        if value.__code__.co_qualname == target.name:
            find_function(value)
        elif not getattr(statements[0], "decorator_list", None):
            walk.refer(Live(value, label), label)
    elif kind == "class" and isinstance(value, type) and value.__qualname__ == target.name:
        find_class(value)
    elif len(statements) == 1 and not _says(statements[0], value):
        # Set from outside. What is in a list or dictionary may change as the program runs; its source counts.
        walk.refer(Live(value, label), label)


def _says(statement: ast.stmt, value: Any) -> bool:
    """Whether a statement assigns this value, as far as it can be seen without running it."""
    match statement:
        case ast.Assign(targets=[ast.Name()], value=ast.expr() as written) | ast.AnnAssign(value=ast.expr() as written):
            try:
                literal = ast.literal_eval(written)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                return True
            return isinstance(literal, list | dict | set) or constant_text(literal) == constant_text(value)
    return True


def _check_loaded(target: OwnModule) -> None:
    loaded = loaded_module(target.name)
    for value in list(vars(loaded).values()) if loaded is not None else ():
        if isinstance(value, FunctionType) and value.__globals__ is vars(loaded):
            find_function(value)
        elif isinstance(value, type) and qualified_name(value) == f"{target.name}.{value.__qualname__}":
            find_class(value)


def make_item(label: str, text: Text, *sources: SourceFile, notes: tuple[str, ...] = ()) -> Item:
    """An item out of the walk through it."""
    opaque = tuple(f"{label}: {what} cannot be followed" for what in text.opaque)
    return Item(
        label=label,
        identity=text.named,
        shape=text.shape,
        references=text.references,
        notes=(*notes, *opaque),
        sources=sources,
    )


def load_sources(paths: dict[str, None]) -> tuple[SourceFile, ...]:
    """The files of modules that look-ups went through, with those of the packages around them."""
    found = (load_source(path) for path in paths if path.endswith((".py", ".pyw")) and is_own_path(path))
    return tuple(source for source in found if source is not None)


def digest_of_parts(tag: str, parts: list[str]) -> str:
    return digest(tag, *[part.encode("utf-8", "surrogatepass") for part in parts])
