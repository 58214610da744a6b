"""Hold one wait's place at a watcher: what it waits for, and what it was last shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connix_provider.client import Agent, ConnixError
    from connix_provider.lifecycle import Snapshot

__all__ = ["Seat"]


class Seat:
    """
    Hold one wait's place at a watcher.

    :param call: makes sure that the watcher is awake at a moment, in epoch seconds
    :param agent_id: the agent
    :param interval: seconds between two looks that the wait would like
    :param deadline: epoch seconds at which the wait ends
    """

    __slots__ = ("_answer", "_call", "agent_id", "deadline", "due", "interval", "last", "version")

    def __init__(
        self, call: Callable[[float], None], agent_id: str, interval: float, deadline: float
    ) -> None:
        self._call = call
        self.agent_id = agent_id
        self.interval = interval
        self.deadline = deadline
        self.due = 0.0
        self.last: Snapshot | None = None
        #: The version of the key with which the look was taken that was handed on last.
        self.version = 0
        self._answer: asyncio.Future[Agent | ConnixError | None] | None = None

    async def look(self, due: float) -> Agent | ConnixError | None:
        """
        Wait for the next look.

        :param due: epoch seconds from when on a look is wanted; one that shows a change may come earlier
        :return: the agent, or the error that came instead; ``None`` when the deadline has come
        :raises Exception: what the watcher itself died of
        """
        self.due = due
        self._answer = asyncio.get_running_loop().create_future()
        self._call(min(due, self.deadline))
        try:
            return await self._answer
        finally:
            self._answer = None

    @property
    def is_waiting(self) -> bool:
        """Whether somebody waits for the next look at this moment."""
        return self._answer is not None and not self._answer.done()

    def is_nearly_due(self, now: float) -> bool:
        """
        Tell whether a look now may stand for the one that is due a little later.

        :param now: epoch seconds
        :return: whether the look is due, or less than half the interval away
        """
        return self.due <= now + self.interval / 2

    def show(self, seen: Agent | ConnixError | None, now: float, version: int = 0) -> None:
        """
        Hand a look on, if it is due or shows a change.

        :param seen: what the look showed
        :param now: epoch seconds
        :param version: the version of the key with which it was taken
        """
        if self._answer is None or self._answer.done():
            return
        if seen is not None:
            snapshot = self.last if isinstance(seen, Exception) else seen.snapshot()
            if snapshot == self.last and not self.is_nearly_due(now):
                return
            self.last = snapshot
        self.version = version
        self._answer.set_result(seen)

    def fail(self, error: BaseException) -> None:
        """
        Tell the wait that its watcher died.

        :param error: what it died of
        """
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
