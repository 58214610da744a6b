"""
Follow a fixed window by what the service tells of it.

What several processes on one key do rests on one rule: each spreads *what is left* over *the time that is
left*. All see the same remainder, so they get equal parts without knowing of each other, a newcomer at once,
and the part of one that left goes to the others. Followed alone, that rule would spend most of a window
early when many follow it. Each therefore takes the less the smaller its part of the last windows was: the
square root of the part, which evens out any difference within a few windows.
"""

from __future__ import annotations

import math

from connix_provider.client.ratelimit.headers import RateLimitHeaders
from connix_provider.client.ratelimit.limits import Limit

__all__ = ["FixedWindow"]

#: However little of the last window was ours, we count for this part when the next one is shared out.
_LEAST_PART = 1 / 16
#: What is assumed before the first window was seen to its end.
_FIRST_PART = 0.5
#: From this part on, nobody else is there; a request or two may have been counted elsewhere.
_ALONE = 0.95
#: The lengths that the reference and the overview know, and a day.
_LENGTHS = (60.0, 3600.0, 86_400.0)
#: A reset may be rounded either way.
_ROUNDING = 1.0


class FixedWindow(Limit):
    """
    Follow a fixed window by what the service tells.

    :param limit: requests in a window, as first told
    :param ahead: seconds until the window ends, where that is known
    :param now: the moment
    """

    #: What is left at the service, as far as was told, and when it is full again.
    left: float
    end: float
    _is_told: bool
    _mine: int
    _polled: int
    _before: float
    _seen_since: float

    def __init__(self, limit: float, ahead: float | None, now: float) -> None:
        super().__init__(limit, _LENGTHS[0], now)
        self._part = _FIRST_PART
        self._others = 0.0
        self._reset: float | None = None
        self._told_at = now
        self._stretch(ahead)
        self.end = now + self.length
        self._begin(now)

    def roll(self, now: float) -> None:
        """Go on to the window that runs at a moment; nothing has been told of it yet."""
        if now >= self.end:
            self._close()
            self.end += (math.floor((now - self.end) / self.length) + 1) * self.length
            self._begin(now)

    def learn(self, now: float, told: RateLimitHeaders, ahead: float | None, *, counted: bool) -> None:
        """
        Take in what an answer tells.

        :param now: the moment
        :param told: what it tells
        :param ahead: seconds until its window ends, at most, where that is known
        :param counted: whether the request was counted by the service; one that was refused is not
        """
        self.roll(now)
        if ahead is None or ahead > _LENGTHS[-1] + _ROUNDING or ahead < -_ROUNDING * 2:
            # No reset, or none that can be right: the numbers still count, the window stays as it was.
            self._tell(now, told, counted=counted)
        elif ahead > 0:
            self._learn_in_time(now, told, ahead, counted=counted)
        # Otherwise the window ended while the answer was on its way.

    def _learn_in_time(self, now: float, told: RateLimitHeaders, ahead: float, *, counted: bool) -> None:
        assert told.reset is not None
        since = math.inf if self._reset is None else told.reset - self._reset
        if now - self._told_at > 2 * self.length and since <= _ROUNDING:
            # Nothing of a later window for so long: the server's clock was set back.
            since = math.inf
        if since < -_ROUNDING or (since <= _ROUNDING and not self._is_told):
            return  # of a window that is over: what was left then says nothing of now
        if since > _ROUNDING:
            if since < self.length:
                self.length = max(since, ahead)
            if self._is_told:
                self._close()
                self._begin(now)
            self._stretch(ahead)
            self._reset, self.end = told.reset, now + ahead
        self._told_at = now
        self.end = min(self.end, now + ahead)
        self._tell(now, told, counted=counted)

    def _tell(self, now: float, told: RateLimitHeaders, *, counted: bool) -> None:
        if not self._is_told:
            # What was used before our first answer says nothing of how the rest is shared.
            self._before = max(0.0, told.limit - told.remaining - self._mine - counted)
            self._seen_since = now
            self.left, self._is_told = told.remaining, True
        else:
            # Answers overtake each other: in a window only less can be left, unless the limit itself grew.
            self.left = min(max(0.0, self.left + told.limit - self.limit), told.remaining)
        self.limit = told.limit
        self._mine += counted

    def spend(self) -> None:
        """Count a request of which nothing was told: it may have been counted."""
        self.left = max(0.0, self.left - 1)
        self._mine += 1

    def take(self, now: float, *, background: bool) -> None:
        """Count a request that is sent now."""
        del now
        self._polled += background

    def give_back(self, *, background: bool) -> None:
        """Take back a request that never left."""
        self._polled = max(0, self._polled - background)

    def spare(self, now: float, under_way: int, share: float) -> float:
        """Count what may be sent until the window ends."""
        own = math.inf if share >= 1 else self.own(share) - self._mine
        return min(self._left_now(now), own) - under_way

    def gate(self, now: float, under_way: int) -> float:
        """Count what may be sent before the next answer: a part of what is left, where others send too."""
        probes = super().gate(now, under_way)
        if self._part_now() >= _ALONE:
            return probes
        # Others send at the same moment, and the answers do not show it yet: hence only half of our part.
        return min(probes, max(1.0, self._left_now(now) * self._weighed_part() / 2) - under_way)

    def margin(self) -> float:
        """Leave some where others are on the key: they may have sent since we were told."""
        if (part := self._part_now()) >= _ALONE:
            return 0.0
        reserve = self.reserve(1.0)
        # As many as there seem to be others: each may be about to send.
        others = round(1 / max(part, _LEAST_PART)) - 1 if self.is_shared() else 0
        return max(math.floor(reserve / 2), min(reserve, others))

    def is_shared(self) -> bool:
        """Tell whether more was used than we did; one more may be ours, counted twice."""
        return self._others > 1 or self._used() - self._mine > 1

    def polling_floor(self, share: float) -> float:
        """Count what polling may still send of what is kept for it against a storm of actions."""
        return max(0.0, self.floor(share) - self._polled)

    def pace(self, now: float, usable: float, share: float) -> float:
        """Spread what is left over the time that is left."""
        del share
        return math.sqrt(self._weighed_part()) * max(0.0, usable) / max(self.end - now, 1e-3)

    def burst(self) -> float:
        """Count what polling may send at once: the less, the more others there are."""
        return max(1.0, super().burst() * self._weighed_part())

    def opens(self, now: float, missing: float, share: float) -> float:
        """Say when a later window has room."""
        # As long as nobody else was seen, nothing is known against having all of it.
        part = self._weighed_part() if self.is_shared() else 1.0
        each = max(1.0, min(share, part) * self.limit)
        return self.end - now + (math.ceil(missing / each) - 1) * self.length

    def rate(self, share: float) -> float:
        """Say what polling may count on: what others leave, and never less than our part."""
        free = max(1 - self._others / self.limit, self._weighed_part())
        return max(min(free, share) * self.limit - self.reserve(share), 0.0) / self.length

    def _left_now(self, now: float) -> float:
        """Estimate what is left by now: others went on since we were told, as they do by the same rule."""
        if self._part_now() >= _ALONE or not self._is_told:
            return self.left
        part = self._weighed_part()
        gone = (self.end - now) / max(self.end - self._told_at, 1e-3)
        reserve = min(self.reserve(1.0), self.left)
        return reserve + (self.left - reserve) * math.pow(min(1.0, gone), (1 - part) / math.sqrt(part))

    def _weighed_part(self) -> float:
        return max(self._part_now(), _LEAST_PART)

    def _part_now(self) -> float:
        """Estimate which part of what is used is ours: as in the windows before, or less by what we see."""
        used = self._used()
        return min(self._part, (self._mine + 1) / (used + 1)) if used else self._part

    def _used(self) -> float:
        """Count what was used since our first answer in this window."""
        return max(self.limit - self.left - self._before, self._mine)

    def _stretch(self, ahead: float | None) -> None:
        """Find a length for a window that ends later than ours would."""
        if ahead is not None and self.length < ahead - _ROUNDING <= _LENGTHS[-1]:
            self.length = next(known for known in _LENGTHS if known >= ahead - _ROUNDING)

    def _begin(self, now: float) -> None:
        self.left = self.limit
        self._is_told = False
        self._mine, self._polled, self._before, self._seen_since = 0, 0, 0.0, now
        self.probe(now)

    def _close(self) -> None:
        """Draw the conclusions from a window that is over."""
        if not self._is_told:
            return
        used = self._used()
        self._part = (self._part + (self._mine / used if used else 1.0)) / 2
        seen = max(self.end - self._seen_since, 1.0)
        self._others = min(self.limit, (used - self._mine) * max(1.0, self.length / seen))
