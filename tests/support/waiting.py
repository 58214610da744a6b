"""Wait in real time, with a limit, for a condition that another thread or process makes true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

#: Seconds after which a wait fails: far more than a slow machine needs.
LIMIT = 60.0
#: Seconds between two checks.
_INTERVAL = 0.001


def wait_until(what: str, holds: Callable[[], Any]) -> None:
    """
    Block until a condition holds.

    :param what: the condition in words, for the message of the failure
    :param holds: checks the condition
    :raises AssertionError: if the condition does not hold within :data:`LIMIT` seconds
    """
    for _ in _failed_checks(what, holds):
        time.sleep(_INTERVAL)


async def wait_until_async(what: str, holds: Callable[[], Any]) -> None:
    """Do the same as :func:`wait_until` without blocking the event loop."""
    for _ in _failed_checks(what, holds):
        await asyncio.sleep(_INTERVAL)


def _failed_checks(what: str, holds: Callable[[], Any]) -> Iterator[None]:
    limit = time.monotonic() + LIMIT
    while not holds():
        if time.monotonic() > limit:
            raise AssertionError(f"not within {LIMIT:.0f} s: {what}")
        yield
