"""Values of more than thirty types, made anew wherever this is run: as a script, imported, or in a notebook."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import json
import os
import pathlib
import re
import sys
import uuid
import zoneinfo

import attrs
import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

WORDS = {"alpha", "beta", "gamma", "delta", "epsilon"}


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


@dataclasses.dataclass
class Options:
    depth: int = 3
    names: frozenset = frozenset(WORDS)


@attrs.frozen
class Point:
    x: float
    tags: frozenset


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a = set(WORDS)
        self.b = {word: len(word) for word in WORDS}


class Plain:
    def __init__(self):
        self.words = set(WORDS)
        self.me = self


class Sizes(dict):
    pass


Pair = collections.namedtuple("Pair", ["first", "second"])


def double(x):
    return 2 * x


def make_values():
    rng = np.random.default_rng(7)
    X = np.random.RandomState(0).rand(40, 3)
    cycle = [1, 2]
    cycle.append(cycle)
    model = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=3, random_state=0))
    frame = pd.DataFrame({"word": sorted(WORDS), "n": range(5), "x": [0.5, None, 2, 3, 4]})
    frame["kind"] = pd.Categorical(["u", "v", "u", "v", "u"])
    frame["at"] = pd.date_range("2026-01-01", periods=5, tz="Europe/Berlin")
    frame["count"] = pd.array([1, None, 3, 4, 5], dtype="Int64")
    return {
        "none": None,
        "bool": True,
        "int": 10**5000,
        "float": [0.1, -0.0, float("nan"), float("inf")],
        "complex": complex(1, -0.0),
        "str": "half a pair \ud83d, ünï",
        "bytes": b"\x00\xff",
        "bytearray": bytearray(b"abc"),
        "list": [1, [2, [3]]],
        "tuple": (1, "a", (None,)),
        "dict": {word: {word: 1} for word in WORDS},
        "set": set(WORDS),
        "frozenset": frozenset({frozenset(WORDS), frozenset({1})}),
        "range": range(2, 30, 4),
        "slice": slice(1, None, 2),
        "decimal": decimal.Decimal("1.10"),
        "fraction": fractions.Fraction(1, 3),
        "uuid": uuid.UUID(int=5),
        "datetime": dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC),
        "date and time": [dt.date(2026, 3, 1), dt.time(3, 4), dt.timedelta(days=2, microseconds=1)],
        "zone": zoneinfo.ZoneInfo("Europe/Berlin"),
        "enum": [Color.RED, Color.BLUE, Access.READ | Access.WRITE],
        "named tuple": Pair(1, WORDS),
        "dataclass": Options(),
        "attrs": Point(x=1.5, tags=frozenset(WORDS)),
        "slots": Slotted(),
        "own class": Plain(),
        "dict subclass": Sizes(a=1),
        "counter": collections.Counter("abracadabra"),
        "default dict": collections.defaultdict(list, {word: [1] for word in WORDS}),
        "ordered dict and deque": [collections.OrderedDict(b=1, a=2), collections.deque([1, 2], maxlen=3)],
        "pattern": re.compile(r"\d+", re.IGNORECASE),
        "partial": functools.partial(int, base=2),
        "function": double,
        "class": Options,
        "path": pathlib.Path(os.environ["SAMPLE_FOLDER"]),
        "array": np.arange(12.0).reshape(3, 4)[:, ::2],
        "object array": np.array([{"a": WORDS}, None, "x"], dtype=object),
        "structured array": np.array([(1, 2.5)], dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        "masked array": np.ma.masked_array([1, 2, 3], [False, True, False]),
        "numpy scalar and dtype": [np.float32(1.5), np.datetime64("2026-01-01"), np.dtype("<f4")],
        "generators": [rng, np.random.RandomState(1)],
        "frame": frame,
        "series": frame["word"],
        "index": [frame.index, pd.MultiIndex.from_product([["a", "b"], [1, 2]])],
        "timestamps": [pd.Timestamp("2026-01-01"), pd.Timedelta("1h"), pd.NaT, pd.NA, pd.Period("2026-01", "M")],
        "sparse": scipy.sparse.random(5, 5, density=0.4, random_state=0, format="csr"),
        "estimator": model.fit(X, (X[:, 0] > 0.5).astype(int)),
        "cycle": cycle,
    }


def print_identities():
    from pipelite.fingerprint import Fingerprinter

    fingerprinter = Fingerprinter()
    print(json.dumps({name: fingerprinter.value(value) for name, value in make_values().items()}))


if __name__ == "__main__" and "print" in sys.argv:
    print_identities()
