"""The right to send one request: acquire it, and report the response to the limiter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from connix_provider.client.ratelimit.buckets import Bucket

__all__ = ["Permit", "recheck_delay"]

#: A waiting call tries again after half of the expected wait, between these bounds in seconds.
_SHORT_RECHECK, _LONG_RECHECK = 1.0, 10.0
#: Seconds; a shorter sleep is lost in the rounding of clocks.
_SHORTEST_RECHECK = 0.001


class _Limiter(Protocol):
    """The limiter's methods that a permit calls."""

    def try_acquire(self, permit: Permit) -> float: ...

    def leave(self, permit: Permit) -> None: ...

    def on_no_response(self, permit: Permit, *, may_have_arrived: bool) -> None: ...

    def on_response(
        self,
        permit: Permit,
        headers: Mapping[str, str],
        *,
        is_success: bool,
        is_transient: bool,
        back_off: float | None,
    ) -> None: ...


class Permit:
    """
    The right to send one request, from the first try to acquire it to the response.

    :param bucket: the limit that counts the request
    :param background: whether it is a poll
    :param paced: whether it is spread over the window; polls are
    :param number: its place among all calls
    """

    __slots__ = ("_is_acquired", "_limiter", "background", "bucket", "is_shared", "number", "paced")

    def __init__(
        self, limiter: _Limiter, bucket: Bucket, *, background: bool, paced: bool, number: int
    ) -> None:
        self._limiter = limiter
        self._is_acquired = False
        self.bucket = bucket
        self.background = background
        self.paced = paced or background
        self.number = number
        #: Whether other processes learned of the permit when it was acquired.
        self.is_shared = True

    def try_acquire(self) -> float:
        """
        Try to acquire the permit. A call that is sent again keeps its place in the queue.

        :return: 0 if the request may be sent now, otherwise the expected wait in seconds
        """
        wait = self._limiter.try_acquire(self)
        self._is_acquired = wait == 0
        return wait

    def on_response(
        self,
        headers: Mapping[str, str],
        *,
        is_success: bool = True,
        is_transient: bool = False,
        back_off: float | None = None,
    ) -> None:
        """
        Report a response to the limiter.

        :param headers: its headers, looked up without regard to case
        :param is_success: whether it is a success
        :param is_transient: whether it is an error that may pass by itself, as a 429 always is
        :param back_off: after a 429, seconds without any request to the endpoint
        """
        self._is_acquired = False
        self._limiter.on_response(
            self,
            headers,
            is_success=is_success and back_off is None,
            is_transient=is_transient or back_off is not None,
            back_off=back_off,
        )

    def on_no_response(self, *, may_have_arrived: bool) -> None:
        """
        Report that no response will come; without an acquired permit this does nothing.

        :param may_have_arrived: whether the service may have counted the request
        """
        if self._is_acquired:
            self._is_acquired = False
            self._limiter.on_no_response(self, may_have_arrived=may_have_arrived)

    def __enter__(self) -> Permit:
        return self

    def __exit__(self, *_: object) -> None:
        self.on_no_response(may_have_arrived=True)
        self._limiter.leave(self)


def recheck_delay(wait: float) -> float:
    """
    Return how long to sleep before the next :meth:`Permit.try_acquire`, because an expected wait may change.

    :param wait: the expected wait in seconds
    :return: seconds
    """
    return max(_SHORTEST_RECHECK, min(wait, max(_SHORT_RECHECK, wait / 2), _LONG_RECHECK))
