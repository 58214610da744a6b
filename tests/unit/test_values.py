"""Amounts that may be percentages, and what a message quotes of a value."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connix_provider.values import amount_of, quoted


@pytest.mark.parametrize(
    ("value", "total", "round_up", "amount"),
    [
        (3, 10, True, 3),
        ("3", 10, True, 3),
        (30, 10, True, 30),
        ("10%", 30, True, 3),
        ("10 %", 30, False, 3),
        ("50%", 5, True, 3),
        ("50%", 5, False, 2),
        ("100%", 7, False, 7),
        ("0%", 7, True, 0),
        ("33.3%", 3, True, 1),
        ("12%", 25, True, 3),
        ("10%", 0, True, 0),
    ],
)
def test_an_amount_is_a_number_or_a_percentage(value, total, round_up, amount):
    assert amount_of("at_least", value, total, round_up=round_up) == amount


@pytest.mark.parametrize(
    "value", ["101%", "-1%", -1, 2.5, "half", "%", True, None, float("inf"), float("nan"), "nan%", [], ""]
)
def test_a_wrong_amount_is_refused(value):
    with pytest.raises(ValueError, match="at_least must be a whole number, or a percentage"):
        amount_of("at_least", value, 10, round_up=True)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("soon", "'soon'"),
        (100 * "x", f"'{100 * 'x'}'"),
        (101 * "x", "a text of 101 characters"),
        ('{"PIN": 4711}', "a text of 13 characters"),
        (" ['canary']", "a text of 11 characters"),
        ("cx_hunter22", "what looks like an API key"),
        (" cx_hunter22", "what looks like an API key"),
        ({"PIN": 4711}, "a value of type dict"),
        (["canary"], "a value of type list"),
        (None, "None"),
        (4711, "4711"),
        (timedelta(1), "datetime.timedelta(days=1)"),
    ],
)
def test_a_message_quotes_only_short_plain_values(value, shown):
    assert quoted(value) == shown
