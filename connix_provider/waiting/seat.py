"""Hold one wait's place at a watcher: what it waits for, and what it was last shown."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connix_provider.client import Agent, ConnixError
    from connix_provider.client.errors import ConnixRateLimitWaitError
    from connix_provider.lifecycle import Snapshot

__all__ = ["Delayed", "Seat"]


@dataclasses.dataclass(frozen=True, slots=True)
class Delayed:
    """
    Say that a rate limit delays the poll that is waited for.

    :param error: which limit, for how long and why
    """

    error: ConnixRateLimitWaitError


class Seat:
    """
    Hold one wait's place at a watcher. Moments are seconds of the monotonic clock.

    :param call: makes sure that the watcher is awake at a moment
    :param agent_id: the agent
    :param interval: seconds between two polls that the wait would like
    :param deadline: when the wait ends
    :param lead: tells how many seconds before the deadline the last poll should begin
    """

    __slots__ = (
        "_answer",
        "_call",
        "_is_delayed",
        "agent_id",
        "deadline",
        "due",
        "interval",
        "last",
        "lead",
        "version",
    )

    def __init__(
        self,
        call: Callable[[float], None],
        agent_id: str,
        interval: float,
        deadline: float,
        lead: Callable[[], float] = float,
    ) -> None:
        self._call = call
        self._is_delayed = False
        self.lead = lead
        self.agent_id = agent_id
        self.interval = interval
        self.deadline = deadline
        self.due = 0.0
        self.last: Snapshot | None = None
        #: The version of the key with which the look was taken that was handed on last.
        self.version = 0
        self._answer: asyncio.Future[Agent | ConnixError | Delayed | None] | None = None

    async def look(self, due: float) -> Agent | ConnixError | Delayed | None:
        """
        Wait for the next poll.

        :param due: from when on a poll is wanted; one that shows a change may come earlier
        :return: the agent, or the error that came instead; ``None`` when the deadline has come; or, once
            for each poll, that a rate limit delays it
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

        :param now: the moment
        :return: whether the look is due, or less than half the interval away
        """
        return self.due <= now + self.interval / 2

    def show(self, seen: Agent | ConnixError | None, now: float, version: int = 0) -> None:
        """
        Hand a look on, if it is due or shows a change.

        :param seen: what the look showed
        :param now: the moment
        :param version: the version of the key with which it was taken
        """
        if self._answer is None or self._answer.done():
            return
        if seen is not None:
            snapshot = self.last if isinstance(seen, Exception) else seen.snapshot()
            if snapshot == self.last and not self.is_nearly_due(now):
                return
            self.last = snapshot
        self.version, self._is_delayed = version, False
        self._answer.set_result(seen)

    def delay(self, delayed: Delayed, now: float) -> None:
        """
        Say once that a rate limit delays the poll that is due.

        :param delayed: which limit, for how long and why
        :param now: the moment
        """
        if self.is_waiting and self._answer and self.due <= now and not self._is_delayed:
            self._is_delayed = True
            self._answer.set_result(delayed)

    def fail(self, error: BaseException) -> None:
        """
        Tell the wait that its watcher died.

        :param error: what it died of
        """
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
