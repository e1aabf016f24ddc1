"""Own modules read from their files, without importing them: what a step imports inside its body."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cached_property, lru_cache

from pipelite.fingerprint.modules import module_name
from pipelite.fingerprint.scopes import Imported, imported_names
from pipelite.fingerprint.sources import SourceFile

Binding = tuple[ast.stmt, Imported | None]


class OwnModule:
    """The names that the top level of a module's source binds, each with the statements that do."""

    def __init__(self, name: str, source: SourceFile) -> None:
        self.name = module_name(name)
        self.source = source

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnModule) and (self.name, self.source) == (other.name, other.source)

    def __hash__(self) -> int:
        return hash((self.name, id(self.source)))

    @property
    def package(self) -> str:
        """What relative imports in it start from."""
        is_package = os.path.basename(self.source.path) == "__init__.py"
        return self.name if is_package else self.name.rpartition(".")[0]

    @property
    def bindings(self) -> dict[str, list[Binding]]:
        return _bindings_of(self.source)

    @cached_property
    def stars(self) -> list[Imported]:
        """Modules that are imported with a star."""
        return [
            Imported(node.module or "", node.level, None)
            for node in self.source.tree.body
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
        ]

    def imported(self, name: str) -> Imported | None:
        """What a name stands for that the module only imports."""
        bindings = self.bindings.get(name, [])
        return bindings[0][1] if len(bindings) == 1 else None

    def statements(self, name: str) -> list[ast.stmt]:
        """Statements of the top level that make up what a name is at the end, each once, in their order."""
        return list({id(statement): statement for statement, _ in self.bindings.get(name, [])}.values())


@lru_cache(maxsize=512)
def _bindings_of(source: SourceFile) -> dict[str, list[Binding]]:
    found: dict[str, list[Binding]] = {}
    for statement in source.tree.body:
        for name, imported in _bound_by(statement):
            found.setdefault(name, []).append((statement, imported))
    for statement in source.tree.body:
        for name in _changed_by(statement, found):
            found[name].append((statement, None))
    return found


def _bound_by(statement: ast.stmt) -> Iterator[tuple[str, Imported | None]]:
    match statement:
        case ast.Import() | ast.ImportFrom():
            yield from imported_names(statement)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name, None
        case _:
            yield from ((name, None) for name in dict.fromkeys(_names_in(statement)))


def _names_in(statement: ast.AST) -> Iterator[str]:
    """Names that a statement of any other kind binds or changes at the top level, those below an `if` too."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name
            return
        case ast.Import() | ast.ImportFrom():
            yield from (name for name, _ in imported_names(statement))
            return
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
            if (base := _base(statement)) is not None:
                yield base
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return
    for child in ast.iter_child_nodes(statement):
        yield from _names_in(child)


def _changed_by(statement: ast.stmt, bindings: dict[str, list[Binding]]) -> Iterator[str]:
    """Names of own objects that a statement may change: by a method, or by a decorator that keeps what it decorates."""
    changed: list[str | None] = []
    match statement:
        case ast.Expr(value=ast.Call() as call):
            changed.append(_method_owner(call))
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            for decorator in statement.decorator_list:
                changed.append(_method_owner(decorator))
                if isinstance(called := _base(decorator), str):
                    changed += _changed_inside(bindings.get(called, []))
    for name in dict.fromkeys(changed):
        if name is not None and name in bindings and name != getattr(statement, "name", None):
            # What is imported is changed where it belongs; `np.random.seed(0)` makes no other numpy.
            if all(imported is None for _, imported in bindings[name]):
                yield name


def _changed_inside(bindings: list[Binding]) -> Iterator[str | None]:
    """Names that the functions bound here store into, as `def register(func): REGISTRY[func.__name__] = func` does."""
    for statement, _ in bindings:
        if isinstance(statement, ast.FunctionDef):
            for node in ast.walk(statement):
                if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
                    yield _base(node)
                elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                    yield _method_owner(node.value)


def _method_owner(expression: ast.expr) -> str | None:
    """`x` in `x.append(...)` and in `x.register`: a method may change what it belongs to."""
    inner = expression.func if isinstance(expression, ast.Call) else expression
    return _base(inner) if isinstance(inner, ast.Attribute) else None


def _base(node: ast.AST) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None
