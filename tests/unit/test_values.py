"""Amounts that may be percentages."""

from __future__ import annotations

import pytest

from connix_provider.values import amount_of


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
def test_what_is_no_amount_is_refused(value):
    with pytest.raises(ValueError, match="at_least must be a whole number, or a percentage"):
        amount_of("at_least", value, 10, round_up=True)
