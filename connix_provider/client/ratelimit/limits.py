"""
Count one limit: so many requests in so many seconds.

:class:`Limit` is the interface. :class:`SlidingWindowLog` applies a documented limit that no response has
confirmed. :class:`~connix_provider.client.ratelimit.fixed_window.FixedWindow` follows the rate-limit headers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque

__all__ = ["Limit", "SlidingWindowLog"]

#: The part of a limit that polling leaves to actions that somebody waits for.
_RESERVE = 0.06
#: The part of a limit that polling gets even where actions would take everything.
_FLOOR = 0.2
#: The part of a limit that polling may send at once after it was quiet.
_BURST = 0.2
#: The part of a limit that may be sent before the first word of a new window: others may be there already.
_PROBE = 0.05


class Limit(ABC):
    """
    Answer what a budget asks of a limit. All moments are seconds of the local monotonic clock.

    :param limit: requests in a window
    :param length: seconds of a window
    :param now: the moment
    """

    def __init__(self, limit: float, length: float, now: float) -> None:
        self.limit = limit
        self.length = length
        self.probe(now)

    def own(self, share: float) -> float:
        """
        Count what is ours of a window.

        :param share: which part of the limit we keep to
        :return: requests, at least one
        """
        return max(1.0, share * self.limit)

    def reserve(self, share: float) -> float:
        """
        Count what polling leaves to actions.

        :param share: which part of the limit we keep to
        :return: requests; none where there is nothing to share
        """
        own = self.own(share)
        return max(1.0, math.floor(_RESERVE * own)) if own >= 2 else 0.0

    def floor(self, share: float) -> float:
        """
        Count what polling gets even where actions would take everything.

        :param share: which part of the limit we keep to
        :return: requests; none where there is nothing to share
        """
        own = self.own(share)
        return max(1.0, _FLOOR * own) if own >= 2 else 0.0

    def burst(self) -> float:
        """Count what polling may send at once after it was quiet."""
        return max(1.0, _BURST * self.limit)

    def probe(self, now: float) -> None:
        """Go slowly until the next good answer; a service that hangs still gets a few requests."""
        self._probing, self._probing_since = True, now

    def proven(self) -> None:
        """Take a good answer: the service takes requests."""
        self._probing = False

    def gate(self, now: float, under_way: int) -> float:
        """
        Count what may be sent before the next answer.

        :param now: the moment
        :param under_way: our requests that are not answered yet
        :return: requests
        """
        if not self._probing:
            return math.inf
        grown = (now - self._probing_since) * self.limit / self.length
        return max(1.0, _PROBE * self.limit) + grown - under_way

    @abstractmethod
    def roll(self, now: float) -> None:
        """Go on to a moment."""

    @abstractmethod
    def take(self, now: float, *, background: bool) -> None:
        """Count a request that is sent now."""

    @abstractmethod
    def give_back(self, *, background: bool) -> None:
        """Take back the last request: it never left."""

    @abstractmethod
    def spend(self) -> None:
        """Count a request of which nothing was told: the service may have counted it."""

    @abstractmethod
    def spare(self, now: float, under_way: int, share: float) -> float:
        """
        Count what may be sent until the window ends.

        :param now: the moment
        :param under_way: our requests that are not answered yet; the service may not have counted them
        :param share: which part of the limit we keep to
        :return: requests
        """

    @abstractmethod
    def margin(self) -> float:
        """Count what is better not sent, because others may have sent since we were told."""

    @abstractmethod
    def is_shared(self) -> bool:
        """Tell whether others were seen to use it, now or in the window before."""

    @abstractmethod
    def polling_floor(self, share: float) -> float:
        """Count what polling may still send of what is kept for it against a storm of actions."""

    @abstractmethod
    def pace(self, now: float, usable: float, share: float) -> float:
        """
        Say how fast polling may send.

        :param now: the moment
        :param usable: what it may send within this window
        :param share: which part of the limit we keep to
        :return: requests a second
        """

    @abstractmethod
    def opens(self, now: float, missing: float, share: float) -> float:
        """
        Say when more may be sent than what is spare.

        :param now: the moment
        :param missing: how many more
        :param share: which part of the limit we keep to
        :return: seconds from that moment
        """

    @abstractmethod
    def rate(self, share: float) -> float:
        """
        Say what polling may count on in the long run.

        :param share: which part of the limit we keep to
        :return: requests a second
        """


class SlidingWindowLog(Limit):
    """Keep to a number of requests within any window's length, by looking back over our own."""

    #: A request may be counted so many seconds after it was sent.
    _LATENESS = 1.0

    def __init__(self, limit: float, length: float, now: float) -> None:
        super().__init__(limit, length, now)
        self._sent: deque[tuple[float, bool]] = deque()

    def roll(self, now: float) -> None:
        """Forget what is long past."""
        while self._sent and self._sent[0][0] <= now - self.length - self._LATENESS:
            self._sent.popleft()

    def take(self, now: float, *, background: bool) -> None:
        """Count a request that is sent now."""
        self._sent.append((now, background))

    def give_back(self, *, background: bool) -> None:
        """Take back the last request."""
        del background
        if self._sent:
            self._sent.pop()

    def spend(self) -> None:
        """Count nothing: it was counted when it was sent."""

    def spare(self, now: float, under_way: int, share: float) -> float:
        """Count what may be sent now; what is under way was counted when it was sent."""
        del now, under_way
        return self.own(share) - len(self._sent)

    def margin(self) -> float:
        """Count nothing: nothing is known of others."""
        return 0.0

    def is_shared(self) -> bool:
        """Tell that nobody was seen: nothing is told."""
        return False

    def polling_floor(self, share: float) -> float:
        """Count what is left of polling's own."""
        return max(0.0, self.floor(share) - sum(background for _, background in self._sent))

    def pace(self, now: float, usable: float, share: float) -> float:
        """Say how fast polling may send: always the same."""
        del now, usable
        return self.rate(share)

    def opens(self, now: float, missing: float, share: float) -> float:
        """Say when enough of the past is a window's length ago."""
        # What is spare can be sent now, and is a window's length ago when that is over.
        each = max(1, math.floor(self.own(share)), len(self._sent))
        windows, place = divmod(max(0, math.ceil(missing) - 1), each)
        sent = self._sent[place][0] if place < len(self._sent) else now
        return sent - now + self._LATENESS + self.length * (windows + 1)

    def rate(self, share: float) -> float:
        """Say how much of the limit is polling's."""
        return max(self.own(share) - self.reserve(share), 0.0) / self.length
