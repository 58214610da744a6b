"""
Go through the listing as far as it shows the agents that are waited for.

A sweep takes the quickest way that :mod:`connix_provider.waiting.survey` knows, and for whom that misses the
next one, until asking singly is quicker than any. What it reads it reads through the watcher, which shows
each page to everybody.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from connix_provider.waiting.plan import PAGE, PATIENCE, Rates
from connix_provider.waiting.survey import Route, Survey, Walk

if TYPE_CHECKING:
    from connix_provider.client import AgentPage, ConnixError

__all__ = ["Sweep"]

log = logging.getLogger(__name__)

#: Who leaves a status lets those behind move forward, past the beginning of the page that is read next. To
#: read so many twice costs less than a Get for each who slipped past.
_OVERLAP = 5


class Sweep:
    """
    Look for agents in a project's listing, once.

    :param survey: what is known of the listing
    :param project_id: the project, for the log
    :param read: reads the page of a status, or of all, at an offset
    :param rates: says how fast may be asked
    :param miss: takes agents that the listing does not show: moved, gone, or never there
    :param waited: the agents that are waited for at this very moment
    :param asked: the agents that are asked for singly at this very moment
    """

    def __init__(
        self,
        survey: Survey,
        project_id: str,
        *,
        read: Callable[[str | None, int], Awaitable[AgentPage]],
        rates: Callable[[], Rates],
        miss: Callable[[set[str]], None],
        waited: Mapping[str, object],
        asked: Collection[str],
    ) -> None:
        self._survey = survey
        self._project_id = project_id
        self._read = read
        self._rates = rates
        self._miss = miss
        self._waited = waited
        self._asked = asked
        self._unseen: set[str] = set()
        self._gone: list[str] = []

    async def look_for(self, wanted: Collection[str]) -> None:
        """
        Read pages until all are seen, or the rest is seen sooner singly; who was not seen is missed then.

        :param wanted: the agents
        :raises ConnixError: where the listing fails in a way that may pass, or for the key's sake
        """
        from connix_provider.client import ConnixAuthenticationError, ConnixError
        from connix_provider.client.retry import may_pass

        self._unseen = set(wanted)
        while self._survey.can_list and (rest := self._rest()):
            route = self._survey.route(rest, self._rates(), time.monotonic(), besides=self._gone)
            self._gone.append(route.kind)
            try:
                # Who is missed on any walk but the last may be seen on the next one.
                ended = [await self._go(walk, is_last=walk is route.walks[-1]) for walk in route.walks]
            except ConnixError as error:
                if may_pass(error) or isinstance(error, ConnixAuthenticationError):
                    raise
                self._avoid(route, error)
            else:
                if not route.walks or (route.kind == "whole" and all(ended)):
                    break
        self._miss(self._rest())

    def _rest(self) -> set[str]:
        return self._unseen & self._waited.keys()

    async def _go(self, walk: Walk, *, is_last: bool) -> bool:
        """Read the pages of one walk, or fewer where the rest is seen sooner otherwise; say if it ended."""
        if walk.offsets is not None:
            for offset in walk.offsets:
                await self._page(walk.status, offset)
            return True
        offset, has_more, met = 0, True, set[str]()
        while has_more and self._rest() & walk.targets:
            page = await self._page(walk.status, offset)
            shown = {agent.id for agent in page}
            if shown <= met:
                # The end, or a service that gives the same pages again and again.
                return True
            met |= shown
            overlap = 0 if walk.status is None else min(_OVERLAP, page.size // 10)
            has_more, offset = page.pagination.has_more, offset + page.size - overlap
            left = self._left(walk.status, offset, page.size)
            if walk.status and is_last and (reached := _reached(page)):
                passed = self._survey.stand_before(self._rest(), walk.status, reached)
                if passed and self._is_sooner_singly(passed, left):
                    self._unseen -= passed
                    self._miss(passed)
            if (rest := self._rest() & walk.targets) and left > self._otherwise(walk.status, rest):
                if self._survey.pages(walk.status, time.monotonic()) is None:
                    # So that the next sweep does not take it for short again.
                    self._survey.counted(walk.status, 2 * offset, time.monotonic())
                return False
        return True

    def _left(self, status: str | None, offset: int, size: int) -> float:
        """Say how many seconds the pages from an offset on take; their size may be the service's choice."""
        pages = self._survey.pages(status, time.monotonic())
        # A listing of which nobody knows the length may go on for as long as it has gone on.
        entries = pages * PAGE - offset if pages else offset
        return self._rates().listing(max(0, entries) / size)

    def _otherwise(self, status: str | None, rest: Collection[str]) -> float:
        """Say how many seconds a walk may still take to be better than other ways to see the rest."""
        if status is None:
            # It seemed short before its first page told how long it is.
            route = self._survey.route(rest, self._rates(), time.monotonic(), besides=self._gone)
            return PATIENCE * route.seconds
        return self._rates().getting(len(rest))

    def _is_sooner_singly(self, passed: Collection[str], left: float) -> bool:
        """Tell whether Gets show those who were passed sooner than the walk's end or the next best way."""
        rates = self._rates()
        other = self._survey.route(passed, rates, time.monotonic(), besides=[*self._gone, "singly"])
        # Where no other is left they are asked for singly in the end: better now.
        seconds = math.inf if other.kind == "singly" else max(left, other.seconds)
        return rates.getting(len(passed) + len(self._asked)) <= seconds

    async def _page(self, status: str | None, offset: int) -> AgentPage:
        page = await self._read(status, offset)
        self._unseen.difference_update(agent.id for agent in page)
        return page

    def _avoid(self, route: Route, error: ConnixError) -> None:
        """Do without what the service does not allow."""
        if any(walk.status for walk in route.walks):
            log.warning("Project %s cannot be listed by status: %s", self._project_id, error)
            self._survey.can_filter = False
        else:
            log.warning(
                "Project %s cannot be listed; agents are asked for singly: %s", self._project_id, error
            )
            self._survey.can_list = False


def _reached(page: AgentPage) -> datetime | None:
    """Say how far into the order of creation a page goes, if it keeps to that order."""
    moments = [agent.created_at for agent in page if agent.created_at]
    is_ordered = len(moments) == len(page) and moments == sorted(moments)
    # Those that were created at the same moment keep to any order.
    return moments[-1] if is_ordered and moments[:1] < moments[-1:] else None
