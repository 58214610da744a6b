"""
Read the rate-limit headers: the limit of a window, the requests left in it, and its end.

Each endpoint has a window for each key (reference: "Rate Limits"). The API overview has a second family of
headers, for all requests of a key together.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

__all__ = [
    "RateLimitHeaders",
    "ResponseLimits",
    "first_number",
    "has_limit_headers",
    "parse_limits",
    "parse_number",
]

#: The reference's headers, and those of the API overview, which counts all calls of a key.
ENDPOINT_FAMILY, KEY_FAMILY = "", "-requests"


@dataclasses.dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """
    Hold one family of rate-limit headers.

    :param limit: requests in a window
    :param remaining: how many of them are left, from 0 to the limit
    :param reset: the server's epoch second at which the window ends, or ``None``
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
        :return: the limit, or ``None`` if headers are missing or make no sense
        """
        limit = first_number(headers.get(f"x-ratelimit-limit{family}"))
        remaining = first_number(headers.get(f"x-ratelimit-remaining{family}"))
        if limit is None or limit < 1 or remaining is None:
            return None
        return cls(limit, min(remaining, limit), first_number(headers.get(f"x-ratelimit-reset{family}")))


#: The limit of a response's endpoint, and one on all requests of the key.
ResponseLimits = tuple[RateLimitHeaders | None, RateLimitHeaders | None]


def parse_limits(headers: Mapping[str, str]) -> ResponseLimits:
    """
    Read both families of headers.

    :param headers: the response's headers, looked up without regard to case
    :return: the limits, each ``None`` if its headers are missing
    """
    return RateLimitHeaders.parse(headers), RateLimitHeaders.parse(headers, KEY_FAMILY)


def has_limit_headers(headers: Mapping[str, str]) -> bool:
    """
    Return whether a response has rate-limit headers, readable or not.

    :return: true if any header is one
    """
    return any(name.lower().startswith("x-ratelimit") for name in headers)


def parse_number(value: Any) -> float | None:
    """
    Read a number of a header or body.

    :return: the number, finite and zero or more, or ``None`` for any other value
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) and read >= 0 else None


def first_number(value: str | None) -> float | None:
    """Read the number before what other services add to theirs: ``200;w=60``, ``200, 200;w=3600``."""
    return None if value is None else parse_number(value.replace(";", ",").partition(",")[0])
