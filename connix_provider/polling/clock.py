"""
Read the system's clock once, and count on from there.

Deadlines are passed between processes as epoch seconds. A process that takes one over reads the system's
clock at that moment; from then on the monotonic clock counts, so a step of the system's clock changes no
wait.
"""

from __future__ import annotations

import time

__all__ = ["SteadyClock"]


class SteadyClock:
    """
    Give epoch seconds that no later step of the system's clock moves.

    :param not_before: epoch seconds of a moment that has passed. A system's clock that shows an earlier time
        was set back, or is another machine's; the moments of the other process count then.
    """

    def __init__(self, not_before: float | None = None) -> None:
        now = time.time() if not_before is None else max(time.time(), not_before)
        self._offset = now - time.monotonic()

    def now(self) -> float:
        """
        Read the clock.

        :return: epoch seconds
        """
        return time.monotonic() + self._offset

    def to_monotonic(self, moment: float) -> float:
        """
        Convert a moment of this clock.

        :param moment: epoch seconds of this clock
        :return: seconds of the process's monotonic clock
        """
        return moment - self._offset

    def to_system(self, moment: float) -> float:
        """
        Convert a moment of this clock for another process.

        :param moment: epoch seconds of this clock
        :return: epoch seconds by the system's clock as it is set now
        """
        return moment - self.now() + time.time()
