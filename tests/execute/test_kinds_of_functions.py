"""Whatever can be called works as a step, or says at definition why not."""

from __future__ import annotations

import functools
import importlib
import math
import statistics
import sys
import textwrap

import pytest

from pipelite import pipeline, step
from pipelite.errors import StepFailed

OFFSET = 100


def add(x, y):
    return x + y


class Scaler:
    """Its `factor` counts in the keys of its steps, and so does its code."""

    def __init__(self, factor):
        self.factor = factor

    @step
    def scale(self, x):
        return x * self.factor

    def shift(self, x):
        return x + self.factor

    @staticmethod
    def negate(x):
        return -x

    @classmethod
    def make_ten(cls, x):
        return cls(10).factor + x

    def __call__(self, x):
        return [x, self.factor]


@step
def recursive(n):
    return 1 if n <= 1 else n * factorial(n - 1)


def factorial(n):
    return 1 if n <= 1 else n * factorial(n - 1)


def run(function, *args, **kwargs):
    """Run one call as a pipeline, twice: gives its result and whether the second run reused it."""
    decorated = function if hasattr(function, "with_options") else step(function)

    @pipeline
    def flow():
        return decorated(*args, **kwargs)

    first = flow.run()
    second = flow.run()
    (step_run,) = second.steps.values()
    return first.outputs["result"], step_run.reused


def test_a_lambda(workspace):
    assert run(lambda x: x + OFFSET, 1) == (101, True)


def test_a_closure(workspace):
    def make(k):
        def inner(x):
            return x + k

        return inner

    assert run(make(5), 1) == (6, True)
    assert run(make(6), 1) == (7, True)


def test_two_closures_of_one_text_do_not_share_a_result(workspace):
    def make(k):
        return lambda x: x + k

    steps = [step(make(1)), step(make(2))]

    @pipeline
    def flow():
        return [each(10) for each in steps]

    @pipeline
    def named():
        return {"results": [each(10) for each in steps]}

    assert named.run().outputs["results"] == [11, 12]


def test_a_partial(workspace):
    assert run(functools.partial(add, 3), y=4) == (7, True)


def test_a_method_called_on_its_instance(workspace):
    assert run(Scaler(3).scale, 5) == (15, True)


def test_a_bound_method(workspace):
    assert run(Scaler(3).shift, 5) == (8, True)


def test_a_static_method_a_class_method_and_a_callable_object(workspace):
    assert run(Scaler.negate, 5) == (-5, True)
    assert run(Scaler.make_ten, 5) == (15, True)
    assert run(Scaler(7), 5) == ([5, 7], True)


def test_another_state_of_the_instance_is_another_result(workspace):
    assert run(Scaler(3).scale, 5)[0] == 15
    assert run(Scaler(4).scale, 5)[0] == 20


def test_a_function_of_the_standard_library(workspace):
    assert run(statistics.mean, [1, 2, 3]) == (2, True)


def test_a_function_written_in_c(workspace):
    assert run(math.sqrt, 16.0) == (4.0, True)


def test_a_function_of_an_installed_package(workspace):
    numpy = pytest.importorskip("numpy")

    assert run(numpy.linalg.norm, [3.0, 4.0]) == (5.0, True)


def test_a_recursive_function(workspace):
    assert run(recursive, 5) == (120, True)


def test_a_function_without_a_source_file(workspace):
    names: dict = {}
    exec(textwrap.dedent("def made(x):\n    return x * 2\n"), names)

    assert run(names["made"], 4) == (8, True)


def test_a_decorated_function(workspace):
    def doubled(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return 2 * function(*args, **kwargs)

        return wrapper

    @doubled
    def three():
        return 3

    assert run(three) == (6, True)


def test_arguments_by_position_by_name_and_in_any_number(workspace):
    def everything(a, /, b, *rest, c=3, **more):
        return [a, b, list(rest), c, dict(sorted(more.items()))]

    assert run(everything, 1, 2, 9, 8, c=4, z=5, y=6) == ([1, 2, [9, 8], 4, {"y": 6, "z": 5}], True)


def test_a_default_that_is_only_a_marker_stays_itself(workspace):
    missing = object()

    def ask(x=missing):
        return x is missing

    @step
    def outer(x=None):
        return ask() if x is None else x

    assert run(outer) == (True, True)


def test_a_function_that_holds_on_to_a_lock_says_so_when_it_is_sent(workspace):
    import threading

    lock = threading.Lock()

    def locked(x):
        with lock:
            return x

    @pipeline
    def flow():
        return step(locked)(1)

    with pytest.raises((StepFailed, TypeError), match=r"'locked' cannot be sent to a worker.*lock"):
        flow.run()


def square(x):
    return x * x


@pytest.mark.parametrize("method", ["spawn", "fork", None])
def test_a_step_may_use_processes_of_its_own(workspace, method):
    def work(n):
        import multiprocessing

        with multiprocessing.get_context(method).Pool(2) as pool:
            return sum(pool.map(square, range(n)))

    assert run(work, 5) == (30, True)


def test_a_step_may_use_joblib(workspace):
    def work(n):
        from joblib import Parallel, delayed

        return sum(Parallel(n_jobs=2)(delayed(square)(i) for i in range(n)))

    assert run(work, 5) == (30, True)


def test_a_step_may_run_a_pipeline(workspace):
    def work(n):
        @pipeline
        def inner(n):
            return step(square)(n)

        return inner.run(n=n).outputs["result"]

    assert run(work, 5) == (25, True)


def test_modules_of_one_name_from_two_folders_one_after_the_other(workspace, monkeypatch):
    for name in ("first", "second"):
        folder = workspace.parent / name
        folder.mkdir()
        (folder / "of_two_folders.py").write_text(f"def {name}(x):\n    return '{name}', x\n")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "of_two_folders", raising=False)
        function = step(getattr(importlib.import_module("of_two_folders"), name))

        on_all_workers = pipeline(lambda of=function: of.map(range(20)), name="on_all_workers")

        assert on_all_workers.run().outputs["result"] == [(name, x) for x in range(20)]
