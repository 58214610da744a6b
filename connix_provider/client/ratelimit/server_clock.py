"""Follow the server's clock, which ``X-RateLimit-Reset`` refers to; the local clock may be off."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["ServerClock", "http_date", "server_time"]


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


def server_time(headers: Mapping[str, str]) -> float | None:
    """
    Read the server's clock off an answer.

    :param headers: the answer's headers
    :return: epoch seconds of the ``Date`` header, or ``None`` without a usable one
    """
    return http_date(headers.get("date"))


@functools.lru_cache(maxsize=16)  # a date says the same for a second, in which many answers come
def http_date(value: str | None) -> float | None:
    """
    Read a date of a header.

    :param value: the header
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
