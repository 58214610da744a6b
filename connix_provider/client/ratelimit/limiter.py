"""
Decide when a request of one key may be sent.

Each request takes a permit first, and each response updates the limiter. One :class:`RateLimiter` serves
everything in a process that uses a key; :mod:`connix_provider.client.ratelimit.registry` finds it.

**The rule.** What is left by the headers is spread over the time that is left in the window. An example:
List Agents allows 100 requests a minute. The window ends in 30 s, and ``X-RateLimit-Remaining`` is 66. Six
of them stay in reserve for actions, so polls go at (66 - 6) / 30 s = 2 a second.

**Other machines.** If another machine then sends 30 requests, the next ``Remaining`` leaves 1 a second for
both. Each machine polls at ``part ** 0.65`` of that, where ``part`` is its part of the window's requests: two
equal machines send 0.5 ** 0.65 = 0.64 a second each. With an exponent of 1, uneven parts would stay uneven.
Together they exceed the limit at first. ``Remaining`` then falls faster than the time, and both slow down.

- *Actions* are requests that a task waits for now. They are not spread: they may use all that is left at
  once.
- *Polls* are spread, and leave a reserve to actions. Actions leave a minimum to polls.
- *Paced* permits are actions that a trigger lets other processes send. They are spread as polls are.
- Within each kind, the call that came first goes first. A queued call sleeps and keeps its place, so a
  thousand calls need not be woken to let one through.
- At most a quarter of what is left is in flight at once, because other machines may use the key at the same
  moment. Before the first response of a window it is 5 % of the limit.

Before the first response, the reference's table counts. A service whose successful responses have no
rate-limit headers has no limit, until it refuses a request.

**Other processes.** All processes of a machine count together in a file, see
:mod:`connix_provider.client.ratelimit.shared`. A process reads and writes the file with each permit and each
response. While more than half of a limit is left, a process with many requests does so once a second.

**Invariants.** No permit is given that the last headers rule out. Nothing here sends a request, or sleeps for
a limit. It waits for locks alone: microseconds for that of the threads, at most 20 ms for that of the file.
Users on other machines show in the headers alone.
"""

from __future__ import annotations

import bisect
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connix_provider.client.ratelimit.buckets import Bucket
from connix_provider.client.ratelimit.decision import response_delay, seconds_until_allowed
from connix_provider.client.ratelimit.fixed_window import FixedWindow
from connix_provider.client.ratelimit.headers import parse_limits
from connix_provider.client.ratelimit.permit import Permit
from connix_provider.client.ratelimit.shared import SharedNumbers
from connix_provider.client.ratelimit.snapshot import restore, snapshot
from connix_provider.client.ratelimit.state import KeyState

__all__ = ["RateLimiter"]

#: Seconds after which a process reads and writes the shared file, although more than half is left.
_EXCHANGE = 1.0


