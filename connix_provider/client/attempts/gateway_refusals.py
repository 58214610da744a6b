"""
Decide when a refusal that Connix did not state is final.

A gateway in front of Connix returns 401, 403 or 404 while it restarts or loses its routes. Such a response
lacks Connix's error body. It is final only as the third in a row, and only if the first is 15 seconds old.
The same response with Connix's error body is final at once.

The attempt loop (:mod:`connix_provider.client.attempts.flow`) and each wait count by this rule. A wait also
counts redirects, other client errors without Connix's error body, and a 404 that may be the project's: see
:mod:`connix_provider.polling.poll_errors`.
"""

from __future__ import annotations

from connix_provider.client.errors import ConnixAPIError, ConnixError

__all__ = ["GatewayRefusals", "is_from_gateway"]

#: With 404, because only Connix's own error body means that an agent is gone.
_STATUSES = frozenset({401, 403, 404})


def is_from_gateway(error: ConnixError) -> bool:
    """
    Return whether an error is a refusal without Connix's error body.

    :return: true for 401, 403 and 404 that a gateway may have returned
    """
    return isinstance(error, ConnixAPIError) and error.status_code in _STATUSES and not error.has_error_body


class GatewayRefusals:
    """
    Count a gateway's refusals in a row, and the seconds since the first.

    Call :meth:`add` for each of them, and :meth:`reset` after any other response.

    :param count: refusals in a row that were counted before
    :param first_at: when the first of them was counted
    """

    #: Refusals in a row, and seconds since the first of them, that make a refusal final.
    FINAL_COUNT, FINAL_AGE = 3, 15.0
    #: Seconds of tolerance, because pauses that sum up to 15 seconds may be a little shorter.
    _ROUNDING = 1e-3

    def __init__(self, count: int = 0, first_at: float = 0.0) -> None:
        self.count = count
        self.first_at = first_at

    def add(self, now: float) -> bool:
        """
        Count one refusal.

        :param now: seconds of any clock; a clock that was set back starts the 15 seconds again
        :return: whether the refusal is final
        """
        if not self.count or now < self.first_at:
            self.first_at = now
        self.count += 1
        return self.count >= self.FINAL_COUNT and now - self.first_at >= self.FINAL_AGE - self._ROUNDING

    def reset(self) -> None:
        """Start again after any other response."""
        self.count = 0
