"""Compare what exists with the body of an update, which the service merges into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["already_holds"]


def already_holds(present: Any, changes: Any) -> bool:
    """
    Return whether a merge would change nothing.

    :param present: the agent, or one of its fields, as JSON
    :param changes: what the update asks for
    :return: whether ``present`` has each value of ``changes``
    """
    if isinstance(changes, Mapping):
        return isinstance(present, Mapping) and all(
            name in present and already_holds(present[name], value) for name, value in changes.items()
        )
    if isinstance(changes, list | tuple) and isinstance(present, list):
        return len(changes) == len(present) and all(map(already_holds, present, changes))
    # True equals 1 in Python, but not in JSON.
    return isinstance(present, bool) == isinstance(changes, bool) and bool(present == changes)
