"""A window that the service counts: what its headers and other processes can change."""

from __future__ import annotations

import pytest

from connix_provider.client.ratelimit.buckets import Bucket
from connix_provider.client.ratelimit.fixed_window import FixedWindow
from connix_provider.client.ratelimit.headers import RateLimitHeaders
from connix_provider.client.ratelimit.state import KeyState

NOW = 1000.0
RESET = 1_705_334_460.0


def window(limit: float, remaining: float) -> FixedWindow:
    known = FixedWindow(limit, 60.0, NOW)
    known.learn(NOW, RateLimitHeaders(limit, remaining, RESET), 60.0)
    return known


@pytest.mark.parametrize(
    ("limit", "remaining", "left"),
    [(50, 30, 10), (50, 5, 5), (100, 60, 60), (100, 90, 60), (40, 30, 0)],
    ids=["late response", "less", "larger limit", "larger limit, late response", "smaller limit"],
)
def test_only_a_larger_limit_enlarges_a_window(limit, remaining, left):
    known = window(50, 10)
    known.learn(NOW + 1, RateLimitHeaders(limit, remaining, RESET), 59.0)
    assert known.remaining == left
    assert known.limit == limit


def test_a_file_raises_nothing_that_unshared_responses_lowered():
    others, own = window(50, 30), window(50, 30)
    own.take(NOW + 1, background=False, shared=False)
    own.learn(NOW + 1, RateLimitHeaders(50, 12, RESET), 59.0)
    assert own.load(others.dump(), NOW + 2)
    assert own.remaining == 12


def test_a_window_of_all_requests_ends_unless_repeated():
    state = KeyState()
    for limit in (100.0, 5000.0):
        state.learn_of_key(NOW, RateLimitHeaders(limit, limit - 1, RESET), 60.0)
    assert set(state.key_windows) == {100.0, 5000.0}
    state.limits(Bucket.GET, NOW + 59)
    assert set(state.key_windows) == {100.0, 5000.0}
    state.limits(Bucket.GET, NOW + 61)
    assert set(state.key_windows) == {5000.0}
