"""A clock that jumps, and an event loop that runs on it."""

from __future__ import annotations

import asyncio
import heapq
import importlib
import inspect
import itertools
import math
import pkgutil
import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["EPOCH", "Clock", "Installed", "JumpingLoop", "Runaway", "installed", "provider_functions"]

#: 2026-01-15 10:30:00 UTC, at which every history begins.
EPOCH = 1_768_473_000.0
#: Moves of the clock, and steps of the event loop that move nothing, before a history counts as endless.
_MOST_MOVES = 60_000
_real_time, _real_monotonic, _real_sleep = time.time, time.monotonic, time.sleep


class Runaway(BaseException):
    """Raised when a history does not end."""


class Clock:
    """
    Count whole microseconds since the history began, and run each planned call at its moment.

    :ivar skew: seconds by which the wall clock of Airflow's machines was set forward or back
    """

    def __init__(self) -> None:
        self._now = 0
        self._plans: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._moves = 0
        self.skew = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the history began; no step of the wall clock changes them."""
        return self._now / 1e6

    def time(self) -> float:
        return EPOCH + self.elapsed + self.skew

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed

    def at(self, elapsed: float, do: Callable[[], None]) -> None:
        """Plan a call; its exception leaves the sleep or the request that runs at that moment."""
        heapq.heappush(self._plans, (max(self._now, math.ceil(elapsed * 1e6)), next(self._numbers), do))

    def sleep(self, seconds: float) -> None:
        self.tick()
        # At least one microsecond, because a sleep that moves nothing would be repeated forever.
        until = self._now + (max(1, math.ceil(seconds * 1e6)) if seconds > 0 else 0)
        while self._plans and self._plans[0][0] <= until:
            moment, _, do = heapq.heappop(self._plans)
            self._now = max(self._now, moment)
            do()
        self._now = max(self._now, until)

    def tick(self) -> None:
        self._moves += 1
        if self._moves > _MOST_MOVES:
            raise Runaway(f"no end after {_MOST_MOVES} steps")


class _JumpingSelector(selectors.SelectSelector):
    """Move the clock where a real selector would wait; no socket ever becomes ready."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Runaway("the event loop waits without a timer, so no event can end the wait")
        if timeout > 0:
            self._clock.sleep(timeout)
        else:
            self._clock.tick()
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """Run coroutines on the clock, and work for other threads at once, in this one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        return self._clock.monotonic()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class Installed:
    """Exchange the clock under code that keeps references to its functions."""

    clock = Clock()

    def time(self) -> float:
        return self.clock.time()

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)


@contextmanager
def installed() -> Iterator[Installed]:
    """Run this process on a clock that the caller exchanges for each history."""
    living = Installed()
    replaced = {_real_time: living.time, _real_monotonic: living.monotonic, _real_sleep: living.sleep}
    defaults = [
        (function.__kwdefaults__, name, value)
        for function in provider_functions()
        for name, value in (function.__kwdefaults__ or {}).items()
        if inspect.isbuiltin(value) and value in replaced
    ]
    time.time, time.monotonic, time.sleep = living.time, living.monotonic, living.sleep
    # Replaced too, because a default such as ``clock=time.monotonic`` is bound when its function is defined.
    for held, name, value in defaults:
        held[name] = replaced[value]
    try:
        yield living
    finally:
        time.time, time.monotonic, time.sleep = _real_time, _real_monotonic, _real_sleep
        for held, name, value in defaults:
            held[name] = value


def provider_functions() -> Iterator[Any]:
    import connix_provider

    def of(owner: Any, module: str) -> Iterator[Any]:
        for value in list(vars(owner).values()):
            if inspect.isfunction(value) and value.__module__ == module:
                yield value
            elif inspect.isclass(value) and value.__module__ == module and value is not owner:
                yield from of(value, module)

    for found in pkgutil.walk_packages(connix_provider.__path__, "connix_provider."):
        if not found.name.startswith("connix_provider.emulator"):
            yield from of(importlib.import_module(found.name), found.name)
