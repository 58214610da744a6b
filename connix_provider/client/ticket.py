"""Stand in a budget's line: for one call, from the first question to the last answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from connix_provider.client.bucket import Bucket

if TYPE_CHECKING:
    from connix_provider.client.budget import Budget

__all__ = ["Ticket", "nap"]

#: Whoever waits asks again after half of the time that is expected, between these bounds in seconds.
_SHORT_NAP, _LONG_NAP = 1.0, 10.0
#: Less is lost in the rounding of clocks.
_SHORTEST_NAP = 0.001


class Ticket:
    """
    Stand for one call in its budget's line, from the first question to the last answer.

    :param budget: the budget
    :param bucket: which of its limits the call spends
    :param background: whether the call is polling
    :param number: its place among all that ask
    """

    __slots__ = ("_budget", "_has_slot", "background", "bucket", "number")

    def __init__(self, budget: Budget, bucket: Bucket, *, background: bool, number: int) -> None:
        self._budget = budget
        self._has_slot = False
        self.bucket = bucket
        self.background = background
        self.number = number

    def ask(self) -> float:
        """
        Ask for a slot.

        A call that is sent again keeps its number, and with it its place.

        :return: 0 where the slot is taken and the request is to be sent now, otherwise the seconds after
            which there may be one
        """
        wait = self._budget.ask(self)
        self._has_slot = wait == 0
        return wait

    def answered(
        self, headers: Mapping[str, str], *, good: bool = True, back_off: float | None = None
    ) -> None:
        """
        Hand over what an answer tells.

        :param headers: its headers, looked up without regard to case
        :param good: whether it is a success
        :param back_off: seconds for which all who share the budget are to keep away, where the answer is a
            refusal for the rate limit
        """
        self._has_slot = False
        self._budget.answered(self, headers, good=good and back_off is None, back_off=back_off)

    def unanswered(self, *, may_have_arrived: bool) -> None:
        """
        Tell that no answer will come; without a slot there is nothing to tell.

        :param may_have_arrived: whether the service may have counted the request
        """
        if self._has_slot:
            self._has_slot = False
            self._budget.unanswered(self, may_have_arrived=may_have_arrived)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *_: object) -> None:
        self.unanswered(may_have_arrived=True)
        self._budget.leave(self)


def nap(wait: float) -> float:
    """
    Say how long to sleep at once where a slot is expected later: what is expected changes meanwhile.

    :param wait: seconds after which there may be a slot
    :return: seconds after which to ask again
    """
    return max(_SHORTEST_NAP, min(wait, max(_SHORT_NAP, wait / 2), _LONG_NAP))
