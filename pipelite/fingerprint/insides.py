"""What is inside loaded objects, read without running any code of theirs."""

from __future__ import annotations

import inspect
from types import CellType, FunctionType
from typing import Any

from pipelite.fingerprint.modules import module_name

#: Values of these types identify themselves and are written into the text of what holds them.
SCALARS = (type(None), bool, int, float, complex, str, bytes)


def function_name(func: FunctionType) -> str:
    """Name of the code of a function, whatever name its wrapper gave it."""
    return f"{module_name(str(func.__globals__.get('__name__')))}.{func.__code__.co_qualname}"


def get_cells(func: FunctionType) -> dict[str, Any]:
    """Values that a function closes over; names that are not bound yet are left out."""
    pairs = zip(func.__code__.co_freevars, func.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in pairs if _is_filled(cell)}


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def get_plain(value: Any, name: str) -> Any:
    """An attribute of an object; what looks attributes up on demand is not asked for new ones."""
    found = inspect.getattr_static(value, name, None)
    return getattr(value, name, None) if found is not None else None


def get_attributes(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {f"[{key!r}]" if type(key) in SCALARS else f"[{n}]": part for n, (key, part) in enumerate(value.items())}
    if isinstance(value, list | tuple):
        return {f"[{place}]": part for place, part in enumerate(value)}
    attributes = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                attributes[name] = getattr(value, name)
    return {str(name): part for name, part in attributes.items()}
