"""Identities of builtin values: equal content agrees, another type, value or order does not."""

import collections
import copy
import datetime as dt
import decimal
import fractions
import pickle
import threading
import timeit
import zoneinfo
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelite.errors import UnhashableError
from pipelite.fingerprint.modules import qualified_name
from pipelite.fingerprint.values import dict_identity, identify_value, list_identity, tuple_identity


def identify(value):
    return identify_value(value, own_class=qualified_name)


LOOKALIKES = [
    None,
    "None",
    "",
    b"",
    bytearray(),
    0,
    0.0,
    -0.0,
    0j,
    False,
    1,
    1.0,
    True,
    "1",
    b"1",
    bytearray(b"1"),
    decimal.Decimal(1),
    decimal.Decimal("1.0"),
    fractions.Fraction(1),
    (1,),
    [1],
    {1},
    frozenset({1}),
    {1: 1},
    {1: None},
    {"1": 1},
    collections.deque([1]),
    collections.deque([1], maxlen=2),
    collections.Counter([1]),
    collections.OrderedDict({1: 1}),
    collections.defaultdict(int, {1: 1}),
    range(1),
    range(2),
    slice(1),
    slice(0, 1),
    [1, 2],
    [2, 1],
    (1, 2),
    [[1], 2],
    [[1, 2]],
    [1, [2]],
    [],
    (),
    {},
    set(),
    [[]],
    "ab",
    ["a", "b"],
    ["ab"],
    ["a,b"],
    "int:1",
    ["int:1"],
    "5:int:1",
    ...,
    dt.date(2026, 1, 1),
    dt.datetime.fromisoformat("2026-01-01"),
    dt.datetime.fromisoformat("2026-01-01").replace(fold=1),
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")),
    "2026-01-01",
    dt.timedelta(days=1),
    dt.timedelta(seconds=1),
    dt.time(1),
    float("nan"),
    float("inf"),
    10**18,
    -(10**18),
    hex(10**18),
    "a" * 64,
    "a" * 65,
    b"a" * 64,
    int,
    float,
    len,
    "abc".upper,
]

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(alphabet=st.characters())
    | st.binary()
    | st.dates(),
    lambda parts: st.lists(parts) | st.tuples(parts, parts) | st.dictionaries(st.text() | st.integers(), parts),
    max_leaves=12,
)


def form(value):
    """What tells two values apart: `==` takes 1 for True and 0.0 for -0.0."""
    if isinstance(value, list | tuple):
        return type(value), [form(part) for part in value]
    if isinstance(value, dict):
        return sorted((repr(key), repr(form(value[key]))) for key in value)
    return type(value), repr(value)


def test_values_that_look_alike_differ():
    found = [identify(value) for value in LOOKALIKES]

    alike = [(LOOKALIKES[a], LOOKALIKES[b]) for a, b in combinations(range(len(found)), 2) if found[a] == found[b]]
    assert not alike


@given(PLAIN)
def test_a_copy_has_the_same_identity(value):
    assert identify(copy.deepcopy(value)) == identify(value)
    assert identify(pickle.loads(pickle.dumps(value))) == identify(value)


@given(PLAIN, PLAIN)
def test_two_values_agree_exactly_if_they_have_the_same_form(one, other):
    assert (identify(one) == identify(other)) == (form(one) == form(other))


@given(PLAIN)
def test_an_identity_is_text_that_a_database_and_a_terminal_take(value):
    found = identify(value)

    assert found.encode("ascii").decode() == found
    assert found.isprintable()
    assert len(found) < 100


@given(st.dictionaries(st.text(), st.integers()), st.randoms(use_true_random=False))
def test_the_order_of_keys_and_members_does_not_count(value, rng):
    items = list(value.items())
    rng.shuffle(items)

    assert identify(dict(items)) == identify(value)
    assert identify({key for key, _ in items}) == identify(set(value))
    assert identify([dict(items), [1]]) == identify([value, [1]])


def test_the_order_counts_in_an_ordered_dict():
    assert identify(collections.OrderedDict(a=1, b=2)) != identify(collections.OrderedDict(b=2, a=1))


def test_a_container_is_known_by_the_identities_of_its_parts():
    parts = [identify(1), identify([2, [3]])]

    assert list_identity(parts) == identify([1, [2, [3]]])
    assert tuple_identity(parts) == identify((1, [2, [3]]))
    assert dict_identity([(identify("b"), parts[1]), (identify("a"), parts[0])]) == identify({"a": 1, "b": [2, [3]]})


def test_half_a_surrogate_pair_and_a_very_long_integer_have_identities():
    assert identify("\ud83d") != identify("\ude00") != identify("\ud83d\ude00")
    assert identify(10**5000) != identify(10**5000 + 1)


def test_a_list_that_holds_itself_is_walked_once():
    def loop(*items):
        value = [*items]
        value.append(value)
        return value

    assert identify(loop(1)) == identify(loop(1))
    assert identify(loop(1)) != identify(loop(2))
    assert identify([loop(1), 5]) == identify([loop(1), 5])
    shared = loop(1)
    assert identify([shared, shared]) == identify([loop(1), loop(1)])


def test_a_part_inside_two_cycles_counts_by_its_surroundings():
    def pair(x, y):
        a, b = [x], [y]
        a.append(b)
        b.append(a)
        return [a, b]

    assert identify(pair(1, 2)) == identify(pair(1, 2))
    assert identify(pair(1, 2)) != identify(pair(2, 1))


def test_a_part_that_is_shared_many_times_is_walked_once():
    value = [1]
    for _ in range(100):
        value = [value, value]

    assert identify(value)


def test_a_nest_of_a_hundred_thousand_lists_is_an_error_that_says_what_to_do():
    value = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(UnhashableError, match=r"'list'.*levels deep.*flatter"):
        identify(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"model": [threading.Lock()]}, r"'_thread.lock' at \['model'\]\[0\] .*inside the step"),
        ((1, (number for number in [1])), r"'generator' at \[1\] .*pass list\(\.\.\.\)"),
        ([iter([1])], r"'list_iterator' at \[0\] "),
        ({"f": lambda: 1}, r"'function' at \['f'\] "),
        ({3: {"m": threading}}, r"'module' at \[3\]\['m'\] .*import it inside"),
    ],
)
def test_a_value_without_a_stable_hash_is_named_with_its_place_and_the_way_out(value, words):
    with pytest.raises(UnhashableError, match=words):
        identify(value)


def test_an_open_file_is_refused_with_the_advice_to_pass_its_path(tmp_path):
    with open(tmp_path / "x", "w") as file, pytest.raises(UnhashableError, match=r"TextIOWrapper'.*pathlib\.Path"):
        identify([file])


def test_a_plain_value_costs_about_a_microsecond():
    for value, limit_us in [(5, 5), ("text", 5), ([1, 2, 3], 20), ({"a": 1}, 20)]:
        best_s = min(timeit.repeat(lambda value=value: identify(value), number=1000, repeat=5))
        assert best_s * 1000 < limit_us, value
