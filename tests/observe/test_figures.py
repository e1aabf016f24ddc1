"""Durations, tables and groups as people read them."""

from __future__ import annotations

import pytest

from pipelite.observe import format_duration, format_table
from pipelite.observe.counts import count_statuses
from pipelite.observe.groups import fan_out_of, group_fan_outs
from pipelite.records import Status


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0 s"),
        (0.0042, "0.004 s"),
        (0.0996, "0.10 s"),
        (0.31, "0.31 s"),
        (0.999, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (192, "3 min 12 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(seconds, text):
    assert format_duration(seconds) == text


def test_columns_are_as_wide_as_needed_and_empty_ones_are_left_out():
    rows = [("a", "", "1"), ("bcd", "", "12")]

    assert format_table(("NAME", "NOTE", "N"), rows, right=("N",)) == "NAME   N\na      1\nbcd   12"


def test_a_table_of_nothing_is_empty():
    assert format_table(("NAME",), []) == ""


def test_a_line_end_in_a_cell_does_not_break_the_table():
    assert format_table(("", ""), [("a\nb", "c")]) == "a b  c"


def test_counts_name_reused_and_computed_first():
    statuses = [Status.FAILED, Status.COMPLETED, Status.REUSED, Status.REUSED]

    assert count_statuses(statuses) == "4 steps: 2 reused, 1 computed, 1 failed"
    assert count_statuses([]) == "0 steps"


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("fit[0]", "fit"),
        ("inner/fit[12]", "inner/fit"),
        ("fit", None),
        ("fit[a]", None),
        ("fit[]", None),
        ("[0]", None),
    ],
)
def test_the_elements_of_a_fan_out_are_known_by_their_names(name, base):
    assert fan_out_of(name) == base


def test_a_fan_out_stands_where_its_first_element_does():
    assert group_fan_outs(["a[0]", "b", "a[1]"], str) == [("a", ["a[0]", "a[1]"]), (None, ["b"])]
