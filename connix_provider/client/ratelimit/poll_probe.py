"""
Bound how long a 429 or another transient error delays polls.

A hint may be wrong by hours: ``Retry-After: 3600`` for a window of a minute, a reset in milliseconds, a date
of a clock that is off. Polling that obeyed it would notice a ready agent hours late. So one poll a minute is
sent after such an error, whatever its headers are. A successful response ends this exception, because it has
the limits.
"""

from __future__ import annotations

import math

__all__ = ["LONGEST_POLL_DELAY", "PollProbe"]

#: Seconds for which a hint delays the next poll at most.
LONGEST_POLL_DELAY = 60.0


class PollProbe:
    """Decide when the next poll of one endpoint may be sent although its limit is used up."""

    def __init__(self) -> None:
        self._at = math.inf

    def on_refused(self, now: float) -> None:
        """Allow a poll a minute after a transient error of this endpoint."""
        self._at = now + LONGEST_POLL_DELAY

    def on_refused_elsewhere(self, now: float) -> None:
        """Allow a poll a minute after an error of another endpoint, because both may have one limit."""
        self._at = min(self._at, now + LONGEST_POLL_DELAY)

    def on_sent(self, now: float) -> None:
        """Count a poll that was sent: the next one without a permit is a minute later."""
        if math.isfinite(self._at):
            self._at = max(self._at, now + LONGEST_POLL_DELAY)

    def on_success(self) -> None:
        """End the exception, because a successful response has the current limits."""
        self._at = math.inf

    def wait(self, now: float) -> float:
        """Return the seconds until a poll may be sent without a permit; infinite if none may."""
        return max(0.0, self._at - now)
