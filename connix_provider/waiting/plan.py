"""
Decide how many agents are watched with few requests: singly, or by pages of the listing.

A Get shows one agent, a page shows a hundred. Each has a budget of its own, so what is compared is not the
number of requests but the load: which part of its budget each way would need to show every agent as often as
is wanted. Pure functions; :mod:`connix_provider.waiting.watcher` carries their decisions out.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Iterable, Mapping

__all__ = ["PAGE", "PATIENCE", "Rates", "pages_of", "singly_up_to", "windows"]

#: Agents on one page: the reference's most.
PAGE = 100
#: Windows begin this many places before the first agent they are for: deletions move agents forward.
_MARGIN = 5
#: Single Gets are simplest; up to this part of their budget nothing else is considered.
_COMFORT = 0.75
#: Who is asked for singly once is so again and again: to find all places in the listing, and with them the
#: few pages that are needed from then on, may take so many times longer.
PATIENCE = 5.0
#: Beside a listing that is too slow for some, single Gets take at most this part of their budget.
_BESIDE = 0.5


@dataclasses.dataclass(frozen=True)
class Rates:
    """
    Say how fast may be asked.

    :param get: single Gets a second
    :param list: pages of the listing a second
    """

    get: float
    list: float

    def getting(self, agents: float) -> float:
        """
        Say how long it takes to ask for agents singly.

        :param agents: how many
        :return: seconds
        """
        return _seconds(agents, self.get)

    def listing(self, pages: float) -> float:
        """
        Say how long it takes to read pages of the listing.

        :param pages: how many
        :return: seconds
        """
        return _seconds(pages, self.list)


def _seconds(requests: float, rate: float) -> float:
    return requests / rate if rate > 0 else math.inf if requests else 0.0


def singly_up_to(intervals: Mapping[float, int], *, pages: int, rates: Rates) -> float:
    """
    Decide who is asked for singly: those who want to look at least as often as the answer says.

    :param intervals: how many agents are to be looked at each so many seconds
    :param pages: pages of the listing that would show all of them
    :param rates: how fast may be asked
    :return: seconds; agents with this interval or a shorter one are asked for singly, all others are listed
    """
    single_load = rates.getting(sum(agents / interval for interval, agents in intervals.items()))
    if single_load <= _COMFORT:
        return math.inf
    shortest = min(intervals)
    sweep = rates.listing(pages)
    if single_load <= sweep / shortest:
        return math.inf
    # Listed. Who would be kept waiting by a long sweep is asked for singly, as far as that goes.
    up_to, taken = 0.0, 0.0
    for interval in sorted(intervals):
        taken += intervals[interval] / interval
        if interval > sweep / 2 or taken > _BESIDE * rates.get:
            break
        up_to = interval
    return up_to


def pages_of(agents: int) -> int:
    """
    Count the pages of a listing.

    :param agents: agents in it
    :return: pages, at least one
    """
    return max(1, math.ceil(agents / PAGE))


def windows(places: Iterable[int]) -> list[int]:
    """
    Choose the pages that show given places of a listing.

    :param places: where agents were last seen in it, from 0
    :return: offsets of as few pages as show them all
    """
    ordered = sorted(places)
    offsets = []
    index = 0
    while index < len(ordered):
        offset = max(0, ordered[index] - _MARGIN)
        offsets.append(offset)
        index = bisect.bisect_left(ordered, offset + PAGE, lo=index)
    return offsets
