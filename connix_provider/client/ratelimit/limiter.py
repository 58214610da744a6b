"""
Keep a key's limiter: whoever sends asks first, and every answer teaches.

A :class:`RateLimiter` is shared by everything in a process that uses one key, synchronous or not
(:mod:`connix_provider.client.registry` finds it). Whoever wants to send takes a :class:`Permit` and asks; the
answer is a slot, or in how many seconds to ask again. Nothing here sends, sleeps or waits for anything but a
lock held for microseconds.

What somebody waits for goes first; polling is spread over the window. Within each of the two, whoever came
first is served first: all who wait stand in a line, and nobody takes a slot while those ahead have none to
take. A slot is counted for them also while they sleep, so a thousand need not be woken to let one through.
"""

from __future__ import annotations

import bisect
import itertools
import math
import threading
import time
from collections.abc import Callable, Mapping

from connix_provider.client.ratelimit.buckets import DOCUMENTED, Bucket
from connix_provider.client.ratelimit.fixed_window import FixedWindow
from connix_provider.client.ratelimit.headers import (
    KEY_FAMILY,
    ServerClock,
    reading,
    server_time,
    tells_of_limits,
)
from connix_provider.client.ratelimit.limits import Limit, SlidingWindowLog
from connix_provider.client.ratelimit.poll_probe import PollProbe

__all__ = ["Permit", "RateLimiter", "recheck_delay"]

_MINUTE = 60.0
#: Seconds after which an answer may be there, and what those further behind wait longer.
_AN_ANSWER, _STEP = 0.05, 0.0025
#: One refusal keeps the others away for one window at most, whatever its hint says.
_LONGEST_BLOCK = 1.0
#: Whoever waits asks again after half of the time that is expected, between these bounds in seconds.
_SHORT_NAP, _LONG_NAP = 1.0, 10.0
#: Less is lost in the rounding of clocks.
_SHORTEST_NAP = 0.001
#: Counting with fractions leaves a little less than a whole now and then.
_EPSILON = 1e-6


class _Endpoint:
    """Hold how things stand for one bucket: its limit, who is under way, and who waits."""

    def __init__(self, documented: int | None, now: float) -> None:
        self.limit: SlidingWindowLog | FixedWindow | None = (
            SlidingWindowLog(documented, _MINUTE, now) if documented else None
        )
        self.was_refused = False
        self.blocked_until = -math.inf
        self.under_way = 0
        self.credit = math.inf
        self.credited_at = now
        self.poll_probe = PollProbe()
        #: Numbers of the permits that wait, in order: for actions, for polling.
        self.lines: tuple[list[int], list[int]] = ([], [])


