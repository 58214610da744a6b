"""Hold how the limits of a key stand: one limit for each endpoint, and those on all requests together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from connix_provider.client.ratelimit.buckets import DOCUMENTED, Bucket
from connix_provider.client.ratelimit.fixed_window import FixedWindow
from connix_provider.client.ratelimit.headers import RateLimitHeaders, ResponseLimits, has_limit_headers
from connix_provider.client.ratelimit.limits import Limit, SlidingWindowLog
from connix_provider.client.ratelimit.poll_probe import PollProbe
from connix_provider.client.ratelimit.server_clock import ServerClock, server_time

__all__ = ["BucketState", "KeyState"]

_MINUTE = 60.0
#: Numbers of an endpoint that processes share besides those of its window.
_OWN = 2
_PLACES = {bucket: place * (_OWN + FixedWindow.SIZE) for place, bucket in enumerate(Bucket)}
#: The API overview knows two limits on all requests of a key: of a minute and of an hour.
_TOGETHER = [len(Bucket) * (_OWN + FixedWindow.SIZE) + place * FixedWindow.SIZE for place in range(2)]
_NO_WINDOW = FixedWindow.SIZE * (0.0,)


class BucketState:
    """State of one endpoint's limit, and the calls of this process that wait for it."""

    def __init__(self, bucket: Bucket) -> None:
        self._documented = DOCUMENTED.get(bucket)
        self.limit: Limit | None = None
        self.was_refused = False
        self.blocked_until = -math.inf
        #: When this process last read and wrote the shared file.
        self.shared_at = -math.inf
        #: The moment of the next paced request of the machine, and the one that this process has reserved.
        #: Each process reserves one at a time, so they take turns.
        self.next_paced_at = -math.inf
        self.reserved_at: float | None = None
        #: Until when a permit that a trigger handed over may be used.
        self.granted_until = -math.inf
        self.poll_probe = PollProbe()
        #: Numbers of the permits that are waited for, in order: of actions, of polls.
        self.queues: tuple[list[int], list[int]] = ([], [])
        self.apply_documented_limit()

    def apply_documented_limit(self) -> None:
        """Apply the limit of the reference's table, where it has one."""
        if self._documented:
            self.limit = SlidingWindowLog(self._documented, _MINUTE)

    def window(self, limit: float, ahead: float | None, now: float) -> FixedWindow:
        """
        Return the window learned from responses, or a new one with the counts of the log.

        :param limit: requests in a new window
        :param ahead: seconds until the end of a new window, if known
        """
        if isinstance(self.limit, FixedWindow):
            return self.limit
        window = FixedWindow(limit, ahead, now)
        if self.limit:
            window.in_flight, window.sent_here = self.limit.in_flight, self.limit.sent_here
        return window


