"""
Estimate which page of a listing shows the most overdue agents.

A listing is all agents of a project, or those in one status. Its pages form a grid: page 0 begins at offset
0, page 1 at ``stride``, and so on. Each read of a page has a number, and later reads have larger ones.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator

__all__ = ["PAGE", "DuePages", "ListingScan"]

#: Agents on one page: the reference's most.
PAGE = 100
#: The longest listing that is scanned, because each choice of a page goes through all of them. A service may
#: state any number.
_MAX_PAGES, _MAX_ENTRIES = 2_000, 2_000 * PAGE
_NEVER = -1


class ListingScan:
    """
    Hold what the reads of one listing showed of its length.

    :param overlap: entries by which a page begins before the end of the page before it, so that an agent
        which moves forward between two reads is not missed
    """

    def __init__(self, overlap: int = 0) -> None:
        self._overlap = overlap
        self._size = PAGE
        self._read: dict[int, int] = {}
        #: Entries between the beginnings of two pages.
        self.stride = PAGE - overlap
        #: Pages of the listing, as far as is known; 0 before the first read.
        self.pages = 0
        #: Pages that are being read.
        self.in_flight: set[int] = set()

    def pages_for(self, entries: float) -> int:
        """
        Return the number of pages that hold the given number of entries.

        :param entries: how many
        :return: pages, at least one
        """
        pages = math.ceil((min(entries, _MAX_ENTRIES) - self._size + self.stride) / self.stride)
        return max(1, min(pages, _MAX_PAGES))

    def last_read(self, page: int) -> int:
        """
        Return the number of a page's last read.

        :return: the number, -1 where it was never read
        """
        return self._read.get(page, _NEVER)

    def longest_unread(self, excluding: Collection[int] = ()) -> int | None:
        """
        Return the page whose last read is the longest ago.

        :param excluding: pages that do not count
        :return: the page, or ``None`` where none is left
        """
        others = (page for page in range(max(1, self.pages)) if page not in excluding)
        return min(others, key=self.last_read, default=None)

    def unread_since(self, number: int) -> int:
        """
        Count the pages that may show an agent which no page has shown in the reads since.

        :param number: the number of a read
        :return: pages that were last read before it, or never
        """
        return max(0, self.pages - sum(read >= number for read in self._read.values()))

    def record_page(self, page: int, number: int, *, size: int, total: int | None, has_more: bool) -> bool:
        """
        Take in a page.

        :param number: the number of its read
        :param size: entries on it
        :param total: entries of the listing, if the service states it
        :param has_more: whether more pages follow
        :return: whether the grid changed, because the service's pages are smaller than requested
        """
        if has_more and 0 < size < self._size:
            self._size, self.stride = size, size - min(self._overlap, size // 10)
            self._read.clear()
            self.pages = 0
            return True
        self._read[page] = number
        if not has_more and size < self._size:
            # A page that is not full is the last one, whatever the total is.
            self.pages = page + 1
        elif total is not None:
            self.pages = self.pages_for(total)
        elif has_more:
            # The length is unknown, so assume that as many pages follow as were read.
            self.pages = min(max(self.pages, 2 * (page + 1)), _MAX_PAGES)
        else:
            self.pages = page + 1
        for gone in [known for known in self._read if known >= self.pages]:
            del self._read[gone]
        return False


def _nothing() -> list[float]:
    return [0.0, 0.0]


class DuePages:
    """
    Sum up the due agents of one listing: how many a page shows, and by how many seconds they are overdue.

    An agent that no page has shown yet may be on any page that was not read since its wait began. Where five
    pages may show it, it counts a fifth on each.

    :param scan: what is known of the listing
    :param length: agents in it as far as is known, where it was not read yet
    """

    def __init__(self, scan: ListingScan, length: float = 0.0) -> None:
        self.scan = scan
        self._length = length
        self._longest_unread = scan.longest_unread()
        self._placed: dict[int, list[float]] = defaultdict(_nothing)
        #: The agents that no page has shown, by the number of the first read that would have.
        self._unplaced: dict[int, list[float]] = defaultdict(_nothing)

    def add(self, page: int | None, since: int, overdue: float, agents: float = 1.0) -> None:
        """
        Add due agents.

        :param page: the page that showed them last
        :param since: where there is none, the number of the first read that would have shown them
        :param overdue: the seconds by which they are overdue
        :param agents: how many, or how likely one is in this listing
        """
        sums = self._unplaced[since] if page is None else self._placed[page]
        sums[0] += agents
        sums[1] += overdue

    def spread(self) -> None:
        """Spread the agents without a page over the pages that may show them; once, after all are added."""
        for since, sums in self._unplaced.items():
            pages = self.scan.unread_since(since) if self.scan.pages else self.scan.pages_for(self._length)
            sums[:] = (amount / max(1, pages) for amount in sums)

    def on_page(self, page: int) -> tuple[float, float]:
        """
        Return what a page is expected to show.

        :return: due agents, and the seconds by which they are overdue in sum
        """
        agents, overdue = self._placed.get(page, (0.0, 0.0))
        more, seconds = self._unplaced_on(page)
        return agents + more, overdue + seconds

    def _unplaced_on(self, page: int) -> tuple[float, float]:
        last_read = self.scan.last_read(page)
        sums = [sums for since, sums in self._unplaced.items() if since > last_read]
        return sum(agents for agents, _ in sums), sum(overdue for _, overdue in sums)

    def due_agents_beside(self, page: int | None, *, is_missing: bool = False) -> float:
        """
        Return how many due agents the page that shows an agent shows with it.

        :param page: the page that showed it last, if any
        :param is_missing: whether it left its page, so that only pages read for such agents may show it
        :return: due agents, the agent itself among them
        """
        page = self._longest_unread if page is None else page
        if page is None:
            return 0.0
        return self._unplaced_on(page)[0] if is_missing else self.on_page(page)[0]

    def pages(self) -> Iterator[tuple[int, float, float]]:
        """
        Go through the pages that may be read now.

        :return: page, due agents, and the seconds by which they are overdue in sum
        """
        in_flight = self.scan.in_flight
        pages = {*self._placed, self.scan.longest_unread(excluding=in_flight)} - in_flight
        for page in sorted(page for page in pages if page is not None):
            yield page, *self.on_page(page)
