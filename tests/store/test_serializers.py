"""Which values are kept how, and that they come back as they were."""

import json
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from pipelite.errors import ArtifactError
from pipelite.store import serializers
from pipelite.store.artifacts import ArtifactStore
from pipelite.store.serializers import (
    INLINE_BYTES,
    decode_plain,
    decode_scalar,
    encode_plain,
    encode_scalar,
    is_type,
    register_serializer,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=10,
)


def put(store, value):
    return store.put(value, output="result", step="make", identify=lambda value: "identity")


@given(PLAIN)
def test_a_small_plain_value_comes_back_exactly(value):
    text = encode_plain(value)

    assert text is not None
    assert repr(decode_plain(text)) == repr(value)
    assert text.encode()


@pytest.mark.parametrize(
    "value",
    [
        (1,),
        [(1,)],
        {1: 2},
        {"a": {1}},
        math.nan,
        [math.inf],
        b"a",
        Decimal(1),
        np.float64(1),
        "\ud83d",
        ["\ud83d", "\ude00"],
        "x" * INLINE_BYTES,
        [0] * INLINE_BYTES,
        [10**5000],
    ],
)
def test_any_other_value_is_not_plain(value):
    assert encode_plain(value) is None


def test_a_list_that_holds_itself_and_a_deep_nest_are_not_plain():
    loop, deep = [], []
    loop.append(loop)
    for _ in range(100_000):
        deep = [deep]

    assert encode_plain(loop) is None
    assert encode_plain(deep) is None


@pytest.mark.parametrize(
    "value", [np.float64(0.1), np.float32(0.1), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True), np.float16(-0.0)]
)
def test_a_number_of_numpy_keeps_its_type(value):
    found = decode_scalar(encode_scalar(value))

    assert type(found) is type(value)
    assert found.tobytes() == value.tobytes()


@pytest.mark.parametrize("value", [1.0, np.float64("nan"), np.datetime64("2026-01-01"), np.str_("a"), np.complex64(1)])
def test_any_other_number_is_no_scalar(value):
    assert encode_scalar(value) is None


def test_kinds_follow_the_type(tmp_path):
    store = ArtifactStore(tmp_path)
    values = {
        "json": {"a": [1, 2.5, None]},
        "scalar": np.float64(0.5),
        "npy": np.arange(3),
        "dataframe": pd.DataFrame({"a": [1]}),
        "estimator": LinearRegression(),
        "pickle": (1, 2),
    }

    assert {kind: put(store, value).kind for kind, value in values.items()} == {kind: kind for kind in values}
    assert put(store, pd.Series([1])).kind == "dataframe"
    assert put(store, np.array([None])).kind == "pickle"
    assert put(store, np.ma.masked_array([1])).kind == "pickle"


class Temperature:
    def __init__(self, degrees):
        self.degrees = degrees


class Hot(Temperature):
    pass


class TemperatureSerializer:
    name = "temperature"

    def matches(self, value):
        return is_type(value, f"{__name__}.Temperature")

    def save(self, value, path):
        path.write_text(json.dumps(value.degrees))

    def load(self, path):
        return Temperature(json.loads(path.read_text()))


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(serializers, "_registered", {})
    register_serializer(TemperatureSerializer())


def test_a_registered_serializer_stores_its_types(tmp_path, registered):
    store = ArtifactStore(tmp_path)

    ref = put(store, Hot(31))

    assert (ref.kind, ref.digest) == ("temperature", "identity")
    assert store.load(ref).degrees == 31
    assert store.path(ref).read_text() == "31"
    assert store.path(ref).stat().st_mode & 0o222 == 0
    assert store.is_intact(ref)
    assert store.verify(ref)


def test_a_serializer_that_is_not_registered_here_is_named(tmp_path, registered, monkeypatch):
    store = ArtifactStore(tmp_path)
    ref = put(store, Temperature(31))
    monkeypatch.setattr(serializers, "_registered", {})

    with pytest.raises(ArtifactError, match=r"'temperature'.*not registered"):
        store.load(ref)


def test_a_serializer_cannot_take_a_kind_of_pipelite(registered):
    serializer = TemperatureSerializer()
    serializer.name = "pickle"

    with pytest.raises(ValueError, match="pickle"):
        register_serializer(serializer)
