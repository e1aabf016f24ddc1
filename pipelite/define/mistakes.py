"""What a handle refuses to do, each with what to do instead."""

from __future__ import annotations

import dis
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from pipelite.errors import TracingError

_UNPACK = dis.opmap["UNPACK_SEQUENCE"]


class Refusing:
    """Base of the handles: whatever needs the value raises a TracingError.

    It keeps `__hash__` and a harmless `repr`, so that handles can stand in dicts and debuggers.
    """

    __slots__ = ()

    def _what(self) -> str:
        raise NotImplementedError

    def _refuse(self, deed: str, advice: str) -> NoReturn:
        raise TracingError(
            f"{self._what()} is {deed}, but it has no value yet: the pipeline's body runs once, before any step. {advice}"
        )

    def __getattr__(self, name: str) -> Any:
        # Python and libraries look for names such as _repr_html_ and expect this answer.
        if name.startswith("_"):
            raise AttributeError(name)
        if name in ("map", "when", "unless", "with_options"):
            self._refuse(
                f"asked for .{name}", f"That belongs to a step, and the handle is its argument: step.{name}(...)"
            )
        self._refuse(f"asked for .{name}", f"Use .{name} inside a step that takes it as an argument.")


def described(handle: Refusing) -> str:
    """The handle in words: "the output of step 'load' (flow.py:31)"."""
    # A public method would answer users who mean a method of the value, such as DataFrame.describe.
    return handle._what()


def unpacked_into(frame: FrameType) -> int | None:
    """How many names the caller unpacks a value into at this moment; None if it does not unpack.

    Python's own message ("too many values to unpack") names neither the step nor its outputs, and an iterator cannot
    tell how often it is going to be asked.
    """
    code, offset = frame.f_code.co_code, frame.f_lasti
    return code[offset + 1] if code[offset] == _UNPACK else None


def _operators(*names: str) -> tuple[str, ...]:
    return tuple(f"__{prefix}{name}__" for name in names for prefix in ("", "r"))


#: What is done, what to do instead, and the methods by which Python does it.
_REFUSED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "used as a condition (if, while, and, or, not)",
        "To run a step only if it comes out true, write step.when(handle)(...); else decide inside a step.",
        ("__bool__",),
    ),
    (
        "compared",
        "Compare inside a step that takes it as an argument.",
        ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"),
    ),
    (
        "used in a calculation",
        "Calculate inside a step that takes it as an argument.",
        (
            *_operators("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul"),
            *_operators("and", "or", "xor", "lshift", "rshift"),
            *("__neg__", "__pos__", "__abs__", "__invert__", "__round__", "__trunc__", "__floor__", "__ceil__"),
        ),
    ),
    (
        "converted to a number",
        "Convert it inside a step that takes it as an argument.",
        ("__int__", "__float__", "__complex__", "__index__"),
    ),
    (
        "looped over",
        "To call a step for each element, write step.map(handle); else loop inside a step.",
        ("__iter__", "__reversed__", "__next__"),
    ),
    ("searched with `in`", "Search inside a step that takes it as an argument.", ("__contains__",)),
    ("asked for its length", "Use len() inside a step that takes it as an argument.", ("__len__",)),
    (
        "turned into text",
        "Format it inside a step that takes it as an argument; repr() shows what the handle stands for.",
        ("__str__", "__format__", "__bytes__"),
    ),
    (
        "called like a function",
        "Call it inside a step that takes it as an argument.",
        ("__call__",),
    ),
    (
        "used as a file path",
        "Open the file inside a step that takes it as an argument.",
        ("__fspath__",),
    ),
    (
        "changed in place",
        "Change it inside a step, and return the changed value.",
        ("__setitem__", "__delitem__"),
    ),
    ("used in `with`", "Open it inside a step.", ("__enter__", "__exit__")),
    ("given to numpy", "Compute with it inside a step that takes it as an argument.", ("__array__",)),
)


def _refusal(deed: str, advice: str) -> Callable[..., NoReturn]:
    def refuse(self: Refusing, *_: Any, **__: Any) -> NoReturn:
        self._refuse(deed, advice)

    return refuse


for _deed, _advice, _methods in _REFUSED:
    for _method in _methods:
        # Set from outside of the class body, `__eq__` leaves `__hash__` in place.
        setattr(Refusing, _method, _refusal(_deed, _advice))