class RateLimiter:
    """
    Decide when a request of one key may be sent.

    It starts from the reference's table. A service whose good answers tell of no limit has none to keep,
    until it refuses or tells. All methods may be called from any thread.

    :param share: the part of each limit that this process keeps to, more than 0 and at most 1
    :param clock: a clock in seconds that is never set
    """

    def __init__(self, share: float = 1.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.share = share
        self.used_at = clock()
        self._clock = clock
        self._numbers = itertools.count()
        self._server = ServerClock()
        self._endpoints = {bucket: _Endpoint(DOCUMENTED.get(bucket), self.used_at) for bucket in Bucket}
        #: The limits on all calls together, by their number: an hour's and a minute's are told in turns.
        self._together: dict[float, FixedWindow] = {}
        self._told_last: float | None = None
        # A permit may be closed by the garbage collection, and a signal's handler may send, in the middle of
        # anything.
        self._lock = threading.RLock()

    def permit(self, bucket: Bucket, *, background: bool = False) -> Permit:
        """
        Take a number for one call.

        :param bucket: the budget that the call spends
        :param background: whether it is polling, which nobody waits for at this very moment
        :return: the permit; use it in a ``with`` block
        """
        return Permit(self, bucket, background=background, number=next(self._numbers))

    def rate(self, bucket: Bucket) -> float:
        """
        Say how much polling may be planned: what is left to it after reserve, share and others on the key.

        :param bucket: the budget
        :return: requests a second, infinite where there is no limit
        """
        with self._lock:
            limits = self._limits(bucket, self._clock())
            return min((limit.rate(self.share) for limit in limits), default=math.inf)

    def expected_wait(self, bucket: Bucket, *, background: bool = False) -> float:
        """
        Say how long a call that is made now would wait, without taking a place in the line.

        :param bucket: the budget that the call spends
        :param background: whether it is polling
        :return: seconds, 0 where it could be sent at once
        """
        with self._lock:
            now = self._clock()
            endpoint = self._endpoints[bucket]
            place = len(endpoint.lines[background])
            limits = self._limits(bucket, now)
            return self._wait(endpoint, limits, now, place, background=background)

    def server_time(self) -> float | None:
        """
        Say what the service's clock shows, at least.

        :return: epoch seconds, or ``None`` where no answer has told
        """
        with self._lock:
            return self._server.at(self._clock())

    def forget_those_who_wait(self) -> None:
        """Begin as a forked process: with what is known, but nobody else's requests, waits and locks."""
        self._lock = threading.RLock()
        for endpoint in self._endpoints.values():
            endpoint.under_way = 0
            endpoint.lines = ([], [])

    def _limits(self, bucket: Bucket, now: float) -> list[Limit]:
        """Collect the limits that count for a bucket, as they stand now."""
        own = self._endpoints[bucket].limit
        for number, window in list(self._together.items()):
            # One that ended and was not told of since may be gone for good.
            if now >= window.end and number != self._told_last:
                del self._together[number]
        limits: list[Limit] = [*self._together.values()] if own is None else [own, *self._together.values()]
        for limit in limits:
            limit.roll(now)
        return limits

    def _under_way(self, limit: Limit, endpoint: _Endpoint) -> int:
        if limit is endpoint.limit:
            return endpoint.under_way
        return sum(each.under_way for each in self._endpoints.values())

    def try_acquire(self, permit: Permit) -> float:
        """
        Take a slot for a permit, or a place in the line.

        :param permit: the permit
        :return: 0 where the slot is taken, otherwise the seconds after which there may be one
        """
        with self._lock:
            now = self.used_at = self._clock()
            endpoint = self._endpoints[permit.bucket]
            line = endpoint.lines[permit.background]
            place = bisect.bisect_left(line, permit.number)
            limits = self._limits(permit.bucket, now)
            wait = self._wait(endpoint, limits, now, place, background=permit.background)
            if permit.background:
                # Only the first in the line; those behind it see what it meets.
                wait = min(wait, endpoint.poll_probe.wait(now) + (_a_little(place) if place else 0.0))
            is_in_line = place < len(line) and line[place] == permit.number
            if wait > 0:
                if not is_in_line:
                    line.insert(place, permit.number)
                return wait
            if is_in_line:
                del line[place]
            for limit in limits:
                limit.take(now, background=permit.background)
            endpoint.under_way += 1
            endpoint.credit -= permit.background
            if permit.background:
                endpoint.poll_probe.sent(now)
            return 0.0

    def _wait(
        self, endpoint: _Endpoint, limits: list[Limit], now: float, place: int, *, background: bool
    ) -> float:
        if now < endpoint.blocked_until:
            return endpoint.blocked_until - now + _STEP * place
        wanted = place + 1 - _EPSILON
        actions, polling = (len(line) for line in endpoint.lines)
        wait, pace, burst = 0.0, math.inf, math.inf
        for limit in limits:
            under_way = self._under_way(limit, endpoint)
            spare = limit.spare(now, under_way, self.share)
            floor = limit.polling_floor(self.share)
            if background:
                usable = spare - limit.reserve(self.share) - actions
                if actions:
                    usable = max(usable, min(floor, spare))
                pace = min(pace, limit.pace(now, usable, self.share))
                burst = min(burst, limit.burst())
            else:
                # Whoever is alone may have the last one; several would all take it.
                margin = limit.margin() if actions or under_way or limit.is_shared() else 0.0
                usable = spare - margin - (floor if polling else 0.0)
            if usable < wanted:
                wait = max(wait, limit.opens(now, wanted - max(usable, 0.0), self.share))
            elif (gate := limit.gate(now, under_way)) < wanted:
                wait = max(wait, _a_little(wanted - gate))
        if background and limits:
            earned = endpoint.credit + pace * (now - endpoint.credited_at)
            endpoint.credit, endpoint.credited_at = min(burst, earned), now
            if endpoint.credit < wanted and pace > 0:
                wait = max(wait, (wanted - endpoint.credit) / pace)
        return wait

    def leave(self, permit: Permit) -> None:
        """
        Leave the line.

        :param permit: the permit
        """
        with self._lock:
            line = self._endpoints[permit.bucket].lines[permit.background]
            place = bisect.bisect_left(line, permit.number)
            if place < len(line) and line[place] == permit.number:
                del line[place]

    def on_response(
        self, permit: Permit, headers: Mapping[str, str], *, good: bool, back_off: float | None
    ) -> None:
        """
        Learn from an answer.

        :param permit: whose answer it is
        :param headers: its headers, looked up without regard to case
        :param good: whether it is a success
        :param back_off: seconds for which all keep away, where it is a refusal for the rate limit
        """
        with self._lock:
            now = self._clock()
            endpoint = self._endpoints[permit.bucket]
            endpoint.under_way = max(0, endpoint.under_way - 1)
            self._server.learn(now, server_time(headers))
            counted = back_off is None
            told = self._learn_own(permit.bucket, headers, now, counted=counted)
            told |= self._learn_together(headers, now, counted=counted)
            if good:
                endpoint.poll_probe.succeeded()
            else:
                for each in self._endpoints.values():
                    each.poll_probe.others_refused(now)
                endpoint.poll_probe.refused(now)
            if back_off is not None:
                self._back_off(permit.bucket, now, back_off)
            elif good or told:
                # Words that are not understood are words of a limit all the same.
                if isinstance(endpoint.limit, SlidingWindowLog) and not (
                    told or endpoint.was_refused or tells_of_limits(headers)
                ):
                    endpoint.limit = None
                for limit in self._limits(permit.bucket, now):
                    limit.proven()

    def _learn_own(self, bucket: Bucket, headers: Mapping[str, str], now: float, *, counted: bool) -> bool:
        endpoint = self._endpoints[bucket]
        told = reading(headers)
        if told is None:
            if endpoint.limit is not None and counted:
                endpoint.limit.spend()
            return False
        ahead = self._server.until(now, told.reset)
        if not isinstance(endpoint.limit, FixedWindow):
            endpoint.limit = FixedWindow(told.limit, ahead, now)
        endpoint.limit.learn(now, told, ahead, counted=counted)
        return True

    def _learn_together(self, headers: Mapping[str, str], now: float, *, counted: bool) -> bool:
        told = reading(headers, KEY_FAMILY)
        for number, window in tuple(self._together.items()):
            if counted and (told is None or number != told.limit):
                window.spend()
        if told is None:
            return False
        ahead = self._server.until(now, told.reset)
        if told.limit not in self._together:
            self._together[told.limit] = FixedWindow(told.limit, ahead, now)
        self._together[told.limit].learn(now, told, ahead, counted=counted)
        self._told_last = told.limit
        return True

    def _back_off(self, bucket: Bucket, now: float, seconds: float) -> None:
        """Keep everybody away for a while; then go slowly."""
        endpoint = self._endpoints[bucket]
        endpoint.was_refused = True
        if endpoint.limit is None and (documented := DOCUMENTED.get(bucket)):
            endpoint.limit = SlidingWindowLog(documented, _MINUTE, now)
        # One word, perhaps a wrong one, must not close a key for an hour; but an hour's limit that is used up
        # does.
        full_again = [window.end - now for window in tuple(self._together.values()) if window.left < 1]
        window = max(_MINUTE if endpoint.limit is None else endpoint.limit.length, *full_again, 0.0)
        until = now + min(seconds, _LONGEST_BLOCK * window)
        endpoint.blocked_until = max(endpoint.blocked_until, until)
        for limit in self._limits(bucket, now):
            limit.probe(endpoint.blocked_until)

    def on_no_response(self, permit: Permit, *, may_have_arrived: bool) -> None:
        """
        Learn that a request will not be answered.

        :param permit: whose request it was
        :param may_have_arrived: whether the service may have counted it
        """
        with self._lock:
            endpoint = self._endpoints[permit.bucket]
            endpoint.under_way = max(0, endpoint.under_way - 1)
            for limit in self._limits(permit.bucket, self._clock()):
                if may_have_arrived:
                    limit.spend()
                else:
                    limit.give_back(background=permit.background)
            endpoint.credit += permit.background and not may_have_arrived


def _a_little(behind: float) -> float:
    """Say when to ask again where only an answer is waited for; those far behind need not hurry."""
    return _AN_ANSWER + _STEP * behind


class Permit:
    """
    Stand for one call in its budget's line, from the first question to the last answer.

    :param limiter: the budget
    :param bucket: which of its limits the call spends
    :param background: whether the call is polling
    :param number: its place among all that ask
    """

    __slots__ = ("_has_slot", "_limiter", "background", "bucket", "number")

    def __init__(self, limiter: RateLimiter, bucket: Bucket, *, background: bool, number: int) -> None:
        self._limiter = limiter
        self._has_slot = False
        self.bucket = bucket
        self.background = background
        self.number = number

    def try_acquire(self) -> float:
        """
        Ask for a slot.

        A call that is sent again keeps its number, and with it its place.

        :return: 0 where the slot is taken and the request is to be sent now, otherwise the seconds after
            which there may be one
        """
        wait = self._limiter.try_acquire(self)
        self._has_slot = wait == 0
        return wait

    def on_response(
        self, headers: Mapping[str, str], *, good: bool = True, back_off: float | None = None
    ) -> None:
        """
        Hand over what an answer tells.

        :param headers: its headers, looked up without regard to case
        :param good: whether it is a success
        :param back_off: seconds for which all who share the budget are to keep away, where the answer is a
            refusal for the rate limit
        """
        self._has_slot = False
        self._limiter.on_response(self, headers, good=good and back_off is None, back_off=back_off)

    def on_no_response(self, *, may_have_arrived: bool) -> None:
        """
        Tell that no answer will come; without a slot there is nothing to tell.

        :param may_have_arrived: whether the service may have counted the request
        """
        if self._has_slot:
            self._has_slot = False
            self._limiter.on_no_response(self, may_have_arrived=may_have_arrived)

    def __enter__(self) -> Permit:
        return self

    def __exit__(self, *_: object) -> None:
        self.on_no_response(may_have_arrived=True)
        self._limiter.leave(self)


def recheck_delay(wait: float) -> float:
    """
    Say how long to sleep at once where a slot is expected later: what is expected changes meanwhile.

    :param wait: seconds after which there may be a slot
    :return: seconds after which to ask again
    """
    return max(_SHORTEST_NAP, min(wait, max(_SHORT_NAP, wait / 2), _LONG_NAP))
