"""Rules for types of the standard library whose content is not simply what pickle would store."""

from __future__ import annotations

import enum
from typing import Any

from pipelite.errors import UnhashableError
from pipelite.fingerprint.digests import combine, identify
from pipelite.fingerprint.files import identify_path
from pipelite.fingerprint.modules import qualified_name
from pipelite.fingerprint.objects import advice
from pipelite.fingerprint.rules import NoStableHash, Walk, rule_for


def identify_class(value: type, walk: Walk) -> str:
    """A class as a value: its code or its package's version."""
    if value.__module__ == "builtins":
        return identify("type", value.__qualname__)
    return combine("type", (walk.own_class(value),))


def identify_enum_member(value: enum.Enum, walk: Walk) -> str:
    """An enum member by class and name, and by its value where that has a stable hash."""
    try:
        content = walk(value._value_)
    except NoStableHash:
        content = "by name only"
    return combine("enum", (walk.own_class(type(value)), value.name or "", content))


@rule_for("function")
def identify_function(value: Any, walk: Walk) -> str:
    """A function as a value: its code, with what it reaches."""
    if walk.own_function is None:
        raise NoStableHash(value, advice("function"))
    return combine("function", (walk.own_function(value),))


@rule_for("method")
def _identify_method(value: Any, walk: Walk) -> str:
    return combine("method", (walk(value.__func__), walk(value.__self__)))


@rule_for("module")
def _refuse_module(value: Any, walk: Walk) -> str:
    raise NoStableHash(value, f"it is the module {value.__name__!r}; {advice('module')}")


@rule_for("functools.partial")
def _identify_partial(value: Any, walk: Walk) -> str:
    extra = walk(value.__dict__) if value.__dict__ else ""
    return combine("partial", (walk(value.func), walk(value.args), walk(value.keywords), extra))


@rule_for("range")
def _identify_range(value: range, walk: Walk) -> str:
    # Ranges that hold the same numbers are equal, but `stop` can be read: it counts.
    return walk.sequence("range", (value.start, value.stop, value.step))


@rule_for("slice")
def _identify_slice(value: slice, walk: Walk) -> str:
    return walk.sequence("slice", (value.start, value.stop, value.step))


@rule_for("collections.OrderedDict")
def _identify_ordered_dict(value: Any, walk: Walk) -> str:
    return walk.sequence("OrderedDict", value.items())


@rule_for("collections.defaultdict")
def _identify_default_dict(value: Any, walk: Walk) -> str:
    return combine("defaultdict", (walk(value.default_factory), walk.mapping("dict", dict.items(value))))


@rule_for("collections.deque")
def _identify_deque(value: Any, walk: Walk) -> str:
    return combine("deque", (walk(value.maxlen), walk.sequence("list", value)))


@rule_for("mappingproxy")
def _identify_mapping_proxy(value: Any, walk: Walk) -> str:
    return walk.mapping("mappingproxy", value.items())


@rule_for("memoryview")
def _identify_memory_view(value: memoryview, walk: Walk) -> str:
    shape = ",".join(map(str, value.shape or ()))
    return combine("memoryview", (value.format, shape, walk(value.tobytes())))


@rule_for("decimal.Decimal", "_decimal.Decimal")
def _identify_decimal(value: Any, walk: Walk) -> str:
    return identify("Decimal", str(value))


@rule_for("fractions.Fraction")
def _identify_fraction(value: Any, walk: Walk) -> str:
    return walk.sequence("Fraction", (value.numerator, value.denominator))


@rule_for("uuid.UUID")
def _identify_uuid(value: Any, walk: Walk) -> str:
    return f"UUID:{value.hex}"


@rule_for("datetime.datetime")
def _identify_datetime(value: Any, walk: Walk) -> str:
    naive = value.replace(tzinfo=None, fold=0)
    return combine("datetime", (naive.isoformat(), str(value.fold), walk(value.tzinfo)))


@rule_for("datetime.time")
def _identify_time(value: Any, walk: Walk) -> str:
    return combine("time", (value.replace(tzinfo=None, fold=0).isoformat(), str(value.fold), walk(value.tzinfo)))


@rule_for("datetime.date")
def _identify_date(value: Any, walk: Walk) -> str:
    return f"date:{value.isoformat()}"


@rule_for("datetime.timedelta")
def _identify_timedelta(value: Any, walk: Walk) -> str:
    return f"timedelta:{value.days},{value.seconds},{value.microseconds}"


@rule_for("zoneinfo.ZoneInfo")
def _identify_zone(value: Any, walk: Walk) -> str:
    if value.key is None:
        raise NoStableHash(value, "it was read from a file; make it with ZoneInfo(name)")
    return identify("ZoneInfo", value.key)


@rule_for("re.Pattern")
def _identify_pattern(value: Any, walk: Walk) -> str:
    return walk.sequence("Pattern", (value.pattern, value.flags))


@rule_for("pathlib.Path", "pathlib._local.Path", family=True)
def _identify_path(value: Any, walk: Walk) -> str:
    try:
        return identify_path(value, walk.files)
    except UnhashableError as exc:
        raise NoStableHash(value, str(exc)) from exc


@rule_for("pathlib.PurePath", "pathlib._local.PurePath", family=True)
def _identify_pure_path(value: Any, walk: Walk) -> str:
    return walk.sequence("PurePath", value.parts)


@rule_for("builtin_function_or_method", "method_descriptor", "wrapper_descriptor")
def _identify_builtin(value: Any, walk: Walk) -> str:
    bound = getattr(value, "__self__", None)
    if bound is None or type(bound).__qualname__ == "module" or isinstance(bound, type):
        return identify("builtin", qualified_name(value))
    return combine("builtin", (value.__qualname__, walk(bound)))


@rule_for("weakref.ReferenceType", "weakref.ref")
def _refuse_weak_reference(value: Any, walk: Walk) -> str:
    raise NoStableHash(value, "what it refers to may vanish; pass the value itself")
