"""Hold one wait's subscription to a watcher: what it waits for, and what it was last shown."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connix_provider.client import Agent, ConnixError
    from connix_provider.client.errors import ConnixRateLimitWaitError
    from connix_provider.poll_state import Snapshot

__all__ = ["PollDelayed", "Subscription"]


@dataclasses.dataclass(frozen=True, slots=True)
class PollDelayed:
    """
    Report that a rate limit delays the poll that is waited for.

    :param error: which limit, for how long and why
    """

    error: ConnixRateLimitWaitError


class Subscription:
    """
    One wait's subscription to a watcher. Moments are seconds of the monotonic clock.

    :param interval: seconds between two polls
    :param deadline: when the wait ends
    :param clock: returns the moment
    :param wake: makes sure that the watcher is awake at a moment
    :param lead: returns the seconds before the deadline at which the last poll becomes due
    """

    __slots__ = (
        "_clock",
        "_is_delayed",
        "_result",
        "_wake",
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
        agent_id: str,
        interval: float,
        deadline: float,
        *,
        clock: Callable[[], float],
        wake: Callable[[float], None],
        lead: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._wake = wake
        self._is_delayed = False
        self.lead = lead
        self.agent_id = agent_id
        self.interval = interval
        self.deadline = deadline
        self.due = 0.0
        self.last: Snapshot | None = None
        #: The version of the key that the last poll was sent with.
        self.version = 0
        self._result: asyncio.Future[Agent | ConnixError | PollDelayed | None] | None = None

    async def poll(self, due: float) -> Agent | ConnixError | PollDelayed | None:
        """
        Wait for the next poll.

        :param due: from when on a poll is wanted, at once where that has passed; one that shows a change may
            come earlier
        :return: the agent, or the error that came instead; ``None`` after the deadline; or, once for each
            poll, that a rate limit delays it
        :raises Exception: the exception that ended the watcher
        """
        self.due = max(due, self._clock())
        self._result = asyncio.get_running_loop().create_future()
        self._wake(min(self.due, self.deadline))
        try:
            return await self._result
        finally:
            self._result = None

    @property
    def is_waiting(self) -> bool:
        """Whether the wait awaits a poll at this moment, rather than judging the last one."""
        return self._result is not None and not self._result.done()

    def is_nearly_due(self, now: float) -> bool:
        """Return whether a poll now may replace the one that is due a little later."""
        return self.due <= now + self.interval / 2

    def publish(self, polled: Agent | ConnixError | None, now: float, version: int = 0) -> None:
        """
        Pass a poll result to the wait, if it is due or shows a change.

        :param polled: what the poll showed; ``None`` at the end of the wait
        :param version: the version of the key that it was sent with
        """
        if self._result is None or self._result.done():
            return
        if polled is not None:
            snapshot = self.last if isinstance(polled, Exception) else polled.snapshot()
            if snapshot == self.last and not self.is_nearly_due(now):
                return
            self.last = snapshot
        self.version, self._is_delayed = version, False
        self._result.set_result(polled)

    def delay(self, delayed: PollDelayed, now: float) -> None:
        """
        Report once that a rate limit delays the poll that is due.

        :param delayed: which limit, for how long and why
        """
        if self.is_waiting and self._result and self.due <= now and not self._is_delayed:
            self._is_delayed = True
            self._result.set_result(delayed)

    def fail(self, error: BaseException) -> None:
        """
        End the poll, because the watcher ended.

        :param error: the exception that ended it
        """
        if self._result is not None and not self._result.done():
            self._result.set_exception(error)
