"""Canonical text of syntax: what a program does, without what only its reader sees.

The walk gives the same text on every Python version: fields that are empty or new are left out, constants carry their
type, f-strings are put together from the parts that all versions agree on. Names that lead out of the walked piece are
handed to `Names` and become references; all others stay as they are written.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from pipelite.fingerprint.bytecode import constant_text
from pipelite.fingerprint.digests import digest
from pipelite.fingerprint.normal import does_nothing, dotted, merged, signature, unquoted
from pipelite.fingerprint.scopes import (
    Comprehension,
    Function,
    Imported,
    Names,
    Scope,
    Target,
    imported_names,
    scope_of_body,
    scope_of_comprehension,
    scope_of_function,
)

#: Fields that do not count, or that the walk of their node handles itself.
_SILENT = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params", "returns", "annotation"})
#: Stands for a reference in the text that leaves names out; cannot occur in the text of a constant's repr.
_SLOT = "\0"


@attrs.frozen
class Text:
    """The canonical text of one piece of code."""

    #: Digest of the text with the names of what it refers to: for people, who compare two versions of one piece.
    named: str
    #: Digest of the text with a slot for each reference: the same whatever they are called and wherever they are.
    shape: str
    #: What fills the slots, in their order.
    references: tuple[Target, ...]
    #: Calls that nobody can see through, by what they do.
    opaque: tuple[str, ...]


class Walk:
    """Walks pieces of syntax and values in order, and collects their text and references."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._pieces: list[str] = []
        self._labels: list[str] = []
        self._references: list[Target] = []
        self._opaque: dict[str, None] = {}
        self._scopes: list[Scope] = []

    def text(self) -> Text:
        shape = "".join(self._pieces)
        named = shape.encode("utf-8", "surrogatepass")
        labels = [label.encode("utf-8", "surrogatepass") for label in self._labels]
        return Text(
            named=digest("named", named, *labels),
            shape=digest("shape", named),
            references=tuple(self._references),
            opaque=tuple(self._opaque),
        )

    # What the callers add

    def add(self, text: str) -> None:
        self._pieces.append(f"{text!r};")

    def refer(self, target: Target, label: str) -> None:
        self._pieces.append(_SLOT)
        self._labels.append(label)
        self._references.append(target)

    def function(self, node: Function, *, with_defaults: bool) -> None:
        """Walk a definition whose own name does not count: those who use it refer to it by place, not by name.

        Of a loaded function the defaults count by value; then the caller adds them.
        """
        if not isinstance(node, ast.Lambda):
            self._decorators(node.decorator_list)
        self._function(node, "", with_defaults=with_defaults)

    def class_body(self, node: ast.ClassDef) -> None:
        """Walk a class; its own name does not count, its field annotations do."""
        self._decorators(node.decorator_list)
        self._class(node, "")

    def statements(self, body: Iterable[ast.stmt]) -> None:
        """Walk statements of a module whose names are looked up around them, and which other pieces refer to."""
        self._body(list(body))

    def module(self, tree: ast.Module) -> None:
        """Walk a whole module: its names are its own, only what it imports leads out."""
        self._scopes.append(scope_of_body("module", tree.body))
        self._body(tree.body)
        self._scopes.pop()

    # Nodes

    def visit(self, node: ast.AST) -> None:
        handler = _HANDLERS.get(type(node))
        if handler is not None:
            handler(self, node)
        else:
            self._generic(node)

    def _generic(self, node: ast.AST) -> None:
        pieces = self._pieces
        pieces.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or name in _SILENT:
                continue
            if isinstance(value, ast.AST):
                pieces.append(f"{name}=")
                self.visit(value)
            elif isinstance(value, list):
                if value:
                    pieces.append(f"{name}=")
                    self._list(value)
            else:
                pieces.append(f"{name}={value!r},")
        pieces.append(")")

    def _list(self, values: list[Any]) -> None:
        if values and isinstance(values[0], ast.stmt):
            self._body(values)
            return
        self._pieces.append("[")
        for value in values:
            if isinstance(value, ast.AST):
                self.visit(value)
            else:
                # None stands for the key of `**mapping`, and for a keyword-only argument without default.
                self._pieces.append(f"{value!r},")
        self._pieces.append("]")

    def _body(self, body: list[Any]) -> None:
        self._pieces.append("[")
        for statement in body:
            if not does_nothing(statement):
                self.visit(statement)
        self._pieces.append("]")

    def _constant(self, node: ast.Constant) -> None:
        self._pieces.append(f"{constant_text(node.value)},")

    def _joined(self, node: ast.JoinedStr) -> None:
        """Put an f-string together: where one constant part ends and the next begins differs between versions."""
        parts = merged(node.values)
        if all(isinstance(part, str) for part in parts):
            self._pieces.append(f"{constant_text(''.join(parts))},")
            return
        self._pieces.append("JoinedStr[")
        for part in parts:
            if isinstance(part, str):
                self._pieces.append(f"{constant_text(part)},")
            else:
                self._generic(part)
        self._pieces.append("]")

    # Names

    def _name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            if not self._reference(node, []):
                self._pieces.append(f"Name({node.id})")
        else:
            self._pieces.append(f"{self._declared(node.id)}({node.id})")

    def _declared(self, name: str) -> str:
        scope = self._scopes[-1] if self._scopes else None
        if scope is not None and name in scope.globals:
            return "Global"
        return "Nonlocal" if scope is not None and name in scope.nonlocals else "Name"

    def _attribute(self, node: ast.Attribute) -> None:
        base, chain = dotted(node)
        if base is not None and self._reference(base, chain):
            return
        self._pieces.append("Attribute(")
        self.visit(node.value)
        self._pieces.append(f".{node.attr})")

    def _reference(self, node: ast.Name, attributes: list[str]) -> bool:
        """Follow `a.b.c` through modules as far as it goes, and refer to where it ends."""
        targets = self._lookup(node.id)
        if not targets:
            return False
        label, rest = node.id, attributes
        if len(targets) == 1:
            target, rest = self._descend(targets[0], attributes)
            label = ".".join([node.id, *attributes[: len(attributes) - len(rest)]])
            targets = [target]
        self._pieces.append("(")
        for target in targets:
            self.refer(target, label)
        self._pieces.append("".join(f".{name}" for name in rest) + ")")
        return True

    def _descend(self, target: Target, attributes: list[str]) -> tuple[Target, list[str]]:
        for place, name in enumerate(attributes):
            member = self._names.find_member(target, name)
            if member is None:
                return target, attributes[place:]
            target = member
        return target, []

    def _lookup(self, name: str) -> list[Target]:
        innermost = True
        for scope in reversed(self._scopes):
            if scope.kind == "class" and not innermost:
                continue
            innermost = innermost and scope.kind == "comprehension"
            if name in scope.globals:
                target = self._names.find_global(name)
                return [] if target is None else [target]
            if name in scope.bound and name not in scope.nonlocals:
                found = (self._names.find_import(imported) for imported in scope.imports.get(name, ()))
                return [target for target in found if target is not None]
        target = self._names.find(name)
        return [] if target is None else [target]

    def _call(self, node: ast.Call) -> None:
        self._note_opaque(node)
        self._generic(node)

    def _note_opaque(self, node: ast.Call) -> None:
        match node.func, node.args:
            case ast.Name(id="exec" | "eval" as name), _ if not self._lookup(name):
                self._opaque[f"code given to {name}()"] = None
            case ast.Name(id="__import__"), [ast.Constant(value=str(module)), *_]:
                self._import_by_name(module)
            case ast.Attribute(attr="import_module"), [ast.Constant(value=str(module))]:
                self._import_by_name(module)
            case (ast.Name(id="__import__") | ast.Attribute(attr="import_module"), _):
                self._opaque["modules imported by a computed name"] = None
            case ast.Name(id="getattr"), [owner, name, *_] if not isinstance(name, ast.Constant):
                if not self._is_seen_whole(owner):
                    self._opaque["attributes looked up by a computed name"] = None

    def _import_by_name(self, module: str) -> None:
        target = self._names.find_import(Imported(module, 0, None))
        if target is not None:
            self.refer(target, module)

    def _is_seen_whole(self, owner: ast.expr) -> bool:
        return isinstance(owner, ast.Name) and bool(self._lookup(owner.id))

    # Imports

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Imports count by what they bring; where that is, and under which name, does not."""
        for name, imported in imported_names(node):
            if imported.module == "__future__":
                continue
            is_star = imported.attribute == "*"
            target = self._names.find_import(attrs.evolve(imported, attribute=None) if is_star else imported)
            if target is None:
                self._pieces.append(f"Import({imported.module},{imported.attribute},{imported.level},{name})")
            elif not self._names.is_whole(target) or is_star or self._is_imported_for_effect(name):
                self._pieces.append("Import(")
                self.refer(target, name)
                self._pieces.append(")")
        if isinstance(node, ast.Import):
            self._submodules(node)

    def _submodules(self, node: ast.Import) -> None:
        """`import a.b` binds `a`, and runs `b`; whoever uses `a.b.c` finds it by way of `a`."""
        for alias in node.names:
            if alias.asname or "." not in alias.name:
                continue
            target = self._names.find_import(Imported(alias.name, 0, None))
            if target is None:
                self._pieces.append(f"Import({alias.name})")
            elif not self._names.is_whole(target):
                self.refer(target, alias.name)

    def _is_imported_for_effect(self, name: str) -> bool:
        return not self._scopes or name not in self._scopes[-1].used

    # Scopes

    def _inner_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._decorators(node.decorator_list)
        self._function(node, node.name, with_defaults=True)

    def _lambda(self, node: ast.Lambda) -> None:
        self._function(node, "", with_defaults=True)

    def _function(self, node: Function, name: str, *, with_defaults: bool) -> None:
        kind = "AsyncFunction" if isinstance(node, ast.AsyncFunctionDef) else "Function"
        self._pieces.append(f"{kind}({name},{signature(node.args)}")
        if with_defaults:
            self._list([*node.args.defaults, *node.args.kw_defaults])
        self._scopes.append(scope_of_function(node))
        if isinstance(node, ast.Lambda):
            # A lambda is the function that returns its body.
            self._pieces.append("[Return(value=")
            self.visit(node.body)
            self._pieces.append(")]")
        else:
            self._body(node.body)
        self._scopes.pop()
        self._pieces.append(")")

    def _inner_class(self, node: ast.ClassDef) -> None:
        self._decorators(node.decorator_list)
        self._class(node, node.name)

    def _class(self, node: ast.ClassDef, name: str) -> None:
        self._pieces.append(f"Class({name},")
        self._list([*node.bases, *node.keywords])
        self._scopes.append(scope_of_body("class", node.body))
        self._body(node.body)
        self._scopes.pop()
        self._pieces.append(")")

    def _decorators(self, decorators: list[ast.expr]) -> None:
        for decorator in decorators:
            if not self._is_ignored(decorator):
                self._pieces.append("@")
                self.visit(decorator)

    def _is_ignored(self, decorator: ast.expr) -> bool:
        while isinstance(decorator, ast.Call):
            decorator = decorator.func
        base, attributes = dotted(decorator)
        targets = [] if base is None else self._lookup(base.id)
        return any(self._names.is_ignored(self._descend(target, attributes)[0]) for target in targets)

    def _comprehension(self, node: Comprehension) -> None:
        self._pieces.append(f"{type(node).__name__}(")
        # The first iterable is evaluated outside: in `[x for x in x]` the last x is another one.
        self.visit(node.generators[0].iter)
        self._scopes.append(scope_of_comprehension(node))
        for place, generator in enumerate(node.generators):
            self._pieces.append(f"for({generator.is_async},")
            self.visit(generator.target)
            if place:
                self.visit(generator.iter)
            self._list(generator.ifs)
            self._pieces.append(")")
        elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._list(elements)
        self._scopes.pop()
        self._pieces.append(")")

    def _annotated(self, node: ast.AnnAssign) -> None:
        """An annotation counts where programs read it: in the body of a class. Elsewhere it is a comment."""
        if self._scopes and self._scopes[-1].kind == "class":
            self._pieces.append("Field(")
            self.visit(node.target)
            self.visit(unquoted(node.annotation))
            if node.value is not None:
                self.visit(node.value)
            self._pieces.append(")")
        elif node.value is not None:
            self._assigned([node.target], node.value)

    def _assign(self, node: ast.Assign) -> None:
        self._assigned(node.targets, node.value)

    def _assigned(self, targets: list[Any], value: ast.expr) -> None:
        self._pieces.append("Assign(")
        self._list(targets)
        self.visit(value)
        self._pieces.append(")")


_HANDLERS: dict[type[ast.AST], Callable[[Any, Any], None]] = {
    ast.Constant: Walk._constant,
    ast.JoinedStr: Walk._joined,
    ast.Name: Walk._name,
    ast.Attribute: Walk._attribute,
    ast.Call: Walk._call,
    ast.Import: Walk._import,
    ast.ImportFrom: Walk._import,
    ast.FunctionDef: Walk._inner_function,
    ast.AsyncFunctionDef: Walk._inner_function,
    ast.Lambda: Walk._lambda,
    ast.ClassDef: Walk._inner_class,
    ast.ListComp: Walk._comprehension,
    ast.SetComp: Walk._comprehension,
    ast.DictComp: Walk._comprehension,
    ast.GeneratorExp: Walk._comprehension,
    ast.AnnAssign: Walk._annotated,
    ast.Assign: Walk._assign,
}
