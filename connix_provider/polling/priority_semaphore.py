"""A semaphore whose next holder is the agent that was measured the longest ago."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["PrioritySemaphore"]


class PrioritySemaphore:
    """
    Bound how many agents are measured at the same time, the one measured the longest ago first.

    Without an order, a rate limit that is too small for all agents would starve some.

    :param value: how many agents may be measured at the same time
    """

    def __init__(self, value: int) -> None:
        self._free = value
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def acquire(self, measured_at: float) -> AsyncIterator[bool]:
        """
        Hold the semaphore.

        :param measured_at: seconds of a clock at which the agent was measured last, 0 for never
        :return: whether it waited for the semaphore
        """
        waits = self._free == 0
        if waits:
            acquired = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (measured_at, next(self._numbers), acquired))
            try:
                await acquired
            except asyncio.CancelledError:
                if not acquired.cancelled():
                    self._release()
                raise
        else:
            self._free -= 1
        try:
            yield waits
        finally:
            self._release()

    def _release(self) -> None:
        while self._waiting:
            *_, acquired = heapq.heappop(self._waiting)
            if not acquired.done():
                # Hand it on, because otherwise an agent that was measured later could take it first.
                acquired.set_result(None)
                return
        self._free += 1
