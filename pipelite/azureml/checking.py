"""Looks through a script or a notebook for what of it would not run here, without executing it."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import os
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs

from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.azureml.hints import find_hint
from pipelite.azureml.missing import find_way_out
from pipelite.azureml.notebooks import fill_in, name_of, read_cells

if TYPE_CHECKING:
    from pipelite.azureml.pipeline.steps.later import LaterStep

_SDK = "azureml"
_OURS = "pipelite.azureml"
#: Arguments that name a script, which is seen from `source_directory`.
_SCRIPTS = ("script_name", "entry_script", "script", "python_script_name")
#: Where the classes are that annotations of results name.
_EXPORTED = ("core", "core.compute", "data", "pipeline.core", "train.estimator")


@attrs.frozen(kw_only=True)
class Place:
    """Where something stands: a file, or a cell of a notebook, and a line from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@attrs.frozen(kw_only=True)
class Remark:
    """A name of the SDK that is used, something that would not run, or something that cannot be known."""

    place: Place
    name: str
    message: str = ""


@attrs.define
class Report:
    """What of a script would run."""

    file: str
    #: Each name of the SDK, where it is used first.
    names: list[Remark] = attrs.field(factory=list)
    steps: list[Remark] = attrs.field(factory=list)
    problems: list[Remark] = attrs.field(factory=list)
    #: What could not be looked at.
    unknown: list[Remark] = attrs.field(factory=list)

    @property
    def would_run(self) -> bool:
        """Whether nothing was found that would not."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """All of it."""

        def rows(remarks: list[Remark]) -> list[dict[str, Any]]:
            return [
                {"file": each.place.file, "line": each.place.line, "name": each.name, "message": each.message}
                for each in remarks
            ]

        return {
            "file": self.file,
            "would_run": self.would_run,
            "names": rows(self.names),
            "steps": rows(self.steps),
            "problems": rows(self.problems),
            "unknown": rows(self.unknown),
        }

    def to_text(self) -> str:
        """A line for each thing."""
        blocks = (
            ("names of azureml", self.names),
            ("steps", self.steps),
            ("not looked at", self.unknown),
            ("would not run", self.problems),
        )
        lines = []
        for title, remarks in blocks:
            if remarks:
                lines.append(f"{title}:")
                lines += [
                    f"  {each.place}: {each.name}{f': {each.message}' if each.message else ''}" for each in remarks
                ]
        lines.append(f"{self.file} would run" if self.would_run else f"{self.file} would not run as it is")
        return "\n".join(lines)


def check(file: str) -> Report:
    """Look through a script or a notebook, and the scripts that its steps name as far as these are there.

    Raises
    ------
    UserErrorException
        If it is a notebook that cannot be read.
    """
    report = Report(file)
    checker = _Checker(report, os.path.dirname(os.path.abspath(file)))
    if file.endswith(".ipynb"):
        for cell in read_cells(file):
            checker.file = name_of(file, cell.number)
            if cell.written is not None:
                path = fill_in(cell.written.file, checker.texts())
                # Below the line of the magic.
                checker.written[checker.resolve(path)] = (checker.file, "\n" + cell.written.text)
            else:
                checker.look(cell.code, checker.file)
    else:
        with tokenize.open(file) as text:
            checker.look(text.read(), file)
    checker.finish()
    return report


@attrs.frozen
class _Named:
    """Something of this layer, by the name that it has in the SDK."""

    name: str
    thing: Any
    #: Whether it is a method of an object, which is its first argument.
    is_bound: bool = False


@attrs.frozen
class _Instance:
    name: str
    cls: type


@attrs.frozen
class _Foreign:
    """A module of another package, or something in it."""

    name: str


class _Checker(ast.NodeVisitor):
    """Goes through code in its order; what a visit gives is what is known of the value of an expression."""

    def __init__(self, report: Report, folder: str) -> None:
        self.report = report
        self.file = ""
        #: Files that cells write: what they are called in messages, and their text.
        self.written: dict[str, tuple[str, str]] = {}
        self._folder = folder
        self._values: dict[str, Any] = {}
        self._scripts: dict[str, Remark] = {}
        #: Calls that stand alone: nothing is done with what they give.
        self._alone: set[ast.expr] = set()

    def texts(self) -> dict[str, Any]:
        """The variables that are known texts."""
        return {name: value for name, value in self._values.items() if isinstance(value, str)}

    def resolve(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._folder, path))

    def _resolve_script(self, path: str) -> str:
        """The script of a step: as a script sees it that runs here, else as one does that runs in its own folder."""
        here = os.path.abspath(path)
        there = self.resolve(path)
        return here if os.path.isfile(here) and there not in self.written else there

    def look(self, code: str, file: str) -> None:
        """Go through code."""
        self.file = file
        try:
            tree = ast.parse(code, file)
        except SyntaxError as exc:
            place = Place(file=file, line=exc.lineno or 1)
            self.report.problems.append(Remark(place=place, name="syntax", message=str(exc.msg)))
            return
        self.visit(tree)

    def finish(self) -> None:
        """Go through the scripts of the steps."""
        for path, remark in self._scripts.items():
            inner = _Checker(self.report, os.path.dirname(path))
            if path in self.written:
                name, text = self.written[path]
                inner.look(text, name)
            elif not path.endswith(".py"):
                continue
            elif os.path.isfile(path):
                with tokenize.open(path) as file:
                    inner.look(file.read(), os.path.relpath(path))
            else:
                self.report.unknown.append(remark)

    # What is remembered of names.

    def visit_Import(self, node: ast.Import) -> None:
        for each in node.names:
            top = each.name.partition(".")[0]
            found = self._import(each.name, node)
            self._values[each.asname or top] = found if each.asname else self._import(top, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = self._import(node.module or "", node) if not node.level else None
        for each in node.names:
            if each.name == "*" and isinstance(module, _Named):
                public = getattr(module.thing, "__all__", [name for name in vars(module.thing) if name[0] != "_"])
                self._values |= {name: _Named(f"{module.name}.{name}", getattr(module.thing, name)) for name in public}
            elif module is not None:
                self._values[each.asname or each.name] = self._attribute(module, each.name, node)

    def _import(self, name: str, node: ast.stmt) -> Any:
        if name != _SDK and not name.startswith(f"{_SDK}."):
            if "." in name or importlib.util.find_spec(name) is None:
                self._hint(f"No module named '{name}'", name, node)
            return _Foreign(name)
        module = _find_module(name)
        if module is None:
            instead = find_way_out(name)
            self._problem(node, name, f"there is no such module here{f'; {instead}' if instead else ''}")
            return None
        self._use(node, name)
        return _Named(name, module)

    def visit_Assign(self, node: ast.Assign) -> None:
        value = self.visit(node.value)
        for target in node.targets:
            self._bind(target, value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bind(node.target, self.visit(node.value))

    def visit_Expr(self, node: ast.Expr) -> None:
        self._alone.add(node.value)
        self.visit(node.value)

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self._bind(node.target, None)
        for each in (*node.body, *node.orelse):
            self.visit(each)

    def visit_withitem(self, node: ast.withitem) -> None:
        value = self.visit(node.context_expr)
        if node.optional_vars is not None:
            self._bind(node.optional_vars, value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._go_into(node)
        self._values.pop(node.name, None)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._go_into(node)
        self._values.pop(node.name, None)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._go_into(node)

    def _go_into(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        """Within a function, its arguments hide names from outside."""
        outside = dict(self._values)
        arguments = node.args
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
            if each is not None:
                self._values.pop(each.arg, None)
        self.generic_visit(node)
        self._values = outside

    def _bind(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self._values[target.id] = value
            return
        for each in ast.walk(target):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                self._values.pop(each.id, None)

    # What expressions are.

    def visit_Name(self, node: ast.Name) -> Any:
        return self._values.get(node.id)

    def visit_Constant(self, node: ast.Constant) -> Any:
        return node.value if isinstance(node.value, str) else None

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        parts = [self.visit(each.value if isinstance(each, ast.FormattedValue) else each) for each in node.values]
        return "".join(parts) if all(isinstance(each, str) for each in parts) else None

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        left, right = self.visit(node.left), self.visit(node.right)
        return left + right if isinstance(left, str) and isinstance(right, str) else None

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        base = self.visit(node.value)
        if base is None:
            # Of a list, `append` gives nothing that anybody could use.
            if node.attr != "append" or node in self._alone:
                message = "" if node.attr == "append" else f"'DataFrame' object has no attribute '{node.attr}'"
                self._hint(message, f".{node.attr}", node)
            return None
        return self._attribute(base, node.attr, node)

    def visit_Call(self, node: ast.Call) -> Any:
        function = self.visit(node.func)
        given = [self.visit(each) for each in node.args]
        named = {each.arg: self.visit(each.value) for each in node.keywords}
        if isinstance(function, _Foreign):
            if function.name in ("os.path.join", "pathlib.Path", "str") and given:
                return os.path.join(*given) if all(isinstance(each, str) for each in given) else None
            return None
        if (
            function is None
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "append"
            and node not in self._alone
        ):
            self._hint("'DataFrame' object has no attribute 'append'", ".append", node)
        if not isinstance(function, _Named):
            return None
        for each in given:
            if isinstance(each, _Instance) and function.name.endswith(".submit"):
                self._refusal(getattr(each.cls, "as_pipeline", None), each.name, node)
        if not callable(function.thing):
            return None
        self._refusal(function.thing, function.name, node)
        self._look_at_arguments(function, node, given, named)
        return _result(function)

    def _attribute(self, base: Any, name: str, node: ast.AST) -> Any:
        if isinstance(base, _Foreign):
            self._hint(f"module '{base.name}' has no attribute '{name}'", f"{base.name}.{name}", node)
            if isinstance(node, ast.ImportFrom):
                self._hint(f"cannot import name '{name}' from '{base.name}'", f"{base.name}.{name}", node)
            return _Foreign(f"{base.name}.{name}")
        if not isinstance(base, _Named | _Instance):
            return None
        whole = f"{base.name}.{name}"
        owner = base.thing if isinstance(base, _Named) else base.cls
        if isinstance(owner, ModuleType):
            # A module may load its names when they are asked for.
            found = getattr(owner, name, None) or _find_module(whole)
        else:
            found = inspect.getattr_static(owner, name, None)
        if found is None:
            if isinstance(owner, type) and isinstance(base, _Instance) and _may_have(owner, name):
                return None
            if not isinstance(owner, type | ModuleType):
                return None
            self._problem(node, whole, "there is no such name here")
            return None
        self._use(node, whole)
        if isinstance(found, property):
            return _result(_Named(whole, found.fget))
        if isinstance(found, staticmethod | classmethod):
            return _Named(whole, getattr(owner, name))
        return _Named(whole, found, isinstance(base, _Instance) and inspect.isfunction(found))

    def _look_at_arguments(
        self, function: _Named, node: ast.Call, given: list[Any], named: Mapping[str | None, Any]
    ) -> None:
        if any(isinstance(each, ast.Starred) for each in node.args):
            return
        known = {name: value for name, value in named.items() if name is not None}
        try:
            first = [None] if function.is_bound else []
            bound = inspect.signature(function.thing).bind_partial(*first, *given, **known).arguments
        except (TypeError, ValueError) as exc:
            self._problem(node, function.name, str(exc))
            return
        if isinstance(function.thing, type) and _is_step(function.thing):
            step = bound.get("name")
            self.report.steps.append(Remark(place=self._place(node), name=function.thing.__name__, message=step or ""))
        source = bound.get("source_directory", "" if "source_directory" not in known else None)
        for each in _SCRIPTS:
            if each not in bound:
                continue
            if isinstance(bound[each], str) and isinstance(source, str):
                path = self._resolve_script(os.path.join(source, bound[each]))
                remark = Remark(
                    place=self._place(node), name=os.path.relpath(path), message="the script of a step is not there"
                )
                self._scripts.setdefault(path, remark)
            elif bound[each] is None and each in known:
                message = "the script of a step is known only when this runs"
                self.report.unknown.append(Remark(place=self._place(node), name=function.name, message=message))

    # What is said.

    def _refusal(self, function: Any, name: str, node: ast.AST) -> None:
        message = _find_refusal(function)
        if message is not None:
            self._problem(node, name, message)

    def _hint(self, message: str, name: str, node: ast.AST) -> None:
        hint = find_hint(message)
        if hint is not None:
            self._problem(node, name, hint)

    def _problem(self, node: ast.AST, name: str, message: str) -> None:
        place = self._place(node)
        if all((each.place, each.message) != (place, message) for each in self.report.problems):
            self.report.problems.append(Remark(place=place, name=name, message=message))

    def _use(self, node: ast.AST, name: str) -> None:
        if all(each.name != name for each in self.report.names):
            self.report.names.append(Remark(place=self._place(node), name=name))

    def _place(self, node: ast.AST) -> Place:
        return Place(file=self.file, line=getattr(node, "lineno", 1))


def _find_module(name: str) -> ModuleType | None:
    """The module of this layer for one of the SDK."""
    ours = _OURS + name[len(_SDK) :]
    try:
        found = importlib.util.find_spec(ours)
    except ModuleNotFoundError:
        return None
    return None if found is None else importlib.import_module(ours)


def _is_step(cls: type) -> bool:
    from pipelite.azureml.pipeline.core.step import PipelineStep

    return issubclass(cls, PipelineStep)


def _as_later(cls: type) -> type[LaterStep] | None:
    """A class of steps that cannot be run; None if it is none."""
    from pipelite.azureml.pipeline.steps.later import LaterStep

    return cls if issubclass(cls, LaterStep) else None


def _may_have(cls: type, name: str) -> bool:
    """Whether objects of a class may have an attribute that the class itself has not."""
    if hasattr(cls, "__getattr__"):
        return True
    names = {each for base in cls.__mro__ for each in _names_in(base.__dict__.get("__init__"))}
    return name in names or "setattr" in names or "__dict__" in names


def _names_in(function: Any) -> tuple[str, ...]:
    code = getattr(function, "__code__", None)
    return () if code is None else code.co_names


def _result(function: _Named) -> Any:
    """What a call gives, if that is an object of this layer."""
    if isinstance(function.thing, type):
        return _Instance(function.name, function.thing)
    annotation = getattr(function.thing, "__annotations__", {}).get("return")
    if not isinstance(annotation, str) or not annotation.isidentifier():
        return None
    for module in _EXPORTED:
        found = getattr(importlib.import_module(f"{_OURS}.{module}"), annotation, None)
        if isinstance(found, type) and found.__module__.startswith(_OURS):
            return _Instance(f"{_SDK}.{module}.{annotation}", found)
    return None


@functools.cache
def _find_refusal(function: Callable[..., Any] | None) -> str | None:
    """Why a function does nothing but refuse; None if it does something."""
    if isinstance(function, type):
        later = _as_later(function)
        if later is not None:
            return later.refusal()
        function = function.__init__  # type: ignore[misc]
    function = getattr(function, "__func__", getattr(function, "func", function))
    if not inspect.isfunction(function):
        return None
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    for statement in definition.body:
        if isinstance(statement, ast.Raise) and isinstance(statement.exc, ast.Call):
            if ast.unparse(statement.exc.func) == NotOnOneBoxError.__name__:
                # What the message is about stands before it.
                return re.sub(r"^[^:]*…[^:]*: ", "", "".join(_iter_texts(statement.exc.args[0])))
    return None


def _iter_texts(node: ast.expr) -> Iterator[str]:
    for each in node.values if isinstance(node, ast.JoinedStr) else [node]:
        yield str(each.value) if isinstance(each, ast.Constant) else "…"
