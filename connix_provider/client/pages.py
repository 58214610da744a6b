"""
Walk the pages of a listing while it changes underneath.

Offset pages shift as agents come and go, and as new log lines arrive at the front. A page therefore begins
with what the page before ended with: as long as two pages overlap, nothing between them was missed. Where
they do not, the walk steps back until they do. What was seen already is not given out again.

Where the service does not say whether more follows, a walk goes on until a page shows nothing new. A service
that says so, and gives page after page without anything new, is given up.

The walks do no I/O: they say which call comes next and take its page.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable
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
#: The same for pages that are alike to the last entry, as of a service that takes no notice of the offset:
#: where it counts its entries and where not. Short pages can be alike by chance, so they are not enough.
_MOST_ALIKE, _MOST_ALIKE_UNCOUNTED, _FEWEST_ALIKE_ENTRIES = 3, 10, 20


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
        self._alike = 0
        self._former: object = None

    def next_call(self) -> Call[PageT] | None:
        """
        Say what to ask next.

        :return: the call for the next page, or ``None`` at the end
        """
        return None if self._offset is None else self._call(self._offset)

    def _count(self, fresh: list[ItemT], page: Page[ItemT], keys: list[Hashable]) -> None:
        """Give the listing up where it does not get on."""
        total = page.pagination.total
        is_former, self._former = self._former == (keys, total), (keys, total)
        is_past_the_end = total is not None and self._offset is not None and self._offset >= total
        self._alike = self._alike + 1 if is_former and page.size and (is_past_the_end or not fresh) else 0
        # Lines that look alike may be others; but not for ever.
        self._idle = 0 if fresh and (total is not None or not is_former) else self._idle + 1
        most_alike = _MOST_ALIKE_UNCOUNTED if total is None else _MOST_ALIKE
        if self._idle > _MOST_IDLE or (
            self._alike >= most_alike and self._alike * page.size >= _FEWEST_ALIKE_ENTRIES
        ):
            raise ConnixResponseError(
                f"Connix gave {max(self._idle, self._alike)} pages in a row without anything new; "
                "the listing does not end"
            )

    def _go_on(self, fresh: list[ItemT], page: Page[ItemT], *, overlap: int) -> int:
        """
        Move to the next page, which shall begin with the last ``overlap`` items of this one.

        :return: with how many it will, as long as nothing shifts
        """
        if self._offset is None:
            return 0
        goes_on = page.goes_on(self._offset)
        if not page.size or not (fresh if goes_on is None else goes_on):
            self._offset = None
            return 0
        # A page of one item cannot overlap and still get on.
        overlap = min(overlap, page.size - 1)
        self._offset += page.size - overlap
        return overlap


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
        # Who was left out may be the one that was seen before.
        overlaps = not self._seen or len(fresh) < page.size or self._adjoins
        self._count(fresh if overlaps else [], page, [agent.id for agent in agents])
        if not overlaps and self._offset is not None and self._offset > self._first:
            # Agents before this page went away and the rest moved up: some may have slipped past.
            self._offset = max(self._first, self._offset - self._step_back)
            self._step_back *= 2
            return []
        self._step_back = 1
        # Pages of one agent cannot overlap; the next one begins where this one, known already, ends.
        self._adjoins = page.size == 1 and not fresh
        self._seen.update(agent.id for agent in fresh)
        self._go_on(fresh, page, overlap=1)
        return fresh


class LogWalk(_OffsetWalk[LogEntry, LogPage]):
    """
    Walk an agent's log, each line once, in the service's order.

    Lines have no id and two may be equal, so pages are laid over each other: where new lines pushed the
    rest down, the next page begins with lines that ended the pages before. Where the service does not count
    its lines, pages overlap by one, and only a line that is like no other proves a push; without a proof, a
    line is rather given out twice than not at all. Memory is a few pages.
    """

    def __init__(self, call: Callable[[int], Call[LogPage]], offset: int = 0) -> None:
        super().__init__(call, offset)
        self._tail: deque[Hashable] = deque(maxlen=4_000)
        self._total: int | None = None
        self._behind = 0
        self._overlapping = 0

    def take(self, page: LogPage) -> list[LogEntry]:
        """
        Take the page that was asked for.

        :param page: the page
        :return: its lines that were not given out yet
        :raises ConnixResponseError: for a log that does not end
        """
        keys: list[Hashable] = [_key(entry) for entry in page.logs]
        total, before = page.pagination.total, self._total
        # The rest moved down by as many lines as came in: what is equal beyond that is not the same line.
        pushed = None if total is None or before is None else max(0, total - before)
        if pushed is None:
            depth = _proven_overlap(list(self._tail), keys, self._overlapping)
        else:
            depth = _overlap(list(self._tail), keys, self._behind + pushed + self._overlapping)
        known = min(depth, len(keys))
        self._total, self._behind = total, depth - known
        self._tail.extend(keys[known:])
        fresh = page.logs[known:]
        self._count(fresh, page, keys)
        self._overlapping = self._go_on(fresh, page, overlap=int(total is None))
        return fresh


def _key(entry: LogEntry) -> int:
    return hash((entry.timestamp, entry.level, entry.message, repr(entry.context)))


def _overlap(
    tail: list[Hashable], keys: list[Hashable], deepest: int, accept: Callable[[int], bool] = bool
) -> int:
    """
    Find where in the tail a page begins.

    :param tail: what was given out last
    :param keys: the page
    :param deepest: by how many items at most the page begins before the tail's end
    :param accept: tells whether a place where they agree can be right
    :return: by how many items the page begins before the tail's end; this may be more than the page has
    """
    for depth in range(min(len(tail), deepest) if keys else 0, 0, -1):
        start, length = len(tail) - depth, min(depth, len(keys))
        if tail[start] == keys[0] and tail[start : start + length] == keys[:length] and accept(depth):
            return depth
    return 0


def _proven_overlap(tail: list[Hashable], keys: list[Hashable], expected: int) -> int:
    """
    Find the same where nobody knows by how much the page was pushed.

    :param tail: what was given out last
    :param keys: the page
    :param expected: the answer where nothing was pushed
    :return: by how many items the page begins before the tail's end
    """
    before, here = Counter(tail), Counter(keys)

    def accept(depth: int) -> bool:
        return depth == expected or any(before[key] == here[key] == 1 for key in keys[:depth])

    return _overlap(tail, keys, len(tail), accept)