class RateLimiter:
    """
    Keep to the rate limits of one key.

    All methods may be called from any thread, and from a signal's handler.

    :param share: the part of each limit that this process keeps to, more than 0 and at most 1
    :param clock: seconds of a clock that is never set, and that all processes of the machine share
    :param shared: the file through which the processes of the machine share what they know; default none
    """

    def __init__(
        self,
        share: float = 1.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        shared: Path | None = None,
    ) -> None:
        self.share = share
        self.used_at = clock()
        self._clock = clock
        self._numbers = itertools.count()
        self._state = KeyState()
        self._shared = SharedNumbers(shared, KeyState.SIZE) if shared else None
        self._is_exclusive = False
        # Reentrant, because garbage collection may close a permit in the middle of anything.
        self._lock = threading.RLock()

    def permit(self, bucket: Bucket, *, background: bool = False, paced: bool = False) -> Permit:
        """
        Take a place in the queue for one call.

        :param bucket: the limit that counts the call
        :param background: whether it is a poll
        :param paced: whether it is spread over the window, as polls are, though it is no poll
        :return: a permit that is not acquired yet; use it in a ``with`` block
        """
        return Permit(self, bucket, background=background, paced=paced, number=next(self._numbers))

    def rate(self, bucket: Bucket) -> float:
        """
        Return the polls a second that the limit allows in the long run, without the reserve.

        :param bucket: the limit
        :return: polls a second, infinite without a limit
        """
        with self._exclusive(bucket, shared=self._is_exchange_due(bucket)) as now:
            limits = self._state.limits(bucket, now)
            return min((limit.rate(self.share) for limit in limits), default=math.inf)

    def expected_wait(self, bucket: Bucket, *, background: bool = False) -> float:
        """
        Return how long a call that is made now would wait, without taking a place in the queue.

        :param bucket: the limit that counts the call
        :param background: whether it is a poll
        :return: seconds, 0 where it could be sent at once
        """
        with self._exclusive(bucket) as now:
            position = len(self._state.buckets[bucket].queues[background])
            return self._wait(bucket, now, position, background=background, paced=background, reserves=False)

    def _wait(
        self, bucket: Bucket, now: float, position: int, *, background: bool, paced: bool, reserves: bool
    ) -> float:
        bucket_state, limits = self._state.buckets[bucket], self._state.limits(bucket, now)
        wait = seconds_until_allowed(
            bucket_state,
            limits,
            now,
            position,
            share=self.share,
            background=background,
            paced=paced,
            reserves=reserves,
        )
        if background:
            # Only the first in the queue; those behind it learn from its response.
            wait = min(
                wait, bucket_state.poll_probe.wait(now) + (response_delay(position) if position else 0.0)
            )
        return wait

    def server_time(self) -> float | None:
        """
        Return the least time that the service's clock can show.

        :return: epoch seconds, or ``None`` before the first response with a ``Date``
        """
        return self._state.server_clock.at(self._clock())

    def snapshot(self, bucket: Bucket) -> list[dict[str, Any]]:
        """
        Return the limits that count for an endpoint, for a process on another machine.

        :return: JSON, see :func:`connix_provider.client.ratelimit.snapshot.snapshot`
        """
        with self._exclusive(bucket) as now:
            return snapshot(self._state, bucket, now, time.time())

    def restore(self, bucket: Bucket, saved: Sequence[Mapping[str, Any]], *, granted: bool = False) -> None:
        """
        Take over the limits of another process.

        :param saved: as :meth:`snapshot` returned it
        :param granted: whether that process acquired a permit that this one is to use
        """
        with self._exclusive(bucket) as now:
            bucket_state = self._state.buckets[bucket]
            for limit in saved:
                restore(self._state, bucket, now, time.time(), limit)
            if granted:
                limits = self._state.limits(bucket, now)
                ends = [limit.end for limit in limits if isinstance(limit, FixedWindow)]
                bucket_state.granted_until = min(ends, default=now + 60.0)

    def begin_as_child(self) -> None:
        """Begin as a forked process: without the requests, queues and locks of the parent."""
        self._lock = threading.RLock()
        self._is_exclusive = False
        for bucket_state in self._state.buckets.values():
            bucket_state.queues, bucket_state.reserved_at = ([], []), None
            if bucket_state.limit:
                bucket_state.limit.forget_in_flight()
        for window in self._state.key_windows.values():
            window.forget_in_flight()

    def _is_exchange_due(self, bucket: Bucket) -> bool:
        """Return whether the next request has to read and write the shared file."""
        now = self._clock()
        last = self._state.buckets[bucket].shared_at
        return now - last >= _EXCHANGE or not self._state.is_ample(bucket, now)

    @contextmanager
    def _exclusive(self, bucket: Bucket, *, shared: bool = True) -> Iterator[float]:
        """Lock out other threads, and with ``shared`` other processes; yield the moment."""
        with self._lock:
            # A signal handler that interrupts this uses the numbers as they are.
            file = None
            if shared and self._shared and not self._is_exclusive:
                file = self._shared.open()
            # After the wait for the file, because its moments must not be later.
            now = self._clock()
            if file is None or self._shared is None:
                yield now
                return
            numbers = list(self._shared.read(file))
            try:
                self._is_exclusive = True
                self._state.load(numbers, bucket, now)
                yield now
            finally:
                self._is_exclusive = False
                self._state.dump(numbers, bucket)
                self._shared.write_and_close(file, numbers)

    def try_acquire(self, permit: Permit) -> float:
        """
        Acquire a permit, or a place in the queue.

        :return: 0 if it is acquired, otherwise the expected wait in seconds
        """
        permit.is_shared = permit.paced or self._is_exchange_due(permit.bucket)
        with self._exclusive(permit.bucket, shared=permit.is_shared) as now:
            self.used_at = now
            bucket_state = self._state.buckets[permit.bucket]
            queue = bucket_state.queues[permit.background]
            position = bisect.bisect_left(queue, permit.number)
            if not permit.background and bucket_state.blocked_until <= now < bucket_state.granted_until:
                bucket_state.granted_until = -math.inf
                wait = 0.0
            else:
                kind = {"background": permit.background, "paced": permit.paced}
                wait = self._wait(permit.bucket, now, position, reserves=True, **kind)
            is_queued = position < len(queue) and queue[position] == permit.number
            if wait > 0:
                if not is_queued:
                    queue.insert(position, permit.number)
                return wait
            if is_queued:
                del queue[position]
            for limit in self._state.limits(permit.bucket, now):
                limit.take(now, background=permit.background, shared=permit.is_shared)
            if permit.paced and not position:
                bucket_state.reserved_at = None
            if permit.background:
                bucket_state.poll_probe.on_sent(now)
            return 0.0

    def leave(self, permit: Permit) -> None:
        """Leave the queue."""
        with self._lock:
            queue = self._state.buckets[permit.bucket].queues[permit.background]
            position = bisect.bisect_left(queue, permit.number)
            if position < len(queue) and queue[position] == permit.number:
                del queue[position]

    def on_response(
        self,
        permit: Permit,
        headers: Mapping[str, str],
        *,
        is_success: bool,
        is_transient: bool,
        back_off: float | None,
    ) -> None:
        """
        Learn from a response.

        :param headers: the response's headers, looked up without regard to case
        :param is_success: whether it is a success
        :param is_transient: whether it is an error that may pass by itself
        :param back_off: after a 429, seconds without any request to the endpoint
        """
        limits = parse_limits(headers)
        shared = permit.is_shared or not is_success or not self._state.is_known(permit.bucket, limits)
        with self._exclusive(permit.bucket, shared=shared) as now:
            for limit in self._state.limits(permit.bucket, now):
                limit.end_request(shared=permit.is_shared)
            self._state.learn(
                permit.bucket,
                headers,
                limits,
                now,
                is_success=is_success,
                is_transient=is_transient,
                back_off=back_off,
            )

    def on_no_response(self, permit: Permit, *, may_have_arrived: bool) -> None:
        """
        Learn that a request will have no response.

        :param may_have_arrived: whether the service may have counted it
        """
        with self._exclusive(permit.bucket) as now:
            for limit in self._state.limits(permit.bucket, now):
                limit.end_request(shared=permit.is_shared)
                if may_have_arrived:
                    limit.spend()
                else:
                    limit.give_back(background=permit.background)
            if permit.paced and not may_have_arrived:
                self._state.buckets[permit.bucket].reserved_at = now
