"""A small program whose step reaches code in every way that people write it."""

import asyncio
import contextlib
import enum
import functools
import importlib
import typing
from dataclasses import dataclass, field

import attrs
import fakelib
import helpers
import shop.prices as prices
from helpers import clean
from shop import discount
from stars import *  # noqa: F403

try:
    from fast import scale
except ImportError:
    from slow import scale

RATE = 0.5
NAMES = ["a", "b"]
UNUSED = 1


def times(factor):
    def wrap(func):
        @functools.wraps(func)
        def inner(*args, **kwargs):
            return func(*args, **kwargs) * factor

        return inner

    return wrap


@times(3)
def decorated(x):
    return x + 1


def make_adder(amount):
    def add(x):
        return x + amount

    return add


add_five = make_adder(5)


def with_defaults(x, low=1, *, high=10):
    return min(max(x, low), high)


def typed(x: int, y: "float" = 2.0) -> float:
    """Explain nothing."""
    total: float = x + y
    # A remark.
    return total


class Other:
    def method(self):
        return "other"


class Base:
    limit = 7

    def shift(self, x):
        return x - self.limit


class Cleaner(Base):
    """Cleans."""

    unit = "kg"

    def __init__(self, weight):
        self.weight = weight

    def clean(self, x):
        return self.shift(x) * self.weight

    @property
    def share(self):
        return self.weight / 4

    @staticmethod
    def floor(x):
        return x // 8

    @classmethod
    def heavy(cls):
        return cls(99)


CLEANER = Cleaner(12)
SHIFT = CLEANER.shift


@dataclass(order=True)
class Point:
    x: int
    y: int = 13
    tags: list = field(default_factory=list)

    def __post_init__(self):
        self.x += 14


@attrs.define
class Box:
    width: int = 15


class Pair(typing.NamedTuple):
    left: int
    right: int = 16


class Options(typing.TypedDict):
    depth: int


class Color(enum.Enum):
    RED = 17
    BLUE = 18


class Power:
    def __init__(self, exponent):
        self.exponent = exponent

    def __call__(self, x):
        return x**self.exponent + 19


power = Power(2)


class Meta(type):
    def __new__(mcs, name, bases, namespace):
        namespace["made"] = 20
        return super().__new__(mcs, name, bases, namespace)


class Made(metaclass=Meta):
    pass


first, second = lambda x: x + 21, lambda x: x + 22
halve = functools.partial(with_defaults, high=23)


def double(x):
    return x * 24


def triple(x):
    return x * 25


OPERATIONS = {"double": double, "triple": triple}
CHAIN = [double, triple]
REGISTRY = {}


def register(func):
    REGISTRY[func.__name__] = func
    return func


@register
def registered(x):
    return x + 26


@functools.lru_cache(maxsize=8)
def cached(x):
    return x + 27


@functools.singledispatch
def show(x):
    return str(x)


@show.register(int)
def show_int(x):
    return f"number {x}"


@contextlib.contextmanager
def opened(x):
    yield x + 28


def is_even(n):
    return True if n == 0 else is_odd(n - 1)


def is_odd(n):
    return False if n == 0 else is_even(n - 1)


def numbers(n):
    for i in range(n):
        yield i * 29


async def fetch(x):
    await asyncio.sleep(0)
    return x + 30


def count():
    total = 31

    def more():
        nonlocal total
        total += 32
        return total

    return more()


def choose(x):
    match x:
        case {"kind": "circle", "r": r}:
            return r * 33
        case [a, *rest] if rest:
            return a
        case _:
            return None


def syntax(x, j=0):
    value = 0
    value += 1
    parts = [i + 34 for i in x if i]
    text = f"rate: {RATE:>10} of {x!r}"
    if (n := len(parts)) > 35:
        parts = parts[1:36]
    try:
        value = {"key": x[n], "other": 37, x: 1}
    except (KeyError, IndexError):
        value = (1000, 0x10, "single", "joined")
    return text, value, lambda y: y + 38, not j, "constant"


def look_up(name):
    return getattr(prices, name)


def inside(x):
    import lazy
    from lazy import constants as fixed

    return lazy.late(x) + fixed.LATE


def by_name(x):
    return importlib.import_module("named").run(x)


def unrelated(x):
    return x + UNUSED


def step(x):
    with opened(x) as y:
        decorated(y)
    add_five(x)
    with_defaults(x)
    typed(x)
    CLEANER.clean(x)
    SHIFT(x)
    Point(1)
    Box()
    Pair(1)
    Options(depth=1)
    Color.RED
    power(x)
    Made()
    first(x)
    second(x)
    halve(x)
    OPERATIONS[x](x)
    [operation(x) for operation in CHAIN]
    REGISTRY["registered"](x)
    cached(x)
    show(x)
    is_even(x)
    list(numbers(x))
    asyncio.run(fetch(x))
    count()
    choose(x)
    syntax(x, j=NAMES)
    look_up(x)
    inside(x)
    by_name(x)
    fakelib.compute(x)
    clean(x)
    helpers.tidy(x)
    discount(x)
    starred(x)  # noqa: F405
    scale(x)
    return x
