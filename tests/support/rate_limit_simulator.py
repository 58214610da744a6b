"""A virtual clock, a service with a fixed window behind a slow network, and processes that keep to it."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Generator
from email.utils import formatdate
from pathlib import Path
from random import Random
from typing import Any

from connix_provider.client.ratelimit import Bucket, RateLimiter, recheck_delay, retry_after_hint

__all__ = ["Process", "ServiceLimit", "Simulation"]


class Simulation:
    """
    Run generators that yield how long they sleep, in virtual time.

    :param seed: for everything that is random
    """

    def __init__(self, seed: int = 1) -> None:
        self.now = 0.0
        self.random = Random(seed)
        self._events: list[tuple[float, int, Generator[float, None, Any]]] = []
        self._numbers = itertools.count()

    def start(self, activity: Generator[float, None, Any], after: float = 0.0) -> None:
        heapq.heappush(self._events, (self.now + after, next(self._numbers), activity))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, activity = heapq.heappop(self._events)
            try:
                seconds = next(activity)
            except StopIteration:
                continue
            # Sleeping always takes a little longer than it should.
            self.start(activity, seconds + self.random.uniform(0, 0.003))
        self.now = until


class ServiceLimit:
    """
    Count requests in fixed windows, and return the rate-limit headers of the reference.

    :param simulation: the clock
    :param limit: requests in a window; set it to change it
    :param length: seconds of a window
    :param epoch: the server's clock when the simulation begins; windows begin at its multiples of the length
    :param family: the suffix of the headers
    """

    def __init__(
        self,
        simulation: Simulation,
        limit: int = 200,
        length: float = 60.0,
        epoch: float = 1_705_334_417.3,
        family: str = "",
    ) -> None:
        self._simulation = simulation
        self.limit = limit
        self.epoch = epoch
        self._length = length
        self._family = family
        self._used: Counter[int] = Counter()
        self.accepted: dict[str, list[float]] = {}
        self.refused: list[float] = []

    def request(self, process: str) -> tuple[bool, dict[str, str]]:
        """Count one request; return whether it was let through, and the headers."""
        now = self.epoch + self._simulation.now
        window = math.floor(now / self._length)
        good = self._used[window] < self.limit
        if good:
            self._used[window] += 1
            self.accepted.setdefault(process, []).append(self._simulation.now)
        else:
            self.refused.append(self._simulation.now)
        return good, {
            "date": formatdate(now, usegmt=True),
            f"x-ratelimit-limit{self._family}": str(self.limit),
            f"x-ratelimit-remaining{self._family}": str(max(0, self.limit - self._used[window])),
            f"x-ratelimit-reset{self._family}": str(math.ceil((window + 1) * self._length)),
        }

    def beginning(self, window: int) -> float:
        """Say when a window begins; 1 is the first whole one."""
        return (math.floor(self.epoch / self._length) + window) * self._length - self.epoch

    def count(self, process: str, begin: float, end: float) -> int:
        """Count the requests of a process that were executed."""
        return sum(begin <= at < end for at in self.accepted.get(process, ()))


class Process:
    """
    Send requests to a limiter as a process does: everything in it shares one limiter.

    :param simulation: the clock
    :param limiter: the service
    :param name: its name in the counts of the service
    :param latency: seconds of each way, from and to
    :param offset: seconds by which this process's clock is off
    :param share: the part of each limit that the process keeps to
    :param bucket: which limit counts the requests
    :param shared: the file that the processes of its machine share
    """

    def __init__(
        self,
        simulation: Simulation,
        limiter: ServiceLimit,
        name: str = "one",
        *,
        latency: tuple[float, float] = (0.02, 0.15),
        offset: float = 0.0,
        share: float = 1.0,
        bucket: Bucket = Bucket.GET,
        shared: Path | None = None,
    ) -> None:
        self._simulation = simulation
        self._limiter = limiter
        self._latency = latency
        self.name = name
        self.bucket = bucket
        self.is_alive = True
        self.waited: list[float] = []
        self.asked = 0
        self.order: list[Any] = []
        self.limiter = RateLimiter(share, clock=lambda: simulation.now + offset, shared=shared)

    def call(self, *, background: bool, label: Any = None) -> Generator[float, None, None]:
        """Send one request, again where it is refused."""
        began = self._simulation.now
        with self.limiter.permit(self.bucket, background=background) as permit:
            while True:
                self.asked += 1
                while wait := permit.try_acquire():
                    yield recheck_delay(wait)
                    self.asked += 1
                self.waited.append(self._simulation.now - began)
                self.order.append(label)
                yield self._simulation.random.uniform(*self._latency)
                good, headers = self._limiter.request(self.name)
                yield self._simulation.random.uniform(*self._latency)
                back_off = None if good else retry_after_hint(headers)
                permit.on_response(headers, back_off=back_off)
                if good:
                    return

    def poll(self, every: float = 0.0, *, background: bool = True) -> Generator[float, None, None]:
        """Send one request after the other for as long as the process lives."""
        while self.is_alive:
            begin = self._simulation.now
            yield from self.call(background=background)
            yield max(0.0, begin + every - self._simulation.now)

    def start(self, pollers: int = 10, every: float = 0.0, *, background: bool = True) -> Process:
        """Let several agents of this process be polled at once."""
        for _ in range(pollers):
            self._simulation.start(
                self.poll(every, background=background), self._simulation.random.uniform(0, 0.5)
            )
        return self
