"""What can be a step, what cannot and why, and what a step is like."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import operator
import pickle
import sys

import pytest

from pipelite.define import Step, step, trace
from pipelite.errors import DefinitionError


@step
def load(path, n=3):
    """Read a file."""
    return f"{path}:{n}"


quick = load.with_options(timeout=5)


class Model:
    """A class with steps in it."""

    def __init__(self, rate):
        self.rate = rate

    @step
    def fit(self, train):
        return self.rate * train

    @staticmethod
    @step
    def plain(x):
        return x + 1

    @step
    @staticmethod
    def plain_too(x):
        return x + 1

    @classmethod
    @step
    def named(cls, x):
        return cls.__name__, x

    @step
    @classmethod
    def named_too(cls, x):
        return cls.__name__, x


class Submodel(Model):
    pass


class Scaler:
    """A callable object."""

    def __init__(self):
        self.map = "its own"

    def __call__(self, x):
        return 2 * x


async def fetch(url):
    return url


def rows():
    yield 1


def nodes_of(body):
    return trace(body, {}, name="sample").nodes


def test_a_step_called_outside_of_a_pipeline_is_its_function():
    assert load("a.csv") == "a.csv:3"
    assert load("a.csv", n=1) == "a.csv:1"


def test_a_step_reads_as_its_function():
    assert load.__name__ == "load"
    assert load.__doc__ == "Read a file."
    assert load.__module__ == __name__
    assert load.__qualname__ == "load"
    assert str(inspect.signature(load)) == "(path, n=3)"
    assert inspect.unwrap(load) is load.func
    assert repr(load) == "<step 'load'>"
    assert load.parameters == ("path", "n")


def test_step_works_with_empty_brackets_with_options_and_as_a_call():
    def square(x):
        return x * x

    for made in (step()(square), step(retries=1)(square), step(square), step(square, retries=1)):
        assert isinstance(made, Step)
        assert made.name == "square"
        assert made(3) == 9


def test_a_method_is_a_step_whose_instance_is_an_input():
    model = Model(rate=10)
    assert model.fit(2) == 20
    assert model.fit.parameters == ("train",)

    def body():
        return model.fit(2)

    (node,) = nodes_of(body)
    assert node.inputs == {"self": model, "train": 2}
    args, kwargs = node.step.split(node.inputs)
    assert node.step.func(*args, **kwargs) == 20


def test_a_method_keeps_its_instance_in_changed_copies_and_maps():
    model = Model(rate=10)
    assert model.fit.with_options(retries=2)(2) == 20
    assert model.fit.map([1, 2]) == [10, 20]

    def body():
        model.fit.with_options(name="slow")(1)
        model.fit.map([2, 3])

    assert [(node.name, node.inputs["self"], node.inputs["train"]) for node in nodes_of(body)] == [
        ("slow", model, 1),
        ("fit[0]", model, 2),
        ("fit[1]", model, 3),
    ]


def test_a_method_looked_up_on_the_class_takes_the_instance_first():
    assert Model.fit(Model(rate=2), 4) == 8


def test_a_bound_method_of_an_object_can_be_made_a_step():
    class Plain:
        def add(self, x):
            return x + 1

    plain = Plain()
    add = step(plain.add)
    assert add(1) == 2

    (node,) = nodes_of(lambda: add(1))
    assert node.inputs == {"self": plain, "x": 1}


def test_static_and_class_methods_are_steps_in_either_order():
    assert Model.plain(1) == Model(1).plain(1) == Model.plain_too(1) == Model(1).plain_too(1) == 2
    assert Submodel.named(1) == Submodel(1).named(1) == ("Submodel", 1)
    assert Submodel.named_too(1) == Submodel(1).named_too(1) == ("Submodel", 1)

    def body():
        Model.plain(1)
        Submodel.named(2)
        Submodel.named_too(3)

    assert [node.inputs for node in nodes_of(body)] == [{"x": 1}, {"cls": Submodel, "x": 2}, {"cls": Submodel, "x": 3}]


def test_lambdas_closures_partials_builtins_and_callable_objects_are_steps():
    factor = 3

    def times(x):
        return factor * x

    cases = {
        step(lambda x: x + 1): ("lambda", 3),
        step(times): ("times", 6),
        step(functools.partial(operator.mul, 5)): ("mul", 10),
        step(functools.partial(times)): ("times", 6),
        step(math.sqrt): ("sqrt", math.sqrt(2)),
        step(Scaler()): ("Scaler", 4),
    }
    for made, (name, result) in cases.items():
        assert (made.name, made(2)) == (name, result)
        (node,) = nodes_of(lambda made=made: made(2))
        args, kwargs = node.step.split(node.inputs)
        assert node.step.func(*args, **kwargs) == result


def test_what_a_callable_object_keeps_does_not_hide_what_a_step_does():
    assert step(Scaler()).map([1, 2]) == [2, 4]


def test_a_partial_with_keywords_binds_what_is_left():
    def fit(train, rate, seed):
        return train, rate, seed

    half = step(functools.partial(fit, rate=0.5))
    (node,) = nodes_of(lambda: half("t", seed=1))
    assert node.inputs == {"train": "t", "rate": 0.5, "seed": 1}
    args, kwargs = node.step.split(node.inputs)
    assert node.step.func(*args, **kwargs) == ("t", 0.5, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: step("load"), r"@step\('load'\): to name a step write @step\(name='load'\)"),
        (lambda: step(5), "@step got an int where it takes a function; options go by name"),
        (lambda: step(load.func, "name"), "options go by name"),
        (lambda: step(retries=1)(5), "@step got an int where it takes a function"),
        (lambda: nodes_of(lambda: step(load("a"))), "'Output' is an output, and a step is a function"),
        (lambda: step(None), "@step got a NoneType where it takes a function"),
        (lambda: step(int), "'int' is a class, and a step is a function; write a function that makes an int"),
        (lambda: step(Model), "'Model' is a class.* or decorate a method"),
        (lambda: step(property(lambda self: 1)), "put @property above @step"),
        (lambda: step(fetch), r"'fetch' \(test_step.py:\d+\) is an async function.*asyncio.run"),
        (lambda: step(functools.partial(fetch, "url")), "'fetch' is an async function"),
        (lambda: step(rows), r"'rows' \(test_step.py:\d+\) is a generator function.*return a list of what it yields"),
        (lambda: step(load), r"'load' is a step already; for a changed copy use load.with_options\(...\)"),
        (lambda: step(max), "Python cannot tell which arguments 'max' takes.*write a function that calls it"),
    ],
)
def test_what_cannot_be_a_step_says_why(make, message):
    with pytest.raises(DefinitionError, match=message):
        make()


def test_a_default_that_is_the_output_of_a_step_is_refused():
    def body():
        loaded = load("a")

        @step
        def fit(train=loaded):
            return train

    with pytest.raises(DefinitionError, match=r"step 'fit' .*the default of 'train' is the output of a step"):
        nodes_of(body)


def test_with_options_gives_a_changed_copy():
    changed = load.with_options(name="fetch", retries=2, outputs=("a", "b"), regenerate_outputs=True)

    assert (changed.name, changed.outputs, changed.options.retries) == ("fetch", ("a", "b"), 2)
    assert changed.options.regenerate_outputs
    assert changed.func is load.func
    assert (load.name, load.outputs, load.options.retries) == ("load", (), 0)


def test_with_options_keeps_what_it_does_not_change():
    changed = load.with_options(retries=2, timeout=3).with_options(retries=1)
    assert (changed.options.retries, changed.options.timeout_s) == (1, 3.0)


def test_copies_of_a_step_are_the_step():
    assert copy.copy(load) is load
    assert copy.deepcopy([load])[0] is load


def test_a_step_is_pickled_by_reference_and_a_changed_copy_by_its_changes():
    assert pickle.loads(pickle.dumps(load)) is load
    again = pickle.loads(pickle.dumps(load.with_options(name="x", retries=2)))
    assert (again.func, again.name, again.options.retries, again.is_named) == (load.func, "x", 2, True)
    assert pickle.loads(pickle.dumps(quick)).options == quick.options
    assert pickle.loads(pickle.dumps(Model.fit)) is Model.fit


def test_a_bound_step_is_pickled_with_its_instance():
    assert pickle.loads(pickle.dumps(Model(rate=3).fit))(2) == 6


def test_a_step_of_a_builtin_is_pickled_with_its_function():
    assert pickle.loads(pickle.dumps(step(math.sqrt, retries=1)))(4) == 2


def test_importing_the_room_imports_nothing_heavy():
    import subprocess

    code = (
        "import sys, pipelite.define; print([m for m in ('numpy', 'pandas', 'joblib', 'difflib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
