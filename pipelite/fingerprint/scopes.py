"""Which names a piece of syntax binds itself, so that the rest can be looked up around it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import attrs

#: What a name leads to; a walk passes it through without looking into it.
Target = Any

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@attrs.frozen
class Imported:
    """One name bound by an import: a module, or something in one."""

    #: Module as written, without the leading dots.
    module: str
    #: Number of leading dots.
    level: int
    #: What is taken from the module; None for the module itself.
    attribute: str | None


@attrs.define
class Scope:
    """The names bound in one function, class, module or comprehension, nested ones not included."""

    kind: str
    bound: set[str] = attrs.field(factory=set)
    imports: dict[str, list[Imported]] = attrs.field(factory=dict)
    #: Names that anything in it reads, where it imports something.
    used: frozenset[str] = frozenset()
    globals: set[str] = attrs.field(factory=set)
    nonlocals: set[str] = attrs.field(factory=set)

    def bind(self, name: str) -> None:
        self.bound.add(name)

    def bind_import(self, name: str, imported: Imported) -> None:
        self.bound.add(name)
        self.imports.setdefault(name, []).append(imported)


class Names(Protocol):
    """Where a walk looks up the names that it does not bind itself."""

    def find(self, name: str) -> Target | None:
        """What a name is, by closure, module or builtins; None for a builtin or a name that nobody knows."""

    def find_global(self, name: str) -> Target | None:
        """What a name declared `global` is."""

    def find_import(self, imported: Imported) -> Target | None:
        """What an import statement of the walked code would bind."""

    def find_member(self, target: Target, name: str) -> Target | None:
        """An attribute of a module; None if the target is not a module or has no such attribute."""

    def is_whole(self, target: Target) -> bool:
        """Whether the target is a module of the user's own."""

    def is_ignored(self, target: Target) -> bool:
        """Whether a decorator is pipelite's own: its options do not belong to the code."""


def scope_of_function(node: Function) -> Scope:
    scope = Scope("function")
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for argument in every:
        if argument is not None:
            scope.bind(argument.arg)
    _collect_body([node.body] if isinstance(node, ast.Lambda) else node.body, scope)
    return scope


def scope_of_body(kind: str, body: Sequence[ast.stmt]) -> Scope:
    scope = Scope(kind)
    _collect_body(body, scope)
    return scope


def scope_of_comprehension(node: Comprehension) -> Scope:
    scope = Scope("comprehension")
    _collect([generator.target for generator in node.generators], scope)
    return scope


def imported_names(node: ast.Import | ast.ImportFrom) -> list[tuple[str, Imported]]:
    """Names that an import statement binds, each with what it stands for; "*" for a star."""
    if isinstance(node, ast.ImportFrom):
        return [
            (alias.asname or alias.name, Imported(node.module or "", node.level, alias.name)) for alias in node.names
        ]
    return [
        (alias.asname, Imported(alias.name, 0, None))
        if alias.asname
        else (alias.name.partition(".")[0], Imported(alias.name.partition(".")[0], 0, None))
        for alias in node.names
    ]


def _collect_body(body: Sequence[ast.AST], scope: Scope) -> None:
    _collect(body, scope)
    if scope.imports:
        inside = (node for statement in body for node in ast.walk(statement))
        scope.used = frozenset(
            node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        )


def _collect(nodes: Iterable[ast.AST], scope: Scope) -> None:
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                scope.bind(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                scope.bind(node.name)
                waiting += node.decorator_list
                waiting += _evaluated_outside(node.args)
            case ast.ClassDef():
                scope.bind(node.name)
                waiting += [*node.decorator_list, *node.bases, *node.keywords]
            case ast.Lambda():
                waiting += _evaluated_outside(node.args)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # Only an assignment expression reaches out of a comprehension.
                for inner in ast.walk(node):
                    if isinstance(inner, ast.NamedExpr):
                        scope.bind(inner.target.id)
            case ast.Import() | ast.ImportFrom():
                for name, imported in imported_names(node):
                    scope.bind_import(name, imported)
            case ast.Global():
                scope.globals.update(node.names)
            case ast.Nonlocal():
                scope.nonlocals.update(node.names)
            case _:
                _bind_by_text(node, scope)
                waiting += ast.iter_child_nodes(node)


def _bind_by_text(node: ast.AST, scope: Scope) -> None:
    """Bind what the syntax tree holds as text instead of as a `Name`."""
    match node:
        case (
            ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
            | ast.MatchMapping(rest=str(name))
        ):
            scope.bind(name)


def _evaluated_outside(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)]
