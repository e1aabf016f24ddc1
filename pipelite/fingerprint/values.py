"""Identity of a value: its content and its type, the same in every process, whatever the hash seed.

Every rule puts a tag of the type before the content, and containers combine the identities of their parts, so that the
identity of a container that holds the outputs of steps follows from their identities alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from types import EllipsisType, NoneType, NotImplementedType
from typing import Any
from weakref import WeakKeyDictionary

from blake3 import blake3

from pipelite.errors import UnhashableError
from pipelite.fingerprint import rules_numpy, rules_pandas, rules_stdlib  # noqa: F401  They register their rules.
from pipelite.fingerprint.digests import INLINE_CHARS, Identified, combine, identify
from pipelite.fingerprint.files import FileCache
from pipelite.fingerprint.objects import advice, identify_object, identify_own_state
from pipelite.fingerprint.rules import NAMED, NoStableHash, Rule, Walk, is_of_family, type_name
from pipelite.fingerprint.texts import identify_text

__all__ = ["dict_identity", "identify_value", "list_identity", "tuple_identity"]

#: Levels of nesting that are walked through; pickle, which stores the values, gives up soon after.
MAX_DEPTH = 300

#: Integers below this are written in decimal; Python refuses to write very long ones so.
_DECIMAL = 10**18

_NO_DEPTH = 1 << 62


def identify_value(
    value: Any,
    *,
    own_class: Callable[[type], str],
    own_function: Callable[[Any], str] | None = None,
    files: FileCache | None = None,
) -> str:
    """Identity of any value that has one.

    Parameters
    ----------
    own_class : function
        Gives the identity of the code of a class.
    own_function : function, optional
        Gives the identity of the code of a function; without it only functions of builtin modules have one.
    files : FileCache, optional
        Spares reading files again that did not change.

    Raises
    ------
    UnhashableError
        If the value, or a part of it, has no stable hash. Names the type, the place in the value, and the way out.
    """
    rule = _ATOMS.get(type(value)) or _FLAT.get(type(value))
    try:
        if rule is not None:
            return rule(value)
    except KeyError:
        pass  # It holds other containers.
    try:
        return _Walker(own_class, own_function, files)(value)
    except NoStableHash as exc:
        place = f" at {exc.place}" if exc.place else ""
        raise UnhashableError(
            f"a value of type {type_name(exc.kind)!r}{place} has no stable hash: {exc.reason}"
        ) from exc.__cause__
    except RecursionError:
        raise UnhashableError(_too_deep(value)) from None


def list_identity(parts: Iterable[str]) -> str:
    """Identity of a list whose elements have these identities."""
    return combine("list", parts)


def tuple_identity(parts: Iterable[str]) -> str:
    """Identity of a tuple whose elements have these identities."""
    return combine("tuple", parts)


def dict_identity(pairs: Iterable[tuple[str, str]]) -> str:
    """Identity of a dict from the identities of its keys and values, in any order."""
    return combine("dict", [part for pair in sorted(pairs) for part in pair])


class _Walker:
    """One walk through one value: notices cycles, and identifies a part that is met twice only once."""

    __slots__ = ("_active", "_done", "_outermost", "files", "own_class", "own_function")

    def __init__(
        self, own_class: Callable[[type], str], own_function: Callable[[Any], str] | None, files: FileCache | None
    ) -> None:
        self.own_class = own_class
        self.own_function = own_function
        self.files = files
        #: id of every container that is being walked through, to its depth.
        self._active: dict[int, int] = {}
        #: id to identity; the value is kept with it, so that no other value gets its id.
        self._done: dict[int, tuple[str, Any]] = {}
        #: Smallest depth that a back reference met below the current container leads to.
        self._outermost = _NO_DEPTH

    def __call__(self, value: Any) -> str:
        cls = type(value)
        atom = _ATOMS.get(cls)
        if atom is not None:
            return atom(value)
        flat = _FLAT.get(cls)
        if flat is not None:
            try:
                return flat(value)
            except KeyError:
                pass  # It holds other containers.
        key = id(value)
        done = self._done.get(key)
        if done is not None:
            return done[0]
        active = self._active
        depth = len(active)
        above = active.get(key)
        if above is not None:
            self._outermost = min(self._outermost, above)
            return f"cycle:{depth - above}"
        if depth >= MAX_DEPTH:
            raise RecursionError
        outermost, self._outermost = self._outermost, _NO_DEPTH
        active[key] = depth
        try:
            found = (_CONTAINERS.get(cls) or _rule_of(cls))(value, self)
        finally:
            del active[key]
        if self._outermost >= depth:
            # What refers to a container around it would have another identity elsewhere: that is not remembered.
            self._done[key] = found, value
            self._outermost = outermost
        else:
            self._outermost = min(self._outermost, outermost)
        return found

    def sequence(self, tag: str, items: Iterable[Any]) -> str:
        parts: list[str] = []
        try:
            for item in items:
                parts.append(self(item))  # noqa: PERF401  An error needs to know how far it came.
        except NoStableHash as exc:
            raise exc.at(f"[{len(parts)}]") from exc.__cause__
        return combine(tag, parts)

    def mapping(self, tag: str, items: Iterable[tuple[Any, Any]]) -> str:
        parts = []
        for key, value in items:
            name = self(key)
            try:
                parts.append((name, self(value)))
            except NoStableHash as exc:
                raise exc.at(f"[{_short(key)}]") from exc.__cause__
        parts.sort()
        return combine(tag, [part for pair in parts for part in pair])

    def attributes(self, tag: str, attributes: Mapping[str, Any]) -> str:
        parts: list[str] = []
        for name in sorted(attributes):
            try:
                parts += (identify_text(name), self(attributes[name]))
            except NoStableHash as exc:
                raise exc.at(f".{name}") from exc.__cause__
        return combine(tag, parts)


def _identify_int(value: int) -> str:
    if -_DECIMAL < value < _DECIMAL:
        return f"int:{value}"
    return identify("int", hex(value))


def _identify_bytes(value: bytes | bytearray) -> str:
    tag = type(value).__name__
    if len(value) * 2 <= INLINE_CHARS:
        return f"{tag}:{value.hex()}"
    return f"{tag}#{blake3(value).hexdigest()}"


#: Rules of exact types without parts. `bool` is a subclass of `int`, so types are compared exactly.
_ATOMS: dict[type, Callable[[Any], str]] = {
    NoneType: lambda value: "None:",
    bool: lambda value: "bool:True" if value else "bool:False",
    int: _identify_int,
    float: lambda value: f"float:{value!r}",
    complex: lambda value: f"complex:{value.real!r},{value.imag!r}",
    str: identify_text,
    bytes: _identify_bytes,
    bytearray: _identify_bytes,
    EllipsisType: lambda value: "Ellipsis:",
    NotImplementedType: lambda value: "NotImplemented:",
    Identified: lambda value: value.identity,
}


def _flat_list(value: list[Any]) -> str:
    return combine("list", [_ATOMS[type(item)](item) for item in value])


def _flat_tuple(value: tuple[Any, ...]) -> str:
    return combine("tuple", [_ATOMS[type(item)](item) for item in value])


def _flat_dict(value: dict[Any, Any]) -> str:
    return dict_identity([(_ATOMS[type(key)](key), _ATOMS[type(item)](item)) for key, item in value.items()])


#: The same for containers of such values only, which are most of all: KeyError for any other.
_FLAT: dict[type, Callable[[Any], str]] = {list: _flat_list, tuple: _flat_tuple, dict: _flat_dict}

#: Rules of exact builtin types with parts. They read a subclass as its base does, whatever it overrides.
_CONTAINERS: dict[type, Rule] = {
    list: lambda value, walk: walk.sequence("list", list.__iter__(value)),
    tuple: lambda value, walk: walk.sequence("tuple", tuple.__iter__(value)),
    dict: lambda value, walk: walk.mapping("dict", dict.items(value)),
    set: lambda value, walk: combine("set", sorted([walk(item) for item in set.__iter__(value)])),
    frozenset: lambda value, walk: combine("frozenset", sorted([walk(item) for item in frozenset.__iter__(value)])),
}

#: What makes the plain value out of an instance of a subclass of a builtin type.
_PLAIN: dict[type, Callable[[Any], Any]] = {
    int: int.__pos__,
    float: float.__pos__,
    complex: complex.__pos__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: lambda value: bytearray.__getitem__(value, slice(None)),
}

_RULES: WeakKeyDictionary[type, Rule] = WeakKeyDictionary()


def _rule_of(cls: type) -> Rule:
    rule = _RULES.get(cls)
    if rule is None:
        rule = _RULES[cls] = _find_rule(cls)
    return rule


def _find_rule(cls: type) -> Rule:
    if issubclass(cls, type):
        return rules_stdlib.identify_class
    if issubclass(cls, enum.Enum):
        return rules_stdlib.identify_enum_member
    for base in cls.__mro__:
        named = NAMED.get(type_name(base))
        if named is not None:
            return named if is_of_family(cls, base) else _subclass_rule(named, with_state=not base.__dictoffset__)
        if base in _CONTAINERS:
            return _subclass_rule(_CONTAINERS[base], with_state=True)
        if base in _PLAIN:
            return _subclass_rule(_plain_rule(_ATOMS[base], _PLAIN[base]), with_state=True)
    return identify_object


def _plain_rule(atom: Callable[[Any], str], plain: Callable[[Any], Any]) -> Rule:
    return lambda value, walk: atom(plain(value))


def _subclass_rule(base: Rule, *, with_state: bool) -> Rule:
    """Rule for a subclass: the content as the base sees it, the class, and the attributes that it added."""

    def rule(value: Any, walk: Walk) -> str:
        state = identify_own_state(value, walk) if with_state else ""
        return combine("instance", (walk.own_class(type(value)), base(value, walk), state))

    return rule


def _short(key: Any) -> str:
    """A key as people write it, where it is a plain one."""
    if type(key) in _ATOMS:
        text = repr(key)
        return text if len(text) <= 40 else f"{text[:37]}..."
    return f"a key of type {type_name(type(key))}"


def _too_deep(value: Any) -> str:
    return (
        f"a value of type {type_name(type(value))!r} has no stable hash: it is nested more than {MAX_DEPTH} levels "
        f"deep; {advice('nested')}"
    )
