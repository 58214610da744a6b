"""
Read the pages of a listing one after another, although they shift meanwhile.

Invariants:

- An agent that exists all the time is given exactly once, because create-once needs complete listings. Offset
  pages shift as agents come and go, so a page begins with the last agent of the page before. If that agent is
  missing, some may have slipped to an earlier page, and the paginator steps back.
- A log is never cut short. Entries have no id, so an entry may be given twice if new ones push the rest to
  later pages.
- Where the service does not say whether more follows, the listing continues until a page shows nothing new.
- A listing that makes no progress is an error, and never an endless loop.

Paginators do no I/O: they choose the next call and take its page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from connix_provider.client.calls.call import Call
from connix_provider.client.errors import ConnixResponseError
from connix_provider.client.modeling.page import Page

__all__ = ["AgentPaginator", "LogPaginator", "Paginator"]

ItemT = TypeVar("ItemT")
PageT = TypeVar("PageT", bound=Page[Any])
#: A listing makes no progress after more pages in a row than this, with more entries, that show nothing new.
_MOST_PAGES, _MOST_ENTRIES = 10, 1000


class Paginator(Protocol[PageT, ItemT]):
    """Choose the call for the next page, and what is new on the page."""

    #: The call for the next page, ``None`` at the end.
    next_call: Call[PageT] | None

    def take(self, page: PageT) -> list[ItemT]:
        """Return the items of a page that were not given before."""


class _OffsetPaginator(Generic[PageT]):
    """
    Position in a listing.

    :param call: makes the call for an ``offset``
    :param offset: where to begin
    :raises ValueError: for an argument out of bounds
    """

    def __init__(self, call: Callable[..., Call[PageT]], offset: int = 0) -> None:
        self._call = call
        self._first = self._offset = offset
        self._pages_without_progress = 0
        #: How many items of the page before stand on the next page, unless agents came or went.
        self._overlap = 0
        self.next_call: Call[PageT] | None = call(offset=offset)

    def _go_to(self, offset: int | None) -> None:
        self._offset = self._offset if offset is None else offset
        self.next_call = None if offset is None else self._call(offset=offset)

    def _go_on(self, page: PageT, *, has_news: bool, overlap: int = 0) -> None:
        """Go to the next page, which begins with the last items of this one; or end."""
        has_next = page.has_next_page(self._offset)
        if has_next is None:
            has_next = has_news
        # A page of one item cannot overlap and still make progress.
        self._overlap = min(overlap, max(page.size - 1, 0))
        step = page.size - self._overlap
        self._go_to(self._offset + step if page.size and has_next else None)

    def _check_progress(self, page: PageT, *, has_news: bool) -> None:
        self._pages_without_progress = 0 if has_news else self._pages_without_progress + 1
        pages = self._pages_without_progress
        if pages > _MOST_PAGES and pages * page.size > _MOST_ENTRIES:
            raise ConnixResponseError(
                f"Connix returned {pages} pages in a row without a new entry; the listing makes no progress"
            )


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


AgentT = TypeVar("AgentT", bound=_HasId)


class AgentPaginator(_OffsetPaginator[Page[AgentT]], Generic[AgentT]):
    """
    Go through a listing of agents: each once, and none left out that exists all the time.

    Memory grows by one id for each agent.
    """

    def __init__(self, call: Callable[..., Call[Any]], offset: int = 0) -> None:
        super().__init__(call, offset)
        self._seen: set[str] = set()
        self._step_back = 1
        self._has_unreadable = False

    def check_complete(self) -> None:
        """
        Raise if a page had entries that cannot be read.

        :raises ConnixResponseError: if the listing is incomplete
        """
        if self._has_unreadable:
            raise ConnixResponseError("The listing has agents that cannot be read, so it is incomplete")

    def _check_end(self, page: Page[AgentT]) -> None:
        total = page.pagination.total
        if not page.size and (page.has_next_page(self._offset) or (total or 0) > self._offset):
            raise ConnixResponseError(
                "Connix returned an empty page although more agents exist; the listing is incomplete"
            )

    def take(self, page: Page[AgentT]) -> list[AgentT]:
        """
        Take the page of the last call.

        :return: its agents that were not given before
        :raises ConnixResponseError: for a listing that makes no progress, or ends before its end
        """
        self._has_unreadable |= page.size > len(page)
        fresh = list({agent.id: agent for agent in page if agent.id not in self._seen}.values())
        # An entry that cannot be read may be the one that was seen before.
        overlaps = len(fresh) < page.size or not self._overlap
        self._check_progress(page, has_news=bool(fresh) and overlaps)
        if not overlaps and self._offset > self._first:
            # Agents before this page went away and the rest moved up, so some may have slipped past.
            self._go_to(max(self._first, self._offset - self._step_back))
            self._step_back *= 2
            return []
        self._check_end(page)
        self._step_back = 1
        self._seen.update(agent.id for agent in fresh)
        self._go_on(page, has_news=bool(fresh), overlap=1)
        return fresh


class LogPaginator(_OffsetPaginator[Page[ItemT]], Generic[ItemT]):
    """Go through an agent's log in the service's order; entries may repeat if the log grows meanwhile."""

    def __init__(self, call: Callable[..., Call[Any]], offset: int = 0) -> None:
        super().__init__(call, offset)
        self._last: list[ItemT] = []

    def take(self, page: Page[ItemT]) -> list[ItemT]:
        """
        Take the page of the last call.

        :return: its entries
        :raises ConnixResponseError: for a log that makes no progress
        """
        total = page.pagination.total
        # Entries may look alike, so a page like the last one is new as long as the service counts so many.
        is_counted = total is not None and self._offset < total
        has_news = is_counted or page.items != self._last
        self._check_progress(page, has_news=has_news)
        repeats_at_the_end = not has_news and page.has_next_page(self._offset) is None
        self._last = page.items
        self._go_on(page, has_news=has_news)
        return [] if repeats_at_the_end else list(page)
