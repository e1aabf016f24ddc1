"""Equal spellings of one meaning, brought into one form."""

from __future__ import annotations

import ast
from typing import Any


def signature(arguments: ast.arguments) -> str:
    names = [",".join(argument.arg for argument in group) for group in (arguments.posonlyargs, arguments.args)]
    star = arguments.vararg.arg if arguments.vararg else ""
    keywords = ",".join(argument.arg for argument in arguments.kwonlyargs)
    double = arguments.kwarg.arg if arguments.kwarg else ""
    given = "".join("01"[default is not None] for default in arguments.kw_defaults)
    return f"{names[0]}/{names[1]}*{star}|{keywords}**{double}={len(arguments.defaults)}{given}"


def dotted(node: ast.expr) -> tuple[ast.Name | None, list[str]]:
    """`a.b.c` as the name and the attributes below it; no name where it starts with something else."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node if isinstance(node, ast.Name) else None), attributes[::-1]


def does_nothing(statement: Any) -> bool:
    """Whether a statement only fills a place: docstrings, bare constants, `pass`, declarations without value."""
    return isinstance(statement, ast.Pass | ast.Global | ast.Nonlocal) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def merged(values: list[ast.expr]) -> list[Any]:
    """Parts of an f-string: text, and the rest as nodes."""
    parts: list[Any] = []
    for value in values:
        text = value.value if isinstance(value, ast.Constant) else None
        if not isinstance(text, str):
            parts.append(value)
        elif parts and isinstance(parts[-1], str):
            parts[-1] += text
        elif text:
            parts.append(text)
    return parts


def unquoted(annotation: ast.expr) -> ast.expr:
    """The annotation in a quoted one; quotes only put off when it is looked up."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return ast.parse(annotation.value.strip(), mode="eval").body
        except SyntaxError:
            return annotation
    return annotation
