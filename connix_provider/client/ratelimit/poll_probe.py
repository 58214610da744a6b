"""
Bound how long a refusal keeps polls away.

A hint may be wrong by hours: ``Retry-After: 3600`` where the limit is full again in a minute, a reset in
milliseconds, a date of a clock that is off. Polling that obeyed it would not see that an agent is ready. So
one poll a minute may go after a refusal, whatever the headers said. A good response ends that: it teaches
the limiter.
"""

from __future__ import annotations

import math

__all__ = ["LONGEST_POLL_DELAY", "PollProbe"]

#: Seconds for which a hint delays the next poll at most.
LONGEST_POLL_DELAY = 60.0


class PollProbe:
    """Say when the next poll of one endpoint may go although its limit is used up."""

    def __init__(self) -> None:
        self._at = math.inf

    def refused(self, now: float) -> None:
        """Wait a minute from the refusal of this endpoint's own request."""
        self._at = now + LONGEST_POLL_DELAY

    def others_refused(self, now: float) -> None:
        """Wait a minute at most: what refused another endpoint may close this one, too."""
        self._at = min(self._at, now + LONGEST_POLL_DELAY)

    def sent(self, now: float) -> None:
        """Count a poll that went: the next one without a permit is a minute later."""
        if math.isfinite(self._at):
            self._at = max(self._at, now + LONGEST_POLL_DELAY)

    def succeeded(self) -> None:
        """Return to the limits: a good response taught what they are."""
        self._at = math.inf

    def wait(self, now: float) -> float:
        """Return the seconds until a poll may go without a permit; infinite where none may."""
        return max(0.0, self._at - now)
