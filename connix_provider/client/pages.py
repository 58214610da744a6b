"""
Walk the pages of a listing while it changes underneath.

Offset pages shift as agents come and go, and as new log lines arrive at the front. A page therefore begins
with what the page before ended with: as long as two pages overlap, nothing between them was missed. Where
they do not, the walk steps back until they do. What was seen already is not given out again.

A service that gives page after page without anything new is given up.

The walks do no I/O: they say which call comes next and take its page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from connix_provider.client.call import Call
from connix_provider.client.errors import ConnixResponseError
from connix_provider.client.listing import Page
from connix_provider.client.models import Agent, AgentPage, LogEntry, LogPage

__all__ = ["AgentWalk", "LogWalk", "Walk"]

ItemT = TypeVar("ItemT")
PageT = TypeVar("PageT")

#: Pages in a row without anything new, after which a listing is taken for one that never ends.
_MOST_IDLE = 100


class Walk(Protocol[PageT, ItemT]):
    """Say which page comes next, and what of it is new."""

    def next_call(self) -> Call[PageT] | None:
        """Return the call for the next page, or ``None`` at the end."""

    def take(self, page: PageT) -> list[ItemT]:
        """Return what is new on a page."""


class _OffsetWalk(Generic[ItemT, PageT]):
    """
    Hold the place in a listing.

    :param call: makes the call for an offset
    :param offset: where to begin
    """

    def __init__(self, call: Callable[[int], Call[PageT]], offset: int = 0) -> None:
        self._call = call
        self._first = offset
        self._offset: int | None = offset
        self._idle = 0

    def next_call(self) -> Call[PageT] | None:
        """
        Say what to ask next.

        :return: the call for the next page, or ``None`` at the end
        """
        return None if self._offset is None else self._call(self._offset)

    def _count(self, fresh: list[ItemT]) -> None:
        self._idle = 0 if fresh else self._idle + 1
        if self._idle > _MOST_IDLE:
            raise ConnixResponseError(
                f"Connix gave {_MOST_IDLE} pages in a row without anything new; the listing does not end"
            )

    def _go_on(self, page: Page[ItemT], *, overlap: int) -> None:
        """Move to the next page, which shall begin with the last ``overlap`` items of this one."""
        if self._offset is None or not len(page) or not page.pagination.has_more:
            self._offset = None
        else:
            # A page of one item cannot overlap and still get on.
            self._offset += max(1, len(page) - overlap)


class AgentWalk(_OffsetWalk[Agent, AgentPage]):
    """
    Walk a listing of agents, each given out once, none left out that was there all the time.

    Memory grows by one id for each agent: ids are what tells that an agent was given out already.
    """

    def __init__(self, call: Callable[[int], Call[AgentPage]], offset: int = 0) -> None:
        super().__init__(call, offset)
        self._seen: set[str] = set()
        self._step_back = 1
        self._adjoins = False

    def take(self, page: AgentPage) -> list[Agent]:
        """
        Take the page that was asked for.

        :param page: the page
        :return: its agents that were not given out yet
        :raises ConnixResponseError: for a listing that does not end
        """
        agents = page.agents
        fresh = list({agent.id: agent for agent in agents if agent.id not in self._seen}.values())
        overlaps = not self._seen or len(fresh) < len(agents) or self._adjoins
        self._count(fresh if overlaps else [])
        if not overlaps and self._offset is not None and self._offset > self._first:
            # Agents before this page went away and the rest moved up: some may have slipped past.
            self._offset = max(self._first, self._offset - self._step_back)
            self._step_back *= 2
            return []
        self._step_back = 1
        # Pages of one agent cannot overlap; the next one begins where this one, known already, ends.
        self._adjoins = len(agents) == 1 and not fresh
        self._seen.update(agent.id for agent in fresh)
        self._go_on(page, overlap=1)
        return fresh


class LogWalk(_OffsetWalk[LogEntry, LogPage]):
    """
    Walk an agent's log, each line once, in the service's order.

    Lines have no id and two may be equal, so pages are laid over each other: where new lines pushed the
    rest down, the next page begins with lines that ended the pages before. Memory is a few pages.
    """

    def __init__(self, call: Callable[[int], Call[LogPage]], offset: int = 0) -> None:
        super().__init__(call, offset)
        self._tail: deque[int] = deque(maxlen=4_000)
        self._total: int | None = None
        self._behind = 0

    def take(self, page: LogPage) -> list[LogEntry]:
        """
        Take the page that was asked for.

        :param page: the page
        :return: its lines that were not given out yet
        :raises ConnixResponseError: for a log that does not end
        """
        keys = [_key(entry) for entry in page.logs]
        total, before = page.pagination.total, self._total
        # The rest moved down by as many lines as came in: what is equal beyond that is not the same line.
        pushed = None if total is None or before is None else max(0, total - before)
        depth = _overlap(list(self._tail), keys, None if pushed is None else self._behind + pushed)
        known = min(depth, len(keys))
        self._total, self._behind = total, depth - known
        self._tail.extend(keys[known:])
        fresh = page.logs[known:]
        self._count(fresh)
        self._go_on(page, overlap=0)
        return fresh


def _key(entry: LogEntry) -> int:
    return hash((entry.timestamp, entry.level, entry.message, repr(entry.context)))


def _overlap(tail: list[int], keys: list[int], pushed: int | None) -> int:
    """
    Find where in the tail a page begins.

    :param tail: what was given out last
    :param keys: the page
    :param pushed: by how many items at most the page begins before the tail's end, where that is known
    :return: by how many items the page begins before the tail's end; this may be more than the page has
    """
    deepest = len(tail) if pushed is None else min(len(tail), pushed)
    for depth in range(deepest if keys else 0, 0, -1):
        start, length = len(tail) - depth, min(depth, len(keys))
        if tail[start] == keys[0] and tail[start : start + length] == keys[:length]:
            return depth
    return 0
