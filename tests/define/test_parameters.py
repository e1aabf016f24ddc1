"""Parameters of a pipeline: types by annotation or default, conversion, and what a wrong one says."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Dict, List, Literal, NewType, Optional, Tuple, Union  # noqa: UP035

import pytest

from pipelite.define import bind_parameters, parameters_of, step, trace
from pipelite.errors import DefinitionError, ParameterError

if TYPE_CHECKING:
    from nowhere import Unknown

UserId = NewType("UserId", int)


class Mode(enum.Enum):
    FAST = 1
    EXACT = 2
    QUICK = 1  # noqa: PIE796


class Colour(enum.StrEnum):
    RED = "red"


@dataclass
class Model:
    rate: float


def bound(annotation, value, *, text=False):
    def train(x):
        return x

    train.__annotations__ = {} if annotation is None else {"x": annotation}
    return bind_parameters(parameters_of(train), {"x": value}, text=text, pipeline="train")["x"]


def wrong(annotation, value, *, text=False) -> str:
    with pytest.raises(ParameterError) as caught:
        bound(annotation, value, text=text)
    assert caught.value.parameter == "x"
    return str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (str, "a", "a"),
        (str, Colour.RED, "red"),
        (int, 5, 5),
        (float, 5, 5.0),
        (float, 0.5, 0.5),
        (bool, True, True),
        (Path, "a/b", Path("a/b")),
        (Path, Path("a"), Path("a")),
        (date, date(2026, 1, 31), date(2026, 1, 31)),
        (date, "2026-01-31", date(2026, 1, 31)),
        (datetime, datetime(2026, 1, 31, 12), datetime(2026, 1, 31, 12)),
        (datetime, "2026-01-31T12:00:00", datetime(2026, 1, 31, 12)),
        (Mode, Mode.FAST, Mode.FAST),
        (Mode, "EXACT", Mode.EXACT),
        (Mode, "QUICK", Mode.FAST),
        (Literal["a", "b"], "b", "b"),
        (Literal[1, True], True, True),
        (Literal["a", None], None, None),
        (list, [1, "a"], [1, "a"]),
        (list[int], (1, 2), [1, 2]),
        (List[int], [1], [1]),  # noqa: UP006
        (list[float], [1, 2.5], [1.0, 2.5]),
        (List, [1], [1]),  # noqa: UP006
        (Sequence[int], [1], [1]),
        (Sequence, [1], [1]),
        (tuple[int, ...], [1, 2], (1, 2)),
        (Tuple[int, ...], (1,), (1,)),  # noqa: UP006
        (dict, {"a": 1}, {"a": 1}),
        (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
        (Dict[str, float], {"a": 1}, {"a": 1.0}),  # noqa: UP006
        (Mapping[int, Mode], {"1": "FAST"}, {1: Mode.FAST}),
        (int | None, None, None),
        (Optional[int], 3, 3),  # noqa: UP045
        (Union[int, str], "3", "3"),  # noqa: UP007
        (float | int, 3, 3),
        (float | int, 3.0, 3.0),
        (list[int] | None, None, None),
        (Annotated[int, "rows"], 3, 3),
        (UserId, 3, 3),
        (Any, {1, 2}, {1, 2}),
        (None, object, object),
        (Model, Model(0.5), Model(0.5)),
        (type[int], int, int),
    ],
)
def test_a_value_from_python_is_converted_where_nothing_is_lost(annotation, value, expected):
    result = bound(annotation, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (str, 5, "pipeline 'train': parameter 'x' takes a text, but got 5 (int)"),
        (str, Path("a"), "takes a text, but got PosixPath('a') (PosixPath)"),
        (str, None, "takes a text, but got None (NoneType)"),
        (int, 5.0, "takes a whole number, but got 5.0 (float)"),
        (int, True, "takes a whole number, but got True (bool)"),
        (int, "5", "takes a whole number, but got '5' (str)"),
        (float, True, "takes a number, but got True (bool)"),
        (float, "0.1", "takes a number, but got '0.1' (str)"),
        (float, 10**400, "(int); it is too large"),
        (bool, 1, "takes true or false, but got 1 (int)"),
        (Path, 5, "takes a path, but got 5 (int)"),
        (Path, "", "takes a path, but got '' (str); an empty path names nothing"),
        (date, datetime(2026, 1, 31), "takes a date such as 2026-01-31, but got datetime.datetime(2026, 1, 31, 0, 0)"),
        (date, "31.1.2026", "but got '31.1.2026' (str); Invalid isoformat string"),
        (datetime, date(2026, 1, 31), "takes a date and time such as"),
        (Mode, "FSAT", "takes one of FAST, EXACT, but got 'FSAT' (str); did you mean 'FAST'?"),
        (Mode, 1, "takes one of FAST, EXACT, but got 1 (int)"),
        (Literal["fast", "exact"], "exakt", "takes one of fast, exact, but got 'exakt' (str); did you mean 'exact'?"),
        (Literal[1, 2], True, "takes one of 1, 2, but got True (bool)"),
        (list[int], [1, "a"], "takes a list, each element a whole number, but got [1, 'a'] (list); element [1] is 'a'"),
        (list, "ab", "takes a list, but got 'ab' (str)"),
        (
            dict[str, int],
            {"a": "b"},
            "takes a dict, each value a whole number, but got {'a': 'b'} (dict); ['a'] is 'b'",
        ),
        (dict[str, int], {1: 1}, "the key 1 is wrong"),
        (dict, [1], "takes a dict, but got [1] (list)"),
        (int | None, "a", "takes a whole number or None, but got 'a' (str)"),
        (int | bool, "a", "takes a whole number or true or false, but got 'a' (str)"),
    ],
)
def test_a_wrong_value_says_what_came_and_what_is_expected(annotation, value, message):
    assert message in wrong(annotation, value)


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (str, "none", "none"),
        (str, "", ""),
        (int, "-5", -5),
        (int, "+5", 5),
        (float, "5", 5.0),
        (float, "1e-3", 0.001),
        (bool, "true", True),
        (bool, "false", False),
        (Path, "a b/c", Path("a b/c")),
        (date, "2026-01-31", date(2026, 1, 31)),
        (datetime, "2026-01-31T12:30", datetime(2026, 1, 31, 12, 30)),
        (Mode, "FAST", Mode.FAST),
        (Literal["a", 1, True], "1", 1),
        (Literal["a", 1, True], "true", True),
        (list[int], "[1, 2]", [1, 2]),
        (list[Path], '["a"]', [Path("a")]),
        (list, '[1, "a", null]', [1, "a", None]),
        (tuple[int, ...], "[1]", (1,)),
        (dict[str, float], '{"a": 1}', {"a": 1.0}),
        (dict[int, str], '{"1": "a"}', {1: "a"}),
        (int | None, "none", None),
        (int | None, "null", None),
        (int | None, "5", 5),
        (str | None, "None", None),
        (Literal["none"] | None, "none", "none"),
        (str | int, "5", 5),
        (str | int, "a", "a"),
        (None, "[1]", [1]),
        (None, '"a"', "a"),
        (Any, "null", None),
    ],
)
def test_text_is_converted_by_type(annotation, text, expected):
    result = bound(annotation, text, text=True)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "text", "message"),
    [
        (int, "5.0", "takes a whole number, but got '5.0' (str)"),
        (int, "1_000", "takes a whole number"),
        (int, " 5", "takes a whole number"),
        (int, "", "takes a whole number"),
        (int, "\u0665", "takes a whole number"),
        (float, "abc", "takes a number, but got 'abc' (str)"),
        (float, "1_0", "takes a number"),
        (bool, "True", "takes true or false, but got 'True' (str)"),
        (bool, "1", "takes true or false"),
        (bool, "yes", "takes true or false"),
        (Mode, "1", "takes one of FAST, EXACT"),
        (Mode, "fast", "takes one of FAST, EXACT"),
        (Literal["a", 1], "2", "takes one of a, 1"),
        (list[int], "1,2", "as text it is JSON, and this is none"),
        (list[int], '["1"]', "element [0] is '1'"),
        (list, "[NaN]", "NaN is not in JSON"),
        (dict, "[1]", "takes a dict"),
        (int | None, "nil", "takes a whole number or None"),
        (None, "bike", "without an annotation it is read as JSON, where a text has quotes: '\"bike\"'"),
        (
            Model,
            "x",
            "takes a Model, but got 'x' (str); it has no form as text; run the pipeline from Python to pass it",
        ),
    ],
)
def test_text_is_converted_strictly(annotation, text, message):
    assert message in wrong(annotation, text, text=True)


def test_json_values_beside_texts_are_taken_as_they_are_typed():
    assert bound(float, 1, text=True) == 1.0
    assert bound(list[date], ["2026-01-31"], text=True) == [date(2026, 1, 31)]
    assert "takes a whole number, but got 5.5" in wrong(int, 5.5, text=True)


def test_numbers_of_numpy_count_as_what_they_are():
    numpy = pytest.importorskip("numpy")
    for annotation, value, expected in [
        (int, numpy.int64(5), 5),
        (float, numpy.float32(0.5), 0.5),
        (float, numpy.int8(5), 5.0),
        (bool, numpy.bool_(True), True),
        (str, numpy.str_("a"), "a"),
        (list[int], [numpy.int64(5)], [5]),
        (Literal[1, 2], numpy.int64(2), 2),
    ]:
        result = bound(annotation, value)
        assert (result, type(result)) == (expected, type(expected))
    assert "takes a whole number" in wrong(int, numpy.float64(5))
    assert "takes a whole number" in wrong(int, numpy.bool_(True))
    assert type(bound(None, numpy.int64(5))) is numpy.int64


def test_without_an_annotation_the_type_of_the_default_counts():
    def train(
        rate=0.1, n=5, on=False, folder=Path("a"), mode=Mode.FAST, day=date(2026, 1, 1), names=("a",), nothing=None
    ):
        pass

    specs = {spec.name: spec for spec in parameters_of(train)}
    kinds = {name: spec.type.kind for name, spec in specs.items()}
    assert kinds == {
        "rate": "float",
        "n": "int",
        "on": "bool",
        "folder": "path",
        "mode": "enum",
        "day": "date",
        "names": "tuple",
        "nothing": "json",
    }
    with pytest.raises(ParameterError, match=r"parameter 'n' takes a whole number, but got 0\.5"):
        bind_parameters(specs.values(), {"n": 0.5})


def test_annotations_as_texts_are_resolved_where_they_can_be():
    class Local(enum.Enum):
        A = 1

    def train(a: int, b: Unknown, c: Local | None = None, d: list[Mode] = ()):  # type: ignore[assignment]
        return Local

    specs = {spec.name: spec for spec in parameters_of(train)}
    assert specs["a"].kind == "a whole number"
    assert (specs["b"].type.kind, specs["b"].kind) == ("other", "an Unknown")
    assert specs["c"].kind == "one of A or None"
    assert specs["d"].kind == "a list, each element one of FAST, EXACT"
    values = bind_parameters(specs.values(), {"a": 1, "b": object, "c": "A"})
    assert values == {"a": 1, "b": object, "c": Local.A, "d": []}


def test_defaults_are_filled_in_converted_and_never_shared():
    def train(data: Path, rate: float = 1, names: list[str] = ["a"], model: Model | None = None):  # noqa: B006
        pass

    specs = parameters_of(train)
    first = bind_parameters(specs, {"data": "x"})
    assert first == {"data": Path("x"), "rate": 1.0, "names": ["a"], "model": None}
    assert type(first["rate"]) is float
    first["names"].append("b")
    assert bind_parameters(specs, {"data": "x"})["names"] == ["a"]


def test_values_come_in_the_order_of_the_signature():
    specs = parameters_of(lambda a, b=2, *, c: None)
    assert list(bind_parameters(specs, {"c": 3, "a": 1}).items()) == [("a", 1), ("b", 2), ("c", 3)]


def test_an_unknown_parameter_is_told_with_the_nearest_name():
    specs = parameters_of(lambda data, reg_rate=0.1: None)
    with pytest.raises(ParameterError) as caught:
        bind_parameters(specs, {"data": 1, "regrate": 1}, pipeline="train")
    assert str(caught.value) == (
        "pipeline 'train' has no parameter 'regrate'; did you mean 'reg_rate'? It takes data, reg_rate"
    )
    assert caught.value.parameter == "regrate"

    with pytest.raises(ParameterError, match="has no parameter 'zzz'; it takes none"):
        bind_parameters((), {"zzz": 1})


def test_all_missing_parameters_are_listed():
    def train(data: Path, reg_rate: float, seed: int = 0):
        pass

    with pytest.raises(ParameterError) as caught:
        bind_parameters(parameters_of(train), {}, pipeline="train")
    assert str(caught.value) == "pipeline 'train' needs values for 'data' (a path) and 'reg_rate' (a number)"
    assert caught.value.parameter == "data"


def test_the_output_of_a_step_may_be_the_parameter_of_a_pipeline_called_in_another():
    load = step(lambda: 1)
    specs = parameters_of(train_with_numbers)

    def body():
        one, many = load(), [load()]
        values = bind_parameters(specs, {"rate": one, "rates": many}, pipeline="inner")
        assert values["rate"] is one
        assert values["rates"] is many

    trace(body, {}, name="outer")


def train_with_numbers(rate: float, rates: list[float]):
    pass


async def asynchronous():
    pass


def generator():
    yield


@pytest.mark.parametrize(
    ("func", "message"),
    [
        (lambda *paths: None, r"takes \*paths, and a run records its parameters by name"),
        (lambda **options: None, r"takes \*\*options, and a run records"),
        (lambda a, /: None, "takes 'a' by position only, but parameters are given by name"),
        (asynchronous, "pipeline 'asynchronous' .* is an async function"),
        (generator, "pipeline 'generator' .* is a generator"),
        (max, "Python cannot tell which arguments it takes"),
    ],
)
def test_a_function_that_cannot_be_a_pipeline_says_why(func, message):
    with pytest.raises(DefinitionError, match=message):
        parameters_of(func)


def test_a_default_that_is_not_of_its_annotation_is_a_mistake_of_the_definition():
    def train(rate: float = "high"):  # type: ignore[assignment]
        pass

    with pytest.raises(DefinitionError) as caught:
        parameters_of(train, pipeline="nightly")
    assert "pipeline 'nightly' (test_parameters.py:" in str(caught.value)
    assert "the default of 'rate' is 'high' (str), but its annotation takes a number" in str(caught.value)


def test_a_specification_describes_itself_in_json():
    def train(mode: Mode, data: Path = Path("a"), rates: list[float] | None = None, model: Model = Model(1.0)):
        pass

    described = [spec.describe() for spec in parameters_of(train)]
    assert json.loads(json.dumps(described)) == described
    assert described[0] == {
        "name": "mode",
        "type": "enum",
        "expected": "one of FAST, EXACT",
        "required": True,
        "nullable": False,
        "default": None,
        "choices": ["FAST", "EXACT"],
        "as_text": True,
    }
    assert (described[1]["default"], described[2]["default"], described[3]["as_text"]) == ("a", "none", False)
