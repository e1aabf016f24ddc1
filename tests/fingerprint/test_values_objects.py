"""Identities of instances, classes and functions."""

import collections
import copy
import dataclasses
import enum
import functools
import importlib
import itertools
import pickle
import re
import threading
import types
import weakref
import zoneinfo
from pathlib import Path, PurePath, PurePosixPath

import attrs
import pytest

from pipelite.errors import UnhashableError
from pipelite.fingerprint.modules import qualified_name
from pipelite.fingerprint.values import identify_value


def identify(value, own_class=qualified_name):
    return identify_value(value, own_class=own_class, own_function=qualified_name)


class Box:
    def __init__(self, content):
        self.content = content

    @functools.cached_property
    def size(self):
        return 1


class Slots:
    __slots__ = ("a", "b")


class Chosen:
    def __init__(self, kept, dropped):
        self.kept, self.dropped = kept, dropped

    def __getstate__(self):
        return {"kept": self.kept}


class Reduced:
    def __init__(self, x):
        self.x = x
        self.lock = threading.Lock()

    def __reduce__(self):
        return Reduced, (self.x,)


class Hiding(list):
    def __iter__(self):
        return iter([])


class Raising:
    def __reduce__(self):
        raise RuntimeError("not today")


@dataclasses.dataclass
class Data:
    x: int
    y: list


@attrs.define(slots=False, unsafe_hash=True, cache_hash=True)
class Cached:
    x: str


class Color(enum.Enum):
    RED = 1
    ROSE = 1  # noqa: PIE796
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Marker:
    """A constant, pickled by its name."""

    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return self.name


MISSING = Marker("MISSING")


def tzdata_folder():
    return Path(importlib.import_module("tzdata").__file__).parent / "zoneinfo"


def f():
    pass


def g():
    pass


def test_an_instance_counts_by_class_and_content():
    assert identify(Box([1])) == identify(Box([1]))
    assert identify(Box([1])) != identify(Box([2]))
    assert identify(Data(1, [2])) == identify(Data(1, [2]))
    assert identify(Data(1, [2])) != identify(Box([2]))


def test_an_instance_counts_with_the_code_of_its_class():
    assert identify(Box(1), lambda cls: "first version") != identify(Box(1), lambda cls: "second version")
    assert identify([Color.RED], lambda cls: "first version") != identify([Color.RED], lambda cls: "second version")


def test_slots_and_own_states_and_own_reductions_are_content():
    one, other = Slots(), Slots()
    one.a = other.a = 1
    assert identify(one) == identify(other)
    other.b = 2
    assert identify(one) != identify(other)

    assert identify(Chosen(1, threading.Lock())) == identify(Chosen(1, 2))
    assert identify(Chosen(1, 2)) != identify(Chosen(2, 2))
    assert identify(Reduced(1)) == identify(Reduced(1)) != identify(Reduced(2))


def test_what_an_instance_only_remembers_does_not_count():
    box, cached = Box(1), Cached("a")
    before = identify(box), identify(cached)

    assert (box.size, hash(cached)) == (1, hash(Cached("a")))

    assert (identify(box), identify(cached)) == before


def test_a_subclass_of_a_builtin_counts_with_its_class_and_its_real_content():
    assert identify(Hiding([1])) != identify([1])
    assert identify(Hiding([1])) != identify(Hiding([2]))
    with_attribute = Hiding([1])
    with_attribute.note = "x"
    assert identify(with_attribute) != identify(Hiding([1]))


def test_named_tuples_of_two_classes_differ():
    One = collections.namedtuple("One", "a")
    Two = collections.namedtuple("Two", "a")

    assert len({identify(One(1)), identify(Two(1)), identify((1,)), identify(One(2))}) == 4


def test_enum_members_differ_by_class_and_name_and_aliases_agree():
    assert identify(Color.RED) == identify(Color.ROSE)
    members = [Color.RED, Color.BLUE, Level.LOW, 1, Bits.A, Bits.A | Bits.B, Bits(0)]
    assert len({identify(member) for member in members}) == len(members)


def test_classes_functions_and_partials_are_values():
    values = [
        Box,
        Data,
        int,
        f,
        g,
        functools.partial(f),
        functools.partial(f, 1),
        functools.partial(f, x=1),
        Box(1).__init__,
    ]
    assert len({identify(value) for value in values}) == len(values)
    assert identify(functools.partial(f, 1)) == identify(functools.partial(f, 1))


def test_a_function_needs_the_fingerprint_of_its_code():
    with pytest.raises(UnhashableError, match=r"'function'.*`def`"):
        identify_value(f, own_class=qualified_name)


def test_a_pattern_counts_by_text_and_flags():
    assert identify(re.compile("a")) == identify(pickle.loads(pickle.dumps(re.compile("a"))))
    assert identify(re.compile("a")) != identify(re.compile("a", re.IGNORECASE))


def test_views_of_other_values_count_by_content():
    assert identify(types.MappingProxyType({"a": 1, "b": 2})) == identify(types.MappingProxyType({"b": 2, "a": 1}))
    assert identify(memoryview(b"ab")) == identify(memoryview(bytearray(b"ab"))) != identify(memoryview(b"ac"))
    with pytest.raises(UnhashableError, match="pass the value itself"):
        identify(weakref.ref(Box))


def test_a_constant_that_its_class_names_counts_by_name():
    assert identify(MISSING) == identify(copy.copy(MISSING)) != identify(Marker("OTHER"))


def test_a_zone_without_a_name_has_no_stable_hash():
    key, folder = (
        "UTC",
        next(Path(folder) for folder in [*zoneinfo.TZPATH, tzdata_folder()] if Path(folder, "UTC").exists()),
    )
    with (folder / key).open("rb") as file:
        zone = zoneinfo.ZoneInfo.from_file(file)

    with pytest.raises(UnhashableError, match=r"ZoneInfo\(name\)"):
        identify(zone)


def test_an_exception_counts_by_class_and_arguments():
    assert identify(ValueError("a")) == identify(ValueError("a"))
    assert identify(ValueError("a")) != identify(TypeError("a")) != identify(TypeError("b"))


def test_a_pure_path_is_a_name_and_a_path_is_content(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("1")

    assert identify(PurePath("a.csv")) == identify(PurePosixPath("a.csv"))
    assert identify(PurePath("a.csv")) != identify(file)
    before = identify(file)
    file.write_text("2")
    assert identify(file) != before
    with pytest.raises(UnhashableError, match=r"at \['data'\].*'/no/such' does not exist"):
        identify({"data": Path("/no/such")})


def test_an_object_that_holds_itself_has_an_identity():
    box = Box(1)
    box.content = [box]
    again = Box(1)
    again.content = [again]

    assert identify(box) == identify(again)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Raising(), "Raising'.*not today"),
        (Box([Box(threading.Lock())]), r"'_thread.lock' at \.content\[0\]\.content "),
        (itertools.count(), "'itertools.count'.*only once"),
    ],
)
def test_an_instance_without_a_stable_hash_is_an_error_that_names_it(value, words):
    with pytest.raises(UnhashableError, match=words):
        identify(value)


def test_a_long_chain_of_instances_is_an_error_and_not_a_crash():
    box = None
    for _ in range(100_000):
        box = Box(box)

    with pytest.raises(UnhashableError, match="levels deep"):
        identify(box)
    while box is not None:  # Freed one by one: Python's own clean-up of such a chain is deep too.
        box = box.content
