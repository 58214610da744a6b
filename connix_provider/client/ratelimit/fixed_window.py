"""
Follow a window that the service counts, by the headers of its responses.

One ``X-RateLimit-Reset`` names one window. Within a window only less can be left, so a late response raises
nothing. A response of a window that is over changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from connix_provider.client.ratelimit.headers import RateLimitHeaders
from connix_provider.client.ratelimit.limits import Limit

__all__ = ["FixedWindow"]

#: The lengths that the reference and the API overview know, and a day; in seconds.
_LENGTHS = (60.0, 3600.0, 86_400.0)
#: A reset may be rounded either way.
_ROUNDING = 1.0
#: Exponent of this machine's share: with 1, unequal shares would stay unequal; with 0, each would take all.
_FAIRNESS_EXPONENT = 0.65
#: The part of a window by which the last paced request is early, because a later one may be another window's.
_EARLY = 0.02


class WindowNumbers(NamedTuple):
    """The numbers of a window that the processes of a machine share."""

    limit: float
    length: float
    end: float
    reset: float
    remaining: float
    in_flight: float
    sent: float
    before: float
    polled: float
    learned_at: float
    is_confirmed: float
    is_known: float


class FixedWindow(Limit):
    """
    Follow a window that the service counts, by the headers of its responses.

    :param limit: requests in a window, by the first response
    :param ahead: seconds until the window ends, or ``None``
    """

    #: How many numbers :meth:`dump` returns.
    SIZE = len(WindowNumbers._fields)

    #: Requests that the service still takes from all users of the key, by its headers.
    remaining: float
    #: Requests of this machine in the window, and those of all users before the window's first response.
    _sent: float
    _before: float
    _polled: float
    _is_known: bool
    #: Requests since the last exchange with other processes, and those of them in flight.
    _unshared: float
    _unshared_in_flight: float

    def __init__(self, limit: float, ahead: float | None, now: float) -> None:
        super().__init__(limit, _LENGTHS[0])
        self._stretch(ahead)
        self.end = now + self.length
        #: The server's epoch second of the end, which tells one window from the next; -1 where it is unknown.
        self.reset = -1.0
        self._learned_at = now
        self._begin()

    def dump(self) -> WindowNumbers:
        """Return the numbers that the processes of a machine share."""
        return WindowNumbers(
            limit=self.limit,
            length=self.length,
            end=self.end,
            reset=self.reset,
            remaining=self.remaining,
            in_flight=max(0.0, self.in_flight - self._unshared_in_flight),
            sent=self._sent,
            before=self._before,
            polled=self._polled,
            learned_at=self._learned_at,
            is_confirmed=float(self.is_confirmed),
            is_known=float(self._is_known),
        )

    def load(self, numbers: Sequence[float], now: float) -> bool:
        """
        Take over the numbers of other processes of the machine, and add the requests that they do not know.

        :param numbers: as :meth:`dump` returned them
        :return: whether they can be the numbers of a window
        """
        shared = WindowNumbers(*numbers)
        if not (shared.limit >= 1 and 0 < shared.length <= _LENGTHS[-1]):
            return False
        if not (0 <= shared.remaining <= shared.limit and 0 <= shared.in_flight < math.inf):
            return False
        if not (shared.learned_at <= now and shared.end - shared.learned_at <= _LENGTHS[-1]):
            # Written before a restart of the machine, or by another clock.
            return False
        self.roll(now)
        remaining = shared.remaining
        if self._is_known and (shared.reset != self.reset or shared.end > self.end + _ROUNDING):
            self.sent_here = 0
            self._unshared = self._unshared_in_flight = 0.0
        elif self._unshared and shared.limit == self.limit:
            remaining = min(remaining, self.remaining)
        self.limit, self.length = shared.limit, shared.length
        self.end, self.reset = shared.end, shared.reset
        self.remaining, self.in_flight = remaining, shared.in_flight + self._unshared_in_flight
        self._sent, self._before = shared.sent + self._unshared, shared.before
        self._polled, self._unshared = shared.polled, 0.0
        self._learned_at, self.is_confirmed = shared.learned_at, bool(shared.is_confirmed)
        self._is_known = bool(shared.is_known)
        return True

    def roll(self, now: float) -> None:
        """Begin the current window, which no response has described yet."""
        if now >= self.end:
            self.end += (math.floor((now - self.end) / self.length) + 1) * self.length
            self._begin()

    def learn(self, now: float, headers: RateLimitHeaders, ahead: float | None) -> None:
        """
        Learn from the headers of a response.

        :param ahead: the most seconds until the end of their window, or ``None``
        """
        self.roll(now)
        if headers.reset is None or ahead is None or not -2 * _ROUNDING <= ahead <= _LENGTHS[-1] + _ROUNDING:
            # Without a plausible reset, the numbers still count.
            self._apply(headers)
        elif ahead > 0:
            self._learn_in_time(now, headers, headers.reset, ahead)
        # Otherwise the window ended while the response was on its way.

    def _learn_in_time(self, now: float, headers: RateLimitHeaders, reset: float, ahead: float) -> None:
        since = math.inf if self.reset < 0 else reset - self.reset
        if now - self._learned_at > 2 * self.length and since <= _ROUNDING:
            # For so long no response was of a later window, so the server's clock was set back.
            since = math.inf
        if since < -_ROUNDING or (since <= _ROUNDING and not self._is_known):
            return  # of a window that is over
        if since > _ROUNDING:
            if since < self.length:
                self.length = max(since, ahead)
            if self._is_known:
                self._begin()
            self._stretch(ahead)
            self.reset, self.end = reset, now + ahead
        self._learned_at = now
        self.end = min(self.end, now + ahead)
        self._apply(headers)

    def _apply(self, headers: RateLimitHeaders) -> None:
        # Responses overtake each other. Within a window the remaining count only decreases, unless the limit
        # grew.
        grown = max(0.0, self.remaining + headers.limit - self.limit)
        if not self._is_known:
            self._before = max(0.0, headers.limit - headers.remaining - self._sent)
        self.remaining = min(grown, headers.remaining) if self._is_known else headers.remaining
        self.limit, self._is_known = headers.limit, True

    def is_of(self, headers: RateLimitHeaders | None) -> bool:
        """Return whether headers describe this window, with the known limit."""
        if headers is None or headers.reset is None or not self._is_known:
            return False
        return headers.limit == self.limit and abs(headers.reset - self.reset) <= _ROUNDING

    def is_ample(self, now: float) -> bool:
        """Return whether more than half of the window is left."""
        return self.is_confirmed and now < self.end and self.remaining - self.in_flight > self.limit / 2

    def take(self, now: float, *, background: bool, shared: bool = True) -> None:
        """Count a request that is sent now."""
        super().take(now, background=background)
        self._sent += 1
        self._polled += background
        if not shared:
            self._unshared += 1
            self._unshared_in_flight += 1

    def end_request(self, *, shared: bool = True) -> None:
        """Count a request as no longer in flight."""
        super().end_request()
        if not shared:
            self._unshared_in_flight = max(0.0, self._unshared_in_flight - 1)

    def forget_in_flight(self) -> None:
        """Begin without requests in flight."""
        super().forget_in_flight()
        self._unshared_in_flight = 0.0

    def spend(self) -> None:
        """Count a request that the service may have counted without a response."""
        self.remaining = max(0.0, self.remaining - 1)

    def give_back(self, *, background: bool) -> None:
        """Take back a request that never left."""
        self.sent_here = max(0, self.sent_here - 1)
        self._sent = max(0.0, self._sent - 1)
        self._polled = max(0.0, self._polled - background)

    def spare(self, share: float) -> float:
        """Return how many requests may be sent before the window ends."""
        quota = math.inf if share >= 1 else self.quota(share) - self.sent_here
        return min(self.remaining - self.in_flight, quota)

    def polling_floor(self, share: float) -> float:
        """Return the polls still available from polling's guaranteed minimum."""
        return max(0.0, self.floor(share) - self._polled)

    def pace(self, now: float, usable: float, share: float) -> float:
        """Spread what is left over the time that is left, among the machines that use the key."""
        left = max(self.end - now - _EARLY * self.length, 1e-3)
        # Several machines together send too much at first, and all of them see that less is left than time.
        behind = min(1.0, self.remaining / self.limit * self.length / left)
        return behind * math.pow(self._part(), _FAIRNESS_EXPONENT) * max(0.0, usable) / left

    def _part(self) -> float:
        """Return the part of the requests since this machine's first one that it sent itself."""
        answered = max(0.0, self._sent - self.in_flight)
        used = max(0.0, self.limit - self.remaining - self._before)
        return min(1.0, (answered + 1) / (used + 1))

    def seconds_until_free(self, now: float, missing: float, share: float) -> float:
        """Return the seconds until a later window has room."""
        return self.end - now + (math.ceil(missing / self.quota(share)) - 1) * self.length

    def _left(self) -> float:
        return self.remaining

    def _stretch(self, ahead: float | None) -> None:
        """Find a length for a window that ends later than one of the present length would."""
        if ahead is not None and self.length < ahead - _ROUNDING <= _LENGTHS[-1]:
            self.length = next(known for known in _LENGTHS if known >= ahead - _ROUNDING)

    def _begin(self) -> None:
        self.remaining = self.limit
        # A request in flight is forgotten here, because a killed process would leave it there forever.
        self.in_flight, self.sent_here = 0.0, 0
        self._sent, self._before, self._polled = 0.0, 0.0, 0.0
        self._unshared = self._unshared_in_flight = 0.0
        self.is_confirmed = self._is_known = False
