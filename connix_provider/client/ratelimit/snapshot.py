"""Pass limits learned from responses to a process on another machine, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connix_provider.client.ratelimit.buckets import Bucket
from connix_provider.client.ratelimit.fixed_window import FixedWindow
from connix_provider.client.ratelimit.headers import RateLimitHeaders
from connix_provider.client.ratelimit.state import KeyState

__all__ = ["restore", "snapshot"]


def snapshot(state: KeyState, bucket: Bucket, now: float, epoch: float) -> list[dict[str, Any]]:
    """
    Return the limits that count for an endpoint.

    :param state: the limits of the key
    :param epoch: the same moment in epoch seconds
    :return: JSON; for each limit its ``limit``, ``remaining``, ``length`` and ``reset``, ``ends_at`` in epoch
        seconds of this machine, and whether it counts all requests of the key ``together``
    """
    own = state.buckets[bucket].limit
    return [
        {
            "limit": limit.limit,
            "remaining": max(0.0, limit.remaining - limit.in_flight),
            "length": limit.length,
            "reset": limit.reset,
            "ends_at": epoch + limit.end - now,
            "together": limit is not own,
        }
        for limit in state.limits(bucket, now)
        if isinstance(limit, FixedWindow)
    ]


def restore(state: KeyState, bucket: Bucket, now: float, epoch: float, saved: Mapping[str, Any]) -> None:
    """
    Take over one limit.

    :param state: the limits of the key; changed in place
    :param epoch: the same moment in epoch seconds
    :param saved: the limit, as :func:`snapshot` returned it
    """
    ahead = saved["ends_at"] - epoch
    if ahead > 0:
        reset = saved["reset"] if saved["reset"] >= 0 else None
        learned = RateLimitHeaders(saved["limit"], saved["remaining"], reset)
        if saved["together"]:
            state.learn_of_key(now, learned, ahead)
        else:
            state.learn_own(bucket, now, learned, ahead)
        return
    # The window is over, but the next ones have its limit and begin at its end.
    window = FixedWindow(saved["limit"], None, now)
    window.length, window.end = saved["length"], now + ahead
    window.roll(now)
    if saved["together"]:
        state.key_windows.setdefault(window.limit, window)
    elif not isinstance(state.buckets[bucket].limit, FixedWindow):
        state.buckets[bucket].limit = window
