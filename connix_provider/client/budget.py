"""
Read what the service says of the budget: how much of it is left, and when it is full again.

The reference gives each endpoint a window for each key ("Rate Limits") and says in headers how it stands.
``X-RateLimit-Reset`` is the server's epoch second, so it is compared with the answer's ``Date`` and not
with the local clock, which may be off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

__all__ = ["Bucket", "number", "retry_after_hint", "server_time"]

#: The reference's headers, and those of the API overview, which counts all calls of a key.
_FAMILIES = ("", "-requests")


class Bucket(StrEnum):
    """Name the budgets of a key (reference: "Rate Limits"); the four actions share one."""

    LIST = "list"
    CREATE = "create"
    GET = "get"
    UPDATE = "update"
    DELETE = "delete"
    ACTION = "action"
    LOGS = "logs"
    METRICS = "metrics"
    #: The projects page: not in the reference's table.
    PROJECTS = "projects"


def server_time(headers: Mapping[str, str]) -> float | None:
    """
    Read the server's clock off an answer.

    :param headers: the answer's headers, looked up without regard to case
    :return: epoch seconds of the ``Date`` header, or ``None`` without a usable one
    """
    return _http_date(headers.get("date"))


def retry_after_hint(headers: Mapping[str, str], body: Any = None, *, refused: bool = True) -> float | None:
    """
    Read how long the service wants to be left alone.

    The error body's ``retry_after`` goes first, then ``Retry-After``, then the latest ``X-RateLimit-Reset``
    of a budget that is used up. What is not a number, not finite or negative is passed over.

    :param headers: the answer's headers
    :param body: the error object of the body, if there was one
    :param refused: whether the answer is a refusal for the rate limit; only then its reset is worth a wait,
        every other answer tells it too
    :return: seconds from the moment of the answer, or ``None`` where nothing usable is said
    """
    if isinstance(body, Mapping) and (seconds := number(body.get("retry_after"))) is not None:
        return seconds
    now = server_time(headers)
    now = time.time() if now is None else now
    stated = headers.get("retry-after")
    if (seconds := number(stated)) is not None:
        return seconds
    if (at := _http_date(stated)) is not None:
        return max(0.0, at - now)
    if not refused:
        return None
    resets = [
        at
        for family in _FAMILIES
        if (at := number(headers.get(f"x-ratelimit-reset{family}"))) is not None
        and not number(headers.get(f"x-ratelimit-remaining{family}"))
    ]
    return max(0.0, max(resets) - now) if resets else None


def number(value: Any) -> float | None:
    """
    Read a number from whatever a header or body holds.

    :param value: anything
    :return: the number, finite and zero or more, or ``None`` where it is not one
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) and read >= 0 else None


def _http_date(value: str | None) -> float | None:
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # HTTP dates are in GMT, also in the old forms that do not say so.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
