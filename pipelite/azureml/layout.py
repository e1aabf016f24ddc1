"""Lays expressions out as `ruff format` does: double quotes, and one element a line where a line would be too long."""

from __future__ import annotations

import ast

#: What formatters take as the longest line unless they are told otherwise.
WIDTH = 88
_INDENT = 4


def lay_out(code: str, *, lead: str = "", indent: int = 0) -> str:
    """An expression behind `lead`, such as `model = `, on lines that start at `indent`."""
    return "\n".join(_lines(ast.parse(code, mode="eval").body, indent, lead, ""))


def lay_out_list(lead: str, parts: list[str], tail: str) -> str:
    """Parts between `lead`, which ends with a bracket, and `tail`, which starts with one."""
    line = f"{lead}{', '.join(parts)}{tail}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([lead, *(f"{' ' * _INDENT}{part}," for part in parts), tail])


def quoted(text: str) -> str:
    """A text as code, in double quotes unless there are some in it."""
    code = repr(text)
    return f'"{code[1:-1]}"' if code[0] == "'" and '"' not in text and "'" not in text else code


def _lines(node: ast.expr, indent: int, lead: str, tail: str) -> list[str]:
    space = " " * indent
    line = f"{space}{lead}{_flat(node)}{tail}"
    parts = _parts(node)
    if len(line) <= WIDTH or parts is None or not parts[1]:
        return [line]
    opening, elements, closing = parts
    found = [f"{space}{lead}{opening}"]
    for name, value in elements:
        found += _lines(value, indent + _INDENT, name, ",")
    return [*found, f"{space}{closing}{tail}"]


def _parts(node: ast.expr) -> tuple[str, list[tuple[str, ast.expr]], str] | None:
    """What stands in brackets: how it begins, its elements with what stands before each, and how it ends."""
    if isinstance(node, ast.Call):
        given = [("", value) for value in node.args]
        given += [(f"{each.arg}=" if each.arg else "**", each.value) for each in node.keywords]
        return f"{_flat(node.func)}(", given, ")"
    if isinstance(node, ast.List):
        return "[", [("", value) for value in node.elts], "]"
    if isinstance(node, ast.Tuple):
        return "(", [("", value) for value in node.elts], ")"
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return "{", [(f"{_flat(key)}: " if key else "**", value) for key, value in pairs], "}"
    return None


def _flat(node: ast.expr) -> str:
    """An expression on one line."""
    parts = _parts(node)
    if parts is not None:
        opening, elements, closing = parts
        inner = ", ".join(f"{lead}{_flat(value)}" for lead, value in elements)
        comma = "," if isinstance(node, ast.Tuple) and len(elements) == 1 else ""
        return f"{opening}{inner}{comma}{closing}"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return quoted(node.value)
    if isinstance(node, ast.Attribute):
        return f"{_flat(node.value)}.{node.attr}"
    if isinstance(node, ast.Subscript):
        return f"{_flat(node.value)}[{_flat(node.slice)}]"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return f"{_flat(node.left)} / {_flat(node.right)}"
    return ast.unparse(node)
