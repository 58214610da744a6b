"""
Count the requests of one limit: N requests in a window of some seconds.

:class:`SlidingWindowLog` applies the reference's number until a response tells the limit. From then on,
:class:`~connix_provider.client.ratelimit.fixed_window.FixedWindow` follows the headers. All moments are
seconds of the limiter's clock.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque

__all__ = ["Limit", "SlidingWindowLog"]

#: The part of a limit that polling leaves to actions.
_RESERVE = 0.06
#: The part of a limit that actions leave to polling.
_FLOOR = 0.2
#: The part of a limit that may be sent at once: polls after a pause, anything before the first response.
_BURST = 0.05
#: The part of what is left that may be in flight later on, because other machines may use the same key.
_IN_FLIGHT = 0.25


class Limit(ABC):
    """
    Decide how many requests one limit allows.

    :param limit: requests in a window
    :param length: seconds of a window
    """

    def __init__(self, limit: float, length: float) -> None:
        self.limit = limit
        self.length = length
        #: Requests that were sent and have no response yet.
        self.in_flight = 0.0
        #: Requests of this process in the window.
        self.sent_here = 0
        #: When the window ends; infinite if that is not known.
        self.end = math.inf
        #: Whether a response has shown that the service takes requests now.
        self.is_confirmed = False

    def quota(self, share: float) -> float:
        """Return how many requests of a window this process may use; at least one."""
        return max(1.0, share * self.limit)

    def reserve(self, share: float) -> float:
        """Return how many requests of a window polling leaves to actions."""
        quota = self.quota(share)
        return max(1.0, math.floor(_RESERVE * quota)) if quota >= 2 else 0.0

    def floor(self, share: float) -> float:
        """Return how many requests of a window actions leave to polling."""
        quota = self.quota(share)
        return max(1.0, _FLOOR * quota) if quota >= 2 else 0.0

    def burst(self) -> float:
        """Return how many paced requests may be sent at once after a pause."""
        return max(1.0, _BURST * self.limit)

    def rate(self, share: float) -> float:
        """Return the polls a second that the limit allows in the long run."""
        return max(self.quota(share) - self.reserve(share), 0.0) / self.length

    def room(self) -> float:
        """Return how many more requests may be sent before the next response."""
        allowed = _IN_FLIGHT * self._left() if self.is_confirmed else _BURST * self.limit
        return max(1.0, allowed) - self.in_flight

    def take(self, now: float, *, background: bool, shared: bool = True) -> None:
        """Count a request that is sent now; ``shared`` says whether other processes learn of it at once."""
        self.in_flight += 1
        self.sent_here += 1

    def end_request(self, *, shared: bool = True) -> None:
        """Count a request as no longer in flight."""
        self.in_flight = max(0.0, self.in_flight - 1)

    def forget_in_flight(self) -> None:
        """Begin without requests in flight."""
        self.in_flight = 0.0

    @abstractmethod
    def roll(self, now: float) -> None:
        """Go on to a moment."""

    @abstractmethod
    def spend(self) -> None:
        """Count a request that the service may have counted without a response."""

    @abstractmethod
    def give_back(self, *, background: bool) -> None:
        """Take back the last request, which was not sent."""

    @abstractmethod
    def spare(self, share: float) -> float:
        """Return how many requests may be sent before the window ends."""

    @abstractmethod
    def polling_floor(self, share: float) -> float:
        """Return the polls still available from polling's guaranteed minimum."""

    @abstractmethod
    def pace(self, now: float, usable: float, share: float) -> float:
        """Return the paced requests a second, where ``usable`` are left for them in this window."""

    @abstractmethod
    def seconds_until_free(self, now: float, missing: float, share: float) -> float:
        """Return the seconds after which ``missing`` requests more than the spare ones may be sent."""

    @abstractmethod
    def _left(self) -> float:
        """Return how many requests the service still takes, for all users of the key."""


class SlidingWindowLog(Limit):
    """Keep to a number in any window's length, by a log of the requests of this process."""

    #: Seconds after sending within which the service may still count a request.
    _LATENESS = 1.0

    def __init__(self, limit: float, length: float) -> None:
        super().__init__(limit, length)
        self._sent: deque[tuple[float, bool]] = deque()

    def roll(self, now: float) -> None:
        """Forget the requests of former windows."""
        while self._sent and self._sent[0][0] <= now - self.length - self._LATENESS:
            self._sent.popleft()
        self.sent_here = len(self._sent)

    def take(self, now: float, *, background: bool, shared: bool = True) -> None:
        """Log a request that is sent now."""
        super().take(now, background=background)
        self._sent.append((now, background))

    def spend(self) -> None:
        """Do nothing, because the log has the request already."""

    def give_back(self, *, background: bool) -> None:
        """Remove the last request from the log."""
        if self._sent:
            self._sent.pop()
            self.sent_here -= 1

    def spare(self, share: float) -> float:
        """Return how many requests the log leaves."""
        return self.quota(share) - self.sent_here

    def polling_floor(self, share: float) -> float:
        """Return the polls still available from polling's guaranteed minimum."""
        return max(0.0, self.floor(share) - sum(background for _, background in self._sent))

    def pace(self, now: float, usable: float, share: float) -> float:
        """Return the rate of the long run, because a log has no window to use up."""
        return self.rate(share)

    def seconds_until_free(self, now: float, missing: float, share: float) -> float:
        """Return the seconds after which enough requests of the log are older than a window."""
        each = max(1, math.floor(self.quota(share)), len(self._sent))
        windows, place = divmod(max(0, math.ceil(missing) - 1), each)
        sent = self._sent[place][0] if place < len(self._sent) else now
        return sent - now + self._LATENESS + self.length * (windows + 1)

    def _left(self) -> float:
        return self.limit
