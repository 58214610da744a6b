"""Let the agents of one wait take turns, so that a rate limit which is too small for all starves none."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Turns"]


class Turns:
    """
    Hand out places in the order of age: the agent that was measured the longest ago is next.

    :param places: how many agents may be measured at the same time
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def take(self, measured_at: float) -> AsyncIterator[bool]:
        """
        Hold a place.

        :param measured_at: when the agent was measured last, 0 for never
        :return: whether it waited for the place
        """
        waits = self._free == 0
        if waits:
            turn = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (measured_at, next(self._numbers), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():
                    self._leave()
                raise
        else:
            self._free -= 1
        try:
            yield waits
        finally:
            self._leave()

    def _leave(self) -> None:
        while self._waiting:
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():
                # The place goes on to the next agent, so it is never free for a younger one.
                turn.set_result(None)
                return
        self._free += 1
