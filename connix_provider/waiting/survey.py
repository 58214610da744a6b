"""
Remember where a project's agents were last seen, and choose the pages that show them again.

There are three ways to see many agents by pages of the listing: the pages on which they stood last, the pages
of the statuses in which they were last seen, and the whole listing. A thousand agents that are being created
are ten pages of that status, however large the project is and wherever they stand in it. Who is missing there
has left the status since, which is what waits want to know; so who is missed on one way is looked for on the
next, or singly, whichever shows them sooner.

Nothing is sent here; :mod:`connix_provider.waiting.watcher` goes the way that is chosen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from datetime import datetime

from connix_provider.lifecycle import AgentStatus
from connix_provider.waiting.plan import PATIENCE, Rates, pages_of, windows

__all__ = ["Route", "Survey", "Walk"]

#: Pages of a status do not show what became of those who left it, and they have to be looked for once more:
#: so such pages must be so many times quicker than others.
_HALF_SEEN = 2.0
#: Seconds after which it is no longer known how many agents are in a status.
_SIZE_KEEPS = 300.0


@dataclasses.dataclass(frozen=True)
class Walk:
    """
    Describe a walk through a listing.

    :param targets: the agents that it is for: once all of them are seen, it has done its work
    :param status: only agents in this status; ``None`` for all
    :param offsets: where each page begins; ``None`` for page after page
    """

    targets: frozenset[str]
    status: str | None = None
    offsets: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Route:
    """
    Describe one way to see many agents.

    :param kind: ``places``, ``statuses``, ``sizes`` (which finds out whether ``statuses`` pays), ``whole`` or
        ``singly``
    :param walks: the walks to make, none for ``singly``
    :param pages: how many pages they have, as far as is known
    :param singly: how many agents they are not for
    :param seconds: how long all of it takes
    """

    kind: str
    walks: tuple[Walk, ...]
    pages: int
    singly: int
    seconds: float


#: Kind, walks, their pages, and how many agents they leave out.
_Way = tuple[str, tuple[Walk, ...], int, int]


class Survey:
    """
    Remember what pages and single looks showed of the agents that are waited for.

    ``can_list`` and ``can_filter`` say whether the service lets the project be listed, and listed by status.
    """

    def __init__(self) -> None:
        self.can_list = True
        self.can_filter = True
        self._places: dict[str, int] = {}
        self._statuses: dict[str, str] = {}
        self._created: dict[str, datetime] = {}
        self._sizes: dict[str | None, tuple[int, float]] = {}

    def saw(
        self, agent_id: str, status: str, place: int | None = None, created: datetime | None = None
    ) -> None:
        """
        Remember an agent.

        :param agent_id: the agent
        :param status: its status
        :param place: its place in the listing of all agents, from 0, where that was seen
        :param created: when it was created, by which listings are sorted
        """
        self._statuses[agent_id] = status
        if created is not None:
            self._created[agent_id] = created
        if place is not None:
            self._places[agent_id] = place

    def forget(self, agent_id: str) -> None:
        """
        Forget an agent: nobody waits for it any more, or it is not where it was.

        :param agent_id: the agent
        """
        for known in (self._places, self._statuses, self._created):
            known.pop(agent_id, None)

    def stand_before(self, agent_ids: Collection[str], status: str, created: datetime) -> set[str]:
        """
        Choose the agents that stand, if they are still in a status, before another in its listing.

        :param agent_ids: the agents
        :param status: the status
        :param created: when the other was created
        :return: those of them that were last seen in the status, and were created earlier
        """
        return {
            agent_id
            for agent_id in agent_ids
            if self._statuses.get(agent_id) == status and self._created.get(agent_id, created) < created
        }

    def counted(self, status: str | None, total: int | None, now: float) -> None:
        """
        Remember how many agents a listing has.

        :param status: only agents in this status; ``None`` for all
        :param total: how many, if the service says
        :param now: seconds of any clock that goes on
        """
        if total is not None:
            self._sizes[status] = (pages_of(total), now)

    def pages(self, status: str | None, now: float) -> int | None:
        """
        Say how many pages a listing has.

        :param status: only agents in this status; ``None`` for all
        :param now: seconds of the same clock
        :return: pages, or ``None`` where that is not known, or no longer
        """
        pages, at = self._sizes.get(status, (None, 0.0))
        return None if status is not None and now > at + _SIZE_KEEPS else pages

    def route(
        self, agent_ids: Collection[str], rates: Rates, now: float, besides: Collection[str] = ()
    ) -> Route:
        """
        Choose the quickest way to see agents.

        :param agent_ids: the agents
        :param rates: how fast may be asked
        :param now: seconds of the same clock
        :param besides: kinds of ways that are out of the question: gone just before without showing these
            agents
        :return: the way; ``singly`` where no other is left
        """
        wanted = frozenset(agent_ids)
        ways = [
            Route(kind, walks, pages, left_out, max(rates.listing(pages), rates.getting(left_out)))
            for kind, walks, pages, left_out in self._ways(wanted, rates, now)
            if kind not in besides
        ]
        if "singly" not in besides or not ways:
            ways.append(Route("singly", (), 0, len(wanted), rates.getting(len(wanted))))
        # To know where all of them stand is worth more than one look.
        finds = PATIENCE if wanted - self._places.keys() and not besides else 1.0
        worth = {"whole": 1 / finds, "statuses": _HALF_SEEN, "sizes": _HALF_SEEN}
        return min(ways, key=lambda way: way.seconds * worth.get(way.kind, 1.0))

    def _ways(self, wanted: frozenset[str], rates: Rates, now: float) -> Iterator[_Way]:
        whole = self.pages(None, now) or 1
        placed = wanted & self._places.keys()
        offsets = tuple(windows(self._places[agent_id] for agent_id in placed))
        if placed and len(offsets) < whole:
            yield "places", (Walk(placed, offsets=offsets),), len(offsets), len(wanted - placed)
        yield "whole", (Walk(wanted),), whole, 0
        if self.can_filter:
            yield from self._ways_by_status(wanted, rates, now)

    def _ways_by_status(self, wanted: frozenset[str], rates: Rates, now: float) -> Iterator[_Way]:
        last_seen: dict[str, set[str]] = {}
        for agent_id in wanted & self._statuses.keys():
            last_seen.setdefault(self._statuses[agent_id], set()).add(agent_id)
        targets = {status: frozenset(agents) for status, agents in last_seen.items()}
        # Whatever else is in a status, those who were last seen there are.
        least = sum(map(pages_of, map(len, targets.values())))
        unknown = wanted - self._statuses.keys()
        # Many of whom nothing is known are looked for in all statuses, a few are asked for singly.
        if is_search := rates.getting(len(unknown)) > rates.listing(len(AgentStatus)):
            targets = {
                status: targets.get(status, frozenset()) | unknown for status in (*AgentStatus, *targets)
            }
            least += pages_of(len(unknown))
        left_out = 0 if is_search else len(unknown)
        pages = {status: self.pages(status, now) or 0 for status in targets}
        if unsized := [status for status in targets if not pages[status]]:
            walks = tuple(Walk(targets[status], status, (0,)) for status in unsized)
            yield "sizes", walks, len(unsized) + least, left_out
        elif targets:
            # The smallest first: who is found there need not be looked for in a larger one. Who is not found
            # before the largest may be seen sooner in another way.
            ordered = sorted(targets, key=lambda status: pages[status])
            if is_search and ordered[-1] not in last_seen:
                ordered.pop()
            walks = tuple(Walk(targets[status], status) for status in ordered)
            yield "statuses", walks, sum(pages[status] for status in ordered), left_out