class KeyState:
    """State of all limits of a key."""

    #: How many numbers the processes of a machine share.
    SIZE = _TOGETHER[-1] + FixedWindow.SIZE

    def __init__(self) -> None:
        self.buckets = {bucket: BucketState(bucket) for bucket in Bucket}
        #: The limits on all requests of the key, by the limit's value, because each response names only one.
        self.key_windows: dict[float, FixedWindow] = {}
        self._last_key_limit: float | None = None
        self.server_clock = ServerClock()

    def limits(self, bucket: Bucket, now: float) -> list[Limit]:
        """
        Collect the limits that count for a request.

        :return: the limits, as they stand now
        """
        for value, window in tuple(self.key_windows.items()):
            # A limit whose window ended, and that no response named since, may be gone for good.
            if now >= window.end and value != self._last_key_limit:
                del self.key_windows[value]
        own = self.buckets[bucket].limit
        limits: list[Limit] = (
            [*self.key_windows.values()] if own is None else [own, *self.key_windows.values()]
        )
        for limit in limits:
            limit.roll(now)
        return limits

    def is_ample(self, bucket: Bucket, now: float) -> bool:
        """
        Return whether so much is left that other processes need not learn of each request at once.

        :return: true if responses showed that more than half of each limit is left, or no limit exists; false
            for a limit that only the reference names
        """
        bucket_state = self.buckets[bucket]
        limits = [*self.key_windows.values(), *([bucket_state.limit] if bucket_state.limit else [])]
        return now >= bucket_state.blocked_until and all(
            isinstance(limit, FixedWindow) and limit.is_ample(now) for limit in limits
        )

    def is_known(self, bucket: Bucket, response_limits: ResponseLimits) -> bool:
        """
        Return whether the headers name only known limits and windows.

        :param bucket: the endpoint of the response
        :param response_limits: what its headers say
        :return: false if other processes must learn of a change
        """
        own, of_key = response_limits
        limit = self.buckets[bucket].limit
        if own is not None and not (isinstance(limit, FixedWindow) and limit.is_of(own)):
            return False
        window = None if of_key is None else self.key_windows.get(of_key.limit)
        return of_key is None or (window is not None and window.is_of(of_key))

    def learn(
        self,
        bucket: Bucket,
        headers: Mapping[str, str],
        response_limits: ResponseLimits,
        now: float,
        *,
        is_success: bool,
        is_transient: bool,
        back_off: float | None,
    ) -> None:
        """
        Learn from a response.

        :param headers: the headers, looked up without regard to case
        :param response_limits: their limits
        :param is_success: whether it is a success
        :param is_transient: whether it is an error that may pass by itself
        :param back_off: after a 429, seconds without any request to the endpoint
        """
        self.server_clock.learn(now, server_time(headers))
        self._learn_limits(bucket, response_limits, now, counted=back_off is None)
        bucket_state, has_limits = self.buckets[bucket], response_limits != (None, None)
        if is_success:
            bucket_state.poll_probe.on_success()
        elif is_transient:
            for other in self.buckets.values():
                other.poll_probe.on_refused_elsewhere(now)
            bucket_state.poll_probe.on_refused(now)
        if back_off is not None:
            self.back_off(bucket, now, back_off)
        elif is_success or has_limits:
            # Unparseable rate-limit headers still mean that a limit exists.
            if isinstance(bucket_state.limit, SlidingWindowLog) and not (
                has_limits or bucket_state.was_refused or has_limit_headers(headers)
            ):
                bucket_state.limit = None
            for limit in self.limits(bucket, now):
                limit.is_confirmed = True

    def _learn_limits(
        self, bucket: Bucket, response_limits: ResponseLimits, now: float, *, counted: bool
    ) -> None:
        own, of_key = response_limits
        if own is not None:
            self.learn_own(bucket, now, own, self.server_clock.until(now, own.reset))
        elif counted and (limit := self.buckets[bucket].limit):
            limit.spend()
        for value, window in self.key_windows.items():
            if counted and (of_key is None or value != of_key.limit):
                window.spend()
        if of_key is not None:
            self.learn_of_key(now, of_key, self.server_clock.until(now, of_key.reset))

    def back_off(self, bucket: Bucket, now: float, seconds: float) -> None:
        """
        Keep all requests of an endpoint away for a while, after a 429.

        :param seconds: how long; at most a window
        """
        bucket_state = self.buckets[bucket]
        bucket_state.was_refused = True
        if bucket_state.limit is None:
            bucket_state.apply_documented_limit()
        # A hint may be wrong, so it counts for one window at most; an hour's window only where it is used up.
        used_up = [window.end - now for window in self.key_windows.values() if window.remaining < 1]
        longest = max(_MINUTE if bucket_state.limit is None else bucket_state.limit.length, *used_up, 0.0)
        bucket_state.blocked_until = max(bucket_state.blocked_until, now + min(seconds, longest))
        for limit in self.limits(bucket, now):
            limit.is_confirmed = False

    def learn_own(self, bucket: Bucket, now: float, headers: RateLimitHeaders, ahead: float | None) -> None:
        """
        Learn from headers of an endpoint's own limit.

        :param ahead: seconds until the end of the window, if known
        """
        window = self.buckets[bucket].window(headers.limit, ahead, now)
        window.learn(now, headers, ahead)
        self.buckets[bucket].limit = window

    def learn_of_key(self, now: float, headers: RateLimitHeaders, ahead: float | None) -> None:
        """
        Learn from headers of a limit on all requests together.

        :param ahead: seconds until the end of the window, if known
        """
        if headers.limit not in self.key_windows:
            self.key_windows[headers.limit] = FixedWindow(headers.limit, ahead, now)
        self.key_windows[headers.limit].learn(now, headers, ahead)
        self._last_key_limit = headers.limit

    def load(self, numbers: Sequence[float], bucket: Bucket, now: float) -> None:
        """
        Take over what other processes of the machine know of the limits that count for an endpoint.

        :param numbers: what they share: a part for each endpoint, then a part for each limit on all requests
        """
        bucket_state, at = self.buckets[bucket], _PLACES[bucket]
        bucket_state.shared_at = now
        blocked_until, next_paced_at = numbers[at : at + _OWN]
        if bucket_state.blocked_until < blocked_until <= now + 60 * _MINUTE:
            bucket_state.blocked_until = blocked_until
        if next_paced_at <= now + 60 * _MINUTE:
            bucket_state.next_paced_at = next_paced_at
        window = bucket_state.window(1, None, now)
        if window.load(numbers[at + _OWN : at + _OWN + FixedWindow.SIZE], now):
            bucket_state.limit = window
        for at in _TOGETHER:
            # The limit itself is the first number of its window.
            if not (limit := numbers[at]):
                continue
            window = self.key_windows.get(limit) or FixedWindow(limit, None, now)
            if window.load(numbers[at : at + FixedWindow.SIZE], now):
                self.key_windows[limit] = window

    def dump(self, numbers: list[float], bucket: Bucket) -> None:
        """
        Share what this process knows of the limits that count for an endpoint.

        :param numbers: as for :meth:`load`; changed in place
        """
        bucket_state, at = self.buckets[bucket], _PLACES[bucket]
        numbers[at : at + _OWN] = bucket_state.blocked_until, bucket_state.next_paced_at
        if isinstance(bucket_state.limit, FixedWindow):
            numbers[at + _OWN : at + _OWN + FixedWindow.SIZE] = bucket_state.limit.dump()
        windows = list(self.key_windows.values())[-len(_TOGETHER) :]
        for place, at in enumerate(_TOGETHER):
            numbers[at : at + FixedWindow.SIZE] = (
                windows[place].dump() if place < len(windows) else _NO_WINDOW
            )
