"""Options of a step: what they are turned into, and what a wrong one says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipelite.define import StepOptions, step
from pipelite.errors import DefinitionError


def options(**given):
    return step(lambda x: x, **given).options


def test_a_step_without_options_has_the_defaults():
    assert options() == StepOptions()
    assert options().retry_on == (Exception,)
    assert options().cache is None


def test_times_are_seconds_or_timedeltas():
    assert options(timeout=90).timeout_s == 90.0
    assert options(timeout=timedelta(minutes=2)).timeout_s == 120.0
    assert options(timeout=None).timeout_s is None
    assert options(retry_delay=timedelta(milliseconds=500)).retry_delay_s == 0.5
    assert options(retry_delay=1).retry_delay_s == 1.0


def test_one_name_stands_for_a_tuple_of_one():
    assert options(track="mylib").track == ("mylib",)
    assert options(depends_on="query.sql").depends_on == (Path("query.sql"),)
    assert options(depends_on=["a", Path("b")]).depends_on == (Path("a"), Path("b"))
    assert options(retry_on=OSError).retry_on == (OSError,)


def test_a_version_may_be_written_as_a_number():
    assert options(version=2).version == "2"


def test_cache_is_a_flag_or_an_age():
    assert options(cache=True).cache is True
    assert options(cache=False).cache is False
    assert options(cache=timedelta(hours=1)).cache == timedelta(hours=1)


def test_outputs_may_be_a_list():
    assert step(lambda: (1, 2), outputs=["a", "b"]).outputs == ("a", "b")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"retris": 2}, "@step has no option 'retris'; did you mean 'retries'[?] The options are cache, compute, cpus"),
        ({"retries": -1}, "@step: retries=-1 is wrong; retries takes a whole number of at least 0"),
        ({"retries": True}, "retries takes a whole number"),
        ({"retries": 1.5}, "retries takes a whole number"),
        ({"cpus": 0}, "cpus takes a whole number of at least 1"),
        ({"timeout": 0}, "timeout takes seconds above 0 or a timedelta, or None for no limit"),
        ({"timeout": "10s"}, "timeout='10s' is wrong"),
        ({"timeout": float("nan")}, "timeout=nan is wrong"),
        ({"timeout": timedelta(seconds=-1)}, "timeout takes seconds above 0"),
        ({"retry_delay": -1}, "retry_delay takes seconds of at least 0 or a timedelta"),
        ({"retry_backoff": 0.5}, "retry_backoff takes a number of at least 1"),
        ({"retry_on": int}, "retry_on takes an exception class or a tuple of them"),
        ({"retry_on": ()}, "retry_on takes an exception class"),
        ({"retry_on": "OSError"}, "retry_on takes an exception class"),
        ({"cache": 3600}, r"cache takes True, False or a timedelta.*timedelta\(hours=1\)"),
        ({"cache": timedelta(-1)}, "cache takes True, False or a timedelta"),
        ({"regenerate_outputs": 1}, "regenerate_outputs takes True or False"),
        ({"version": ("a",)}, "version takes a text"),
        ({"depends_on": 5}, "depends_on takes a path or a tuple of paths"),
        ({"depends_on": ""}, "depends_on takes a path"),
        ({"track": [5]}, "track takes names of installed packages"),
        ({"compute": ""}, "compute takes the name of a compute target"),
        ({"name": 5}, "name=5 is wrong; name takes a text"),
        ({"name": ""}, "name='' is wrong; a name is not empty"),
        ({"name": "a/b"}, "none of the marks / "),
        ({"name": "fit[0]"}, "none of the marks / "),
        ({"outputs": "train"}, r'write outputs=\("train",\)'),
        ({"outputs": {"a", "b"}}, r'outputs takes a tuple of names, for example outputs=\("train", "test"\)'),
        ({"outputs": ("a", "b", "a")}, "outputs names 'a' more than once"),
        ({"outputs": ("1st",)}, "'1st' in outputs is no name"),
        ({"outputs": (1,)}, "1 in outputs is no name"),
    ],
)
def test_a_wrong_option_says_what_came_and_what_it_takes(given, message):
    with pytest.raises(DefinitionError, match=message):
        step(**given)


def test_a_wrong_option_of_a_changed_copy_names_the_step():
    load = step(lambda path: path, name="load")
    with pytest.raises(
        DefinitionError, match="step 'load': with_options has no option 'tiemout'; did you mean 'timeout'"
    ):
        load.with_options(tiemout=3)
