"""Read the hint when to retry: the error body's ``retry_after``, ``Retry-After``, ``X-RateLimit-Reset``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from connix_provider.client.ratelimit.headers import ENDPOINT_FAMILY, KEY_FAMILY, first_number, parse_number
from connix_provider.client.ratelimit.server_clock import http_date, server_time

__all__ = ["retry_after_hint"]

#: No window of requests is longer, in seconds; a reset may be rounded up.
_LONGEST_WINDOW = 86_401.0


def retry_after_hint(headers: Mapping[str, str], body: Any = None, *, refused: bool = True) -> float | None:
    """
    Read the seconds after which the service wants the next request.

    The error body's ``retry_after`` counts first, then ``Retry-After``, then the latest ``X-RateLimit-Reset``
    of a limit that is used up. Values that are not numbers, not finite or negative are ignored. So are times
    of the server's clock without a ``Date``, and resets more than a day away, which may be milliseconds.

    :param body: the error object of the body, if there is one
    :param refused: whether the response is a 429; every other response has a reset, too, but needs no wait
    :return: seconds from the response on, or ``None`` without a usable hint
    """
    if isinstance(body, Mapping) and (seconds := parse_number(body.get("retry_after"))) is not None:
        return seconds
    stated = _each(headers.get("retry-after"))
    if seconds_stated := [seconds for text in stated if (seconds := parse_number(text)) is not None]:
        return max(seconds_stated)
    if (now := server_time(headers)) is None:
        return None
    dates = [at for text in stated if (at := http_date(text)) is not None and at - now <= _LONGEST_WINDOW]
    if dates:
        return max(0.0, max(dates) - now)
    if not refused:
        return None
    resets = [
        at
        for family in (ENDPOINT_FAMILY, KEY_FAMILY)
        if (at := first_number(headers.get(f"x-ratelimit-reset{family}"))) is not None
        and abs(at - now) <= _LONGEST_WINDOW
        and not first_number(headers.get(f"x-ratelimit-remaining{family}"))
    ]
    return max(0.0, max(resets) - now) if resets else None


def _each(value: str | None) -> list[str]:
    """Split the values of a header that was sent more than once; a date has a comma of its own."""
    return re.findall(r"[A-Za-z]{3,9},[^,]*|[^,\s][^,]*", value or "")
