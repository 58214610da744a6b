"""Shrink a failing history: leave out one part after the other while it still fails in the same way."""

from __future__ import annotations

from collections.abc import Callable

from hostile.history import History

__all__ = ["shrink"]

#: Histories tried at most; the smallest one found is returned then.
_MOST_TRIES = 400


def shrink(history: History, fails: Callable[[History], bool]) -> History:
    """
    Return the smallest history found that still fails.

    :param history: one that fails
    :param fails: plays a history, and returns whether it fails in the same way
    """
    tries = 0
    while True:
        for smaller in history.smaller():
            tries += 1
            if tries > _MOST_TRIES:
                return history
            if fails(smaller):
                history = smaller
                break
        else:
            return history
