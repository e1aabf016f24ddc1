"""Binding of arguments to names, and back."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelite.define import step, trace
from pipelite.define.signatures import BindError, read_signature
from pipelite.errors import DefinitionError

_MISSING = object()


# Each returns its arguments in the order of its signature.
def plain(a, b=2, *, c=3):
    return a, b, c


def greedy(a, *rest, flag=False, **extra):
    return a, rest, flag, extra


def positional(a, /, b, **extra):
    return a, b, extra


class Unset:
    """A marker that means something only by being itself."""


UNSET = Unset()


def with_markers(a, b=_MISSING, c=UNSET, d=5):
    return a, b is _MISSING, c is UNSET, d


def bind(func, *args, **kwargs):
    return read_signature(func).bind(args, kwargs)


def test_defaults_are_filled_in_in_the_order_of_the_signature():
    assert list(bind(plain, c=1, a=0).items()) == [("a", 0), ("b", 2), ("c", 1)]
    assert bind(plain, 0, 1) == {"a": 0, "b": 1, "c": 3}


def test_star_arguments_become_a_tuple_and_a_dict():
    assert bind(greedy, 1, 2, 3, flag=True, x=4) == {"a": 1, "rest": (2, 3), "flag": True, "extra": {"x": 4}}
    assert bind(greedy, 1) == {"a": 1, "rest": (), "flag": False, "extra": {}}


def test_a_keyword_may_have_the_name_of_an_argument_by_position_only():
    assert bind(positional, 1, 2, a=3) == {"a": 1, "b": 2, "extra": {"a": 3}}


def test_a_marker_default_is_left_to_the_function():
    inputs = bind(with_markers, 1)
    assert inputs == {"a": 1, "d": 5}

    args, kwargs = read_signature(with_markers).split(inputs)
    assert with_markers(*args, **kwargs) == (1, True, True, 5)


def test_a_default_with_state_is_no_marker():
    def func(model=ValueError("x"), names=frozenset(), kind=Unset):
        return model

    assert list(bind(func)) == ["model", "names", "kind"]


@given(
    st.integers(),
    st.lists(st.integers(), max_size=3),
    st.booleans(),
    st.dictionaries(st.sampled_from("xyz"), st.none()),
)
def test_split_is_the_reverse_of_bind(a, rest, flag, extra):
    signature = read_signature(greedy)
    args, kwargs = signature.split(signature.bind((a, *rest), {"flag": flag, **extra}))
    assert greedy(*args, **kwargs) == greedy(a, *rest, flag=flag, **extra)


@pytest.mark.parametrize("func", [plain, greedy, positional])
@pytest.mark.parametrize("args", [(), (1,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("kwargs", [{}, {"a": 1}, {"b": 1}, {"c": 1}, {"b": 1, "c": 1}, {"a": 1, "b": 1, "q": 1}])
def test_it_accepts_what_python_accepts(func, args, kwargs):
    try:
        expected = func(*args, **kwargs)
    except TypeError:
        with pytest.raises(BindError, match=r"got|takes"):
            bind(func, *args, **kwargs)
    else:
        inputs = bind(func, *args, **kwargs)
        assert list(inputs) == list(inspect.signature(func).parameters)
        assert tuple(inputs.values()) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit: fit(1), "got no value for 'rate'; it takes fit(train, rate, *, seed=0)"),
        (lambda fit: fit(), "got no value for 'train' and 'rate'; it takes fit("),
        (
            lambda fit: fit(1, ratee=2),
            "takes no argument 'ratee'; did you mean 'rate'? It takes fit(train, rate, *, seed=0)",
        ),
        (lambda fit: fit(1, 2, zzz=2), "takes no argument 'zzz'; it takes fit("),
        (lambda fit: fit(1, 2, 3), "got 3 arguments by position but takes 2 arguments by position; it takes fit("),
        (lambda fit: fit(1, 2, train=3), "got 'train' twice, by position and by name; it takes fit("),
    ],
)
def test_wrong_arguments_are_told_with_the_step_the_place_and_the_signature(call, message):
    @step
    def fit(train, rate, *, seed=0):
        return train

    with pytest.raises(DefinitionError) as caught:
        trace(lambda: call(fit), {}, name="p")

    assert str(caught.value).startswith("step 'fit' (test_signatures.py:")
    assert message in str(caught.value)
    assert isinstance(caught.value, TypeError)


def test_an_argument_by_position_only_is_missing_if_only_given_by_name():
    with pytest.raises(BindError, match="got no value for 'a'"):
        bind(positional, a=1, b=2)


def test_an_argument_by_position_only_given_by_name_is_told():
    with pytest.raises(BindError, match="takes 'a' by position only, not by name"):
        read_signature(lambda a, /: a).bind((), {"a": 1})


def test_a_long_default_is_left_out_of_the_message():
    assert str(read_signature(lambda a, b="x" * 50, *c, **d: a)) == "(a, b=..., *c, **d)"
