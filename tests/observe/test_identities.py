"""An identity that holds its value is shown as the value."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from pipelite.fingerprint import Fingerprinter
from pipelite.observe.identities import describe_change, read_identity


@pytest.mark.parametrize(
    "value",
    [None, True, 5, -0.1, "a 'b'", b"\x00a", [1, "a", [2.5]], (1,), (), [], {"a": [1]}, {3}, frozenset({3}), set()],
    ids=repr,
)
def test_a_short_value_is_read_back_as_python_writes_it(value):
    assert read_identity(Fingerprinter().value(value)) == repr(value)


@pytest.mark.parametrize("value", [date(2026, 1, 2), timedelta(hours=3), Decimal("1.10")], ids=str)
def test_dates_and_decimals_are_shown_as_text(value):
    assert read_identity(Fingerprinter().value(value)) == str(value)


@pytest.mark.parametrize("value", ["x" * 100, list(range(100)), "\n", object, [["a" * 70]]], ids=repr)
def test_a_value_of_which_only_a_hash_is_kept_is_not_shown(value):
    assert read_identity(Fingerprinter().value(value)) is None


def test_a_text_with_marks_of_identities_in_it_is_read_whole():
    assert read_identity(Fingerprinter().value("a:b#c")) == "'a:b#c'"


def test_a_broken_encoding_is_not_shown():
    assert read_identity("list:9:int:1") is None
    assert read_identity("list:int:1") is None


def test_long_values_are_cut():
    change = describe_change("str:" + "a" * 64, "int:5")

    assert change == "was '" + "a" * 46 + "..., is 5"
