"""
Read what the service says of its limits: what is left, when it is full again, how long to stay away.

The reference gives each endpoint a window for each key ("Rate Limits") and says in headers how it stands;
the API overview has a second family of headers, for all calls of a key together. ``X-RateLimit-Reset`` is
the server's epoch second, so it is compared with the answer's ``Date`` and not with the local clock, which
may be off.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = [
    "RateLimitHeaders",
    "ServerClock",
    "number",
    "retry_after_hint",
    "server_time",
    "tells_of_limits",
]

#: The reference's headers, and those of the API overview, which counts all calls of a key.
ENDPOINT_FAMILY, KEY_FAMILY = "", "-requests"
#: No window of requests is longer, in seconds; a reset may be rounded up.
_LONGEST_WINDOW = 86_401.0


@dataclasses.dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """
    Hold what one family of headers says.

    :param limit: requests in a window
    :param remaining: how many of them are left, from 0 to the limit
    :param reset: the server's epoch second at which the window ends, if it says so
    """

    limit: float
    remaining: float
    reset: float | None

    @classmethod
    def parse(cls, headers: Mapping[str, str], family: str = ENDPOINT_FAMILY) -> RateLimitHeaders | None:
        """
        Read one family of headers.

        :param headers: the response's headers, looked up without regard to case
        :param family: which family
        :return: what they say, or ``None`` where they are missing or make no sense
        """
        limit = _first(headers.get(f"x-ratelimit-limit{family}"))
        remaining = _first(headers.get(f"x-ratelimit-remaining{family}"))
        if limit is None or limit < 1 or remaining is None:
            return None
        return cls(limit, min(remaining, limit), _first(headers.get(f"x-ratelimit-reset{family}")))


class ServerClock:
    """
    Keep the server's clock, as far as it is surely known: whole seconds come, some time after they were read.

    The latest of all estimates from below is kept, and forgotten where the server's clock turns out to have
    been set back.
    """

    #: Clocks drift apart by less than this.
    _DRIFT = 1e-4
    #: A server that seems to be behind by more had its clock set back, or was slow to answer: either way the
    #: lower estimate is the safe one.
    _SLACK = 2.0

    def __init__(self) -> None:
        self._offset: float | None = None
        self._at = 0.0

    def learn(self, now: float, date: float | None) -> None:
        """
        Take in the date of an answer.

        :param now: seconds of the local monotonic clock
        :param date: epoch seconds, if the answer said
        """
        if date is None:
            return
        offset = date - now
        if self._offset is not None:
            kept = self._offset - self._DRIFT * (now - self._at)
            offset = offset if offset < kept - self._SLACK else max(offset, kept)
        self._offset, self._at = offset, now

    def at(self, now: float) -> float | None:
        """
        Say what the server's clock shows, at least.

        :param now: seconds of the local monotonic clock
        :return: epoch seconds, or ``None`` where it is not known
        """
        return None if self._offset is None else now + self._offset

    def until(self, now: float, epoch: float | None) -> float | None:
        """
        Say how long it is until a moment of the server's clock, at most.

        :param now: seconds of the local monotonic clock
        :param epoch: the moment
        :return: seconds, or ``None`` where it cannot be said
        """
        return None if epoch is None or self._offset is None else epoch - now - self._offset


def tells_of_limits(headers: Mapping[str, str]) -> bool:
    """
    Tell whether an answer speaks of any limit, understandably or not.

    :param headers: the answer's headers
    :return: whether it does
    """
    return any(name.lower().startswith("x-ratelimit") for name in headers)


def _first(value: str | None) -> float | None:
    """Read the number before what other services add to theirs: ``200;w=60``, ``200, 200;w=3600``."""
    return None if value is None else number(value.replace(";", ",").partition(",")[0])


def server_time(headers: Mapping[str, str]) -> float | None:
    """
    Read the server's clock off an answer.

    :param headers: the answer's headers
    :return: epoch seconds of the ``Date`` header, or ``None`` without a usable one
    """
    return _http_date(headers.get("date"))


def retry_after_hint(headers: Mapping[str, str], body: Any = None, *, refused: bool = True) -> float | None:
    """
    Read how long the service wants to be left alone.

    The error body's ``retry_after`` goes first, then ``Retry-After``, then the latest ``X-RateLimit-Reset``
    of a budget that is used up. What is not a number, not finite or negative is passed over; so is a moment
    of the server's clock where nothing tells how late it is there, or a reset more than a day away:
    milliseconds, or no time at all.

    :param headers: the answer's headers
    :param body: the error object of the body, if there was one
    :param refused: whether the answer is a refusal for the rate limit; only then its reset is worth a wait,
        every other answer tells it too
    :return: seconds from the moment of the answer, or ``None`` where nothing usable is said
    """
    if isinstance(body, Mapping) and (seconds := number(body.get("retry_after"))) is not None:
        return seconds
    stated = _each(headers.get("retry-after"))
    if seconds_stated := [seconds for text in stated if (seconds := number(text)) is not None]:
        return max(seconds_stated)
    if (now := server_time(headers)) is None:
        return None
    dates = [at for text in stated if (at := _http_date(text)) is not None and at - now <= _LONGEST_WINDOW]
    if dates:
        return max(0.0, max(dates) - now)
    if not refused:
        return None
    resets = [
        at
        for family in (ENDPOINT_FAMILY, KEY_FAMILY)
        if (at := _first(headers.get(f"x-ratelimit-reset{family}"))) is not None
        and abs(at - now) <= _LONGEST_WINDOW
        and not _first(headers.get(f"x-ratelimit-remaining{family}"))
    ]
    return max(0.0, max(resets) - now) if resets else None


def _each(value: str | None) -> list[str]:
    """Take apart the values of a header that was given more than once; a date has a comma of its own."""
    return re.findall(r"[A-Za-z]{3,9},[^,]*|[^,\s][^,]*", value or "")


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


@functools.lru_cache(maxsize=16)  # a date says the same for a second, in which many answers come
def _http_date(value: str | None) -> float | None:
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # HTTP dates are in GMT, also in the old forms that do not say so.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
