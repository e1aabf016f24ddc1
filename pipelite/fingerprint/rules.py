"""Rules that turn values of third-party types into identities, found by the name of the type.

By name, because a rule for numpy arrays must not import numpy: where a value is an array, numpy is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from pipelite.fingerprint.files import FileCache

Rule = Callable[[Any, "Walk"], str]


class Walk(Protocol):
    """What a rule may ask for while a value is walked through."""

    own_class: Callable[[type], str]
    own_function: Callable[[Any], str] | None
    files: FileCache | None

    def __call__(self, value: Any) -> str:
        """Identity of a part of the value."""

    def sequence(self, tag: str, items: Iterable[Any]) -> str:
        """Identity of parts in their order; a part that has none is named by its position."""

    def mapping(self, tag: str, items: Iterable[tuple[Any, Any]]) -> str:
        """Identity of key-value pairs in any order; a value that has none is named by its key."""

    def attributes(self, tag: str, attributes: Mapping[str, Any]) -> str:
        """Identity of named attributes in any order; one that has none is named as `.name`."""


class NoStableHash(Exception):
    """A part of a value has no stable hash; collects the place of the part on the way up."""

    def __init__(self, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.kind = type(value)
        self.reason = reason
        self.places: list[str] = []

    def at(self, place: str) -> NoStableHash:
        """The same, seen from one level higher."""
        self.places.append(place)
        return self

    @property
    def place(self) -> str:
        return "".join(reversed(self.places))


#: Rules by "module.qualname" of a type; they hold for its subclasses too.
NAMED: dict[str, Rule] = {}

#: Names of types whose rule tells the subclasses apart that the type's own package makes.
FAMILIES: set[str] = set()


def rule_for(*names: str, family: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for the types with these names (a type that moved between versions has several).

    The class of an instance of a subclass counts besides what the rule gives. Not so with `family`, for subclasses
    from the same package: there the rule says itself what they differ in.
    """

    def register(rule: Rule) -> Rule:
        NAMED.update(dict.fromkeys(names, rule))
        if family:
            FAMILIES.update(names)
        return rule

    return register


def is_of_family(cls: type, base: type) -> bool:
    """Whether the rule of `base` is all that an instance of `cls` needs."""
    same_package = cls.__module__.partition(".")[0] == base.__module__.partition(".")[0]
    return cls is base or (same_package and type_name(base) in FAMILIES)


def type_name(cls: type) -> str:
    """Name of a type for people and for rules: "module.qualname", without the module for builtins."""
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def type_names(cls: type) -> Iterator[str]:
    """Names of a type and of its bases, nearest first."""
    return map(type_name, cls.__mro__)
