"""When the polls of one wait are due; without any I/O."""

from __future__ import annotations

import math

from connix_provider.polling.clock import SteadyClock

__all__ = ["LAST_POLL", "MAX_HINT", "MAX_POLL", "PollSchedule"]

#: Seconds that one poll may take: a service that hangs must not stretch the interval forever.
MAX_POLL = 60.0
#: Seconds by which a hint of the service, such as Retry-After, delays the next poll at most.
MAX_HINT = 60.0
#: Seconds before the deadline at which the last poll is sent.
LAST_POLL = 0.05
#: Clocks and sleeps are that exact, in seconds.
_ROUNDING = 0.002


class PollSchedule:
    """
    The times of the polls of one wait.

    :param poll_interval: seconds between two polls
    :param deadline: epoch seconds at which the wait times out
    :param began_at: epoch seconds at which the task began; default now
    :param not_before: epoch seconds of a moment that has passed, by the clock of another process
    :param exponential_backoff: whether the interval doubles from poll to poll
    :param max_wait: upper bound of the interval in seconds; default none
    :param is_resumed: whether another process sent the polls before
    """

    def __init__(
        self,
        poll_interval: float,
        deadline: float,
        *,
        began_at: float | None = None,
        not_before: float | None = None,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        is_resumed: bool = False,
    ) -> None:
        self.clock = SteadyClock(not_before)
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.began_at = self.clock.now() if began_at is None else began_at
        #: Seconds until the next poll, in place of the interval.
        self.hint: float | None = None
        self._max_wait = math.inf if max_wait is None else max_wait
        self._exponential_backoff = exponential_backoff
        self._is_resumed = is_resumed
        self._first_poll_at: float | None = None

    @property
    def allowed(self) -> float:
        """Seconds from the beginning of the task to the deadline."""
        return self.deadline - self.began_at

    @property
    def waited(self) -> float:
        """Seconds since the beginning of the task."""
        return self.clock.now() - self.began_at

    @property
    def is_over(self) -> bool:
        """Whether the deadline has come."""
        return self.left() <= _ROUNDING

    @property
    def is_last_poll(self) -> bool:
        """Whether no other poll is due before the deadline."""
        return self.left() <= LAST_POLL + _ROUNDING

    def left(self) -> float:
        """
        Return the time left.

        :return: seconds until the deadline, not positive after it
        """
        return self.deadline - self.clock.now()

    def begin_poll(self) -> float:
        """
        Record the first poll, from which the intervals count.

        :return: seconds that the poll may take, at most :data:`MAX_POLL`
        """
        if self._first_poll_at is None:
            self._first_poll_at = self.clock.now()
        return min(MAX_POLL, self.left())

    def sleep_seconds(self, last_poll: float = LAST_POLL) -> float:
        """
        Return the pause before the next poll.

        :param last_poll: seconds before the deadline at which the last poll is due
        :return: seconds; until the deadline, once the last poll was due
        """
        left = max(0.0, self.left())
        return min(self.delay(), left - last_poll) if left > last_poll + _ROUNDING else left

    def delay(self) -> float:
        """
        Return the pause before the next poll if there were no deadline.

        :return: seconds: the interval, or a longer pause for a rate limit or a hint of the service
        """
        return self.interval() if self.hint is None else self.hint

    def interval(self) -> float:
        """
        Return the present poll interval.

        With exponential backoff it depends on the time since the first poll only, so that another process
        computes the same.

        :return: seconds
        """
        if not self._exponential_backoff:
            return self.poll_interval
        first = self.began_at if self._is_resumed or self._first_poll_at is None else self._first_poll_at
        # Intervals of 1, 2, 4, … times the first one add up to 2**n - 1 times it.
        intervals = (self.clock.now() - first) / self.poll_interval * 1.01 + 0.05
        doublings = int(math.log2(max(0.0, intervals) + 1.0))
        return min(self.poll_interval * 2.0 ** min(doublings, 60), self._max_wait)

    def delay_for_limit(self, seconds: float | None, *, was_sent: bool) -> None:
        """
        Delay the next poll for a rate limit.

        :param seconds: how long the limit lasts, if known
        :param was_sent: whether the service refused the poll; otherwise the limiter held it back, and the
            next poll is due as soon as the limit allows it
        """
        if not was_sent:
            self.hint = min(max(seconds or 0.0, LAST_POLL), MAX_HINT)
        elif seconds:
            self.delay_by(seconds)

    def delay_by(self, seconds: float) -> None:
        """
        Delay the next poll as the service asks, but not beyond :data:`MAX_HINT`.

        :param seconds: its hint
        """
        self.hint = max(min(seconds, MAX_HINT), self.interval())
