"""Count the time that a wait spends on a rate limit, and log when that begins and ends."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from connix_provider.client.attempts.limit_log import SHORT_WAIT, limit_name
from connix_provider.client.errors import ConnixRateLimitError, ConnixRateLimitWaitError
from connix_provider.polling.messages import MIN_REPORTED_WAIT

__all__ = ["RateLimitWaitLog"]

#: Seconds between two such lines of one wait: a key that is always over its limit would fill the log.
_QUIET = 60.0


class RateLimitWaitLog:
    """The time that the polls of one wait have waited for a rate limit."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._before = 0.0
        self._since: float | None = None
        self._is_logged = False
        self._logged_at = -math.inf
        self.bucket: str | None = None
        #: The error of the last poll, if a rate limit delayed it.
        self.error: ConnixRateLimitError | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a poll waits for a rate limit now."""
        return self._since is not None

    def begin(
        self,
        agent: object,
        error: ConnixRateLimitError,
        seconds: float,
        now: float,
        *,
        due_at: float | None = None,
    ) -> None:
        """
        Record a poll that the rate limit delays.

        :param agent: the agent, for the log
        :param error: the 429, or the limiter's own error
        :param seconds: how long the next poll is delayed
        :param due_at: epoch seconds at which the poll was due, where the client has waited for the limit
        """
        if self._since is None:
            self._since, self._is_logged = now if due_at is None else min(due_at, now), False
        self.bucket, self.error = error.bucket or self.bucket, error
        if self._is_logged or now - self._since + seconds <= SHORT_WAIT or now - self._logged_at < _QUIET:
            return
        self._is_logged, self._logged_at = True, now
        until = datetime.fromtimestamp(now + seconds, UTC).strftime("%H:%M:%S UTC")
        self._log.info(
            "Agent %s: polling waits for the %s until about %s (%.0f s): %s",
            agent,
            limit_name(self.bucket),
            until,
            seconds,
            error,
        )

    def end(self, agent: object, now: float) -> None:
        """
        Record a poll that the rate limit permitted.

        :param agent: the agent, for the log
        """
        if self._since is None:
            return
        waited, self._since, self.error = max(0.0, now - self._since), None, None
        self._before += waited
        if self._is_logged:
            self._log.info(
                "Agent %s: polling resumed after waiting %.0f s for the %s.",
                agent,
                waited,
                limit_name(self.bucket),
            )

    def reason(self, last_error: Exception | None, now: float) -> Exception | None:
        """
        Return the error that explains a timeout.

        :param last_error: what the last poll that was sent failed with, if it failed
        :return: the rate limit's error; or the other one, where the message counts the seconds of the limit,
            and where a poll that was not sent would hide it
        """
        if self.error is None:
            return last_error
        was_sent = not isinstance(self.error, ConnixRateLimitWaitError)
        is_counted = self.total(now) >= MIN_REPORTED_WAIT
        return last_error if is_counted or (last_error and not was_sent) else self.error

    def total(self, now: float) -> float:
        """
        Sum up.

        :return: the seconds spent waiting so far
        """
        return self._before + (max(0.0, now - self._since) if self._since is not None else 0.0)
