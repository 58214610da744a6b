"""What a merge would leave as it is: a lost update was executed, a repeated one is not sent."""

from __future__ import annotations

import pytest

from connix_provider.client.calls.merging import already_holds


@pytest.mark.parametrize(
    ("present", "changes", "holds"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, False),
        ({"a": None}, {"a": None}, True),
        ({}, {"a": None}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": [0]}, {"a": [False]}, False),
        ({"a": [1, {"b": 1}]}, {"a": [1, {"b": True}]}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": ["x"]}, {"a": ("x",)}, True),
        ({"a": ["x", "y"]}, {"a": ["x"]}, False),
        ({"a": "x"}, {"a": {"b": 1}}, False),
        ({"a": {"b": 1}}, {"a": {}}, True),
        (None, {"a": 1}, False),
    ],
)
def test_a_merge_changes_nothing_or_something(present, changes, holds):
    assert already_holds(present, changes) is holds
