"""Follow the server's clock, which ``X-RateLimit-Reset`` refers to; the local clock may be off."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["ServerClock", "http_date", "server_time"]


class ServerClock:
    """
    Estimate the server's clock from below.

    ``Date`` has whole seconds, and the response takes time. So each response gives a lower bound, and the
    highest of them is kept. A much lower bound replaces it, because the server's clock was set back.
    """

    #: Clocks drift apart by less than this.
    _DRIFT = 1e-4
    #: A bound that is lower by more replaces the estimate, because the clock was set back or the response was
    #: slow. Either way the lower estimate is safe.
    _SLACK = 2.0

    def __init__(self) -> None:
        self._offset: float | None = None
        self._at = 0.0

    def learn(self, now: float, date: float | None) -> None:
        """
        Learn from the date of a response.

        :param now: seconds of the local monotonic clock
        :param date: epoch seconds, or ``None`` for a response without a date
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
        Return the least time that the server's clock can show.

        :param now: seconds of the local monotonic clock
        :return: epoch seconds, or ``None`` before the first date
        """
        return None if self._offset is None else now + self._offset

    def until(self, now: float, epoch: float | None) -> float | None:
        """
        Return the most seconds until a time of the server's clock.

        :param now: seconds of the local monotonic clock
        :param epoch: the time, in epoch seconds, or ``None``
        :return: seconds, or ``None`` without a time or before the first date
        """
        return None if epoch is None or self._offset is None else epoch - now - self._offset


def server_time(headers: Mapping[str, str]) -> float | None:
    """
    Read the ``Date`` of a response.

    :return: epoch seconds, or ``None`` without a usable date
    """
    return http_date(headers.get("date"))


@functools.lru_cache(maxsize=16)  # because all responses of a second have the same date
def http_date(value: str | None) -> float | None:
    """
    Read a date of a header.

    :return: epoch seconds, or ``None`` for anything but a date
    """
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # HTTP dates are in GMT, also in the old forms that do not say so.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
