"""Acquire the right to send one request, and tell the limiter what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from connix_provider.client.ratelimit.buckets import Bucket

__all__ = ["Permit", "recheck_delay"]

#: A call that waits asks again after half of the wait that is expected, between these bounds in seconds.
_SHORT_RECHECK, _LONG_RECHECK = 1.0, 10.0
#: Less is lost in the rounding of clocks.
_SHORTEST_RECHECK = 0.001


class _Limiter(Protocol):
    """What a permit asks of its limiter."""

    def try_acquire(self, permit: Permit) -> float: ...

    def leave(self, permit: Permit) -> None: ...

    def on_no_response(self, permit: Permit, *, may_have_arrived: bool) -> None: ...

    def on_response(
        self, permit: Permit, headers: Mapping[str, str], *, good: bool, back_off: float | None
    ) -> None: ...


class Permit:
    """
    The right to send one request, from the first question to the response.

    :param limiter: the limiter
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
        Ask for the permit. A call that is sent again keeps its place in the queue.

        :return: 0 where the request may be sent now, otherwise the seconds after which it may be
        """
        wait = self._limiter.try_acquire(self)
        self._is_acquired = wait == 0
        return wait

    def on_response(
        self, headers: Mapping[str, str], *, good: bool = True, back_off: float | None = None
    ) -> None:
        """
        Hand over what a response tells.

        :param headers: its headers, looked up without regard to case
        :param good: whether it is a success
        :param back_off: seconds for which all requests of the endpoint keep away, where it is a 429
        """
        self._is_acquired = False
        self._limiter.on_response(self, headers, good=good and back_off is None, back_off=back_off)

    def on_no_response(self, *, may_have_arrived: bool) -> None:
        """
        Tell that no response will come; without an acquired permit there is nothing to tell.

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
    Return how long to sleep before the next :meth:`Permit.try_acquire`: what is expected changes meanwhile.

    :param wait: seconds after which the permit may be acquired
    :return: seconds
    """
    return max(_SHORTEST_RECHECK, min(wait, max(_SHORT_RECHECK, wait / 2), _LONG_RECHECK))
