"""Log that a call waits for a rate limit: once when a long wait begins, and once when it is over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from connix_provider.client.calls.call import Call

__all__ = ["SHORT_WAIT", "LimitLog", "limit_name"]

log = logging.getLogger(__name__)

#: Seconds; a shorter wait for a rate limit is not logged.
SHORT_WAIT = 2.0
#: Seconds, because a datetime has no later time.
_LONGEST_WAIT = 86_400.0 * 365
#: The limits as the reference's table names them.
_ENDPOINTS = {
    "list": "List Agents",
    "create": "Create Agent",
    "get": "Get Agent",
    "update": "Update Agent",
    "delete": "Delete Agent",
    "action": "Agent Actions",
    "logs": "Agent Logs",
    "metrics": "Agent Metrics",
}


def limit_name(bucket: str | None) -> str:
    """
    Name a rate limit as the reference's table does.

    :param bucket: the limit, as :class:`connix_provider.client.ratelimit.Bucket` names it
    :return: words that go after "the"
    """
    named = _ENDPOINTS.get(str(bucket), str(bucket).title()) if bucket else ""
    return f"rate limit on {named} requests" if named else "rate limit"


class LimitLog:
    """
    Log the wait of one call for a rate limit.

    :param clock: seconds of a clock that is never set
    :param epoch: epoch seconds
    :param is_quiet: whether nothing is logged, because polling logs the wait of its polls
    """

    def __init__(
        self, call: Call[Any], clock: Callable[[], float], epoch: Callable[[], float], *, is_quiet: bool
    ) -> None:
        self._call, self._clock, self._epoch, self._is_quiet = call, clock, epoch, is_quiet
        self._since: float | None = None
        self._is_logged = False

    def begin(self, seconds: float, reason: object = "no request is left in this window") -> None:
        """
        Begin or continue a wait; one of more than 2 s is logged.

        :param seconds: the length of the pause
        :param reason: why, such as the 429
        """
        now, seconds = self._clock(), min(seconds, _LONGEST_WAIT)
        if self._since is None:
            self._since = now
        if self._is_quiet or self._is_logged or now - self._since + seconds <= SHORT_WAIT:
            return
        self._is_logged = True
        log.info(
            "%s %s waits for the %s until about %s (%.0f s): %s",
            self._call.method,
            self._call.path,
            limit_name(self._call.bucket),
            datetime.fromtimestamp(self._epoch() + seconds, UTC).strftime("%H:%M:%S UTC"),
            seconds,
            reason,
        )

    def end(self) -> None:
        """End the wait, because the limit let the request through."""
        if self._is_logged and self._since is not None:
            waited = self._clock() - self._since
            log.info(
                "%s %s was attempted after waiting %.0f s for the %s.",
                self._call.method,
                self._call.path,
                waited,
                limit_name(self._call.bucket),
            )
        self._since, self._is_logged = None, False
