"""
Choose which read shows the most overdue agents next; without I/O and without a clock.

A read is one request: a Get shows one agent, a page of the listing up to a hundred. Each has a rate limit of
its own. Where a few agents are waited for, Gets suffice and no page is read. Otherwise each permit for a page
goes to the page whose agents are overdue the most, in seconds and in sum. Each permit for a Get goes to the
most overdue agent that pages do not show in time. An example: 1,000 waits in a project of 1,000 agents, a
poll interval of 5 s and 94 pages a minute. The ten pages are read in turns, each every 6.4 s, whenever each
wait began.

There are three kinds of read:

- *By page*: the page of the whole listing that showed an agent last shows it again.
- *By status*: the agents in one status have a listing of their own. In a project of 50,000 agents, of which
  1,000 are being created, it has eleven pages. An agent that left the status is not on them, so these pages
  count half. An agent of unknown status counts for each status in proportion to the agents known in it.
- *By id*: an agent that is on no page with another, because a page is no better than a Get then. An agent
  that left its page is such an agent, and only a Get shows what became of it. So is one that is overdue
  much longer than the agents that pages show.

Invariants: no request shows only agents that are not due; no agent and no page is read twice at a time; a
page that does not show an agent says nothing about the agent.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from connix_provider.client.ratelimit.buckets import Bucket
from connix_provider.polling.watching.listing_scan import PAGE, DuePages, ListingScan
from connix_provider.polling.watching.watched_agent import WatchedAgent
from connix_provider.statuses import AgentStatus

if TYPE_CHECKING:
    from connix_provider.client import AgentPage
    from connix_provider.polling.watching.subscription import Subscription

__all__ = ["Read", "ReadScheduler"]

#: Up to this part of the limit of Gets, all agents are read by id.
_MAX_GET_LOAD = 0.75
#: A page that shows fewer due agents is no better than a Get.
_WORTH_A_PAGE = 2.0
#: How much a page by status counts.
_BY_STATUS = 0.5
#: Entries by which pages by status overlap: where an agent leaves the status, those behind it move forward.
_OVERLAP = 5
#: An agent is read by id once it is overdue by this factor of the lateness on pages, plus these seconds.
_GET_AFTER, _GET_AFTER_MORE = 1.5, 2.0
#: How much the last page counts in the average of how long agents are overdue.
_SMOOTHING = 0.2


@dataclasses.dataclass(frozen=True)
class Read:
    """
    Describe one request.

    :param agent_ids: of a Get the agent; of a page the agents that it showed last
    :param page: the page's number, ``None`` for a Get
    :param status: the status that the page is of, ``None`` for all
    :param offset: where the page begins
    :param lateness: by how many seconds the agents on the page are overdue, on average
    """

    agent_ids: frozenset[str]
    page: int | None = None
    status: str | None = None
    offset: int = 0
    lateness: float = 0.0


class ReadScheduler:
    """Hold the agents that are waited for in one project, and choose the next reads. Moments are seconds."""

    def __init__(self) -> None:
        #: Whether all agents are read by id, as was decided last.
        self.is_by_id = True
        self._agents: dict[str, WatchedAgent] = {}
        self._in_flight: Counter[str] = Counter()
        self._pages_in_flight = 0
        self._scans: dict[str | None, ListingScan] = {None: ListingScan()}
        self._pages_read = 0
        #: Until when the service is believed to refuse pages of the whole listing, and by status.
        self._avoid_all_until = self._avoid_statuses_until = -math.inf
        #: By how many seconds agents are overdue when pages show them, as a moving average.
        self._lateness = 0.0

    @property
    def get_after(self) -> float:
        """The seconds by which an agent is overdue before it is read by id although a page shows it."""
        return 0.0 if self.is_by_id else _GET_AFTER * self._lateness + _GET_AFTER_MORE

    def __len__(self) -> int:
        return len(self._agents)

    def subscriptions(self, agent_ids: Iterable[str] | None = None) -> list[Subscription]:
        """
        Return subscriptions.

        :param agent_ids: to these agents; default all
        """
        wanted = self._agents if agent_ids is None else self._agents.keys() & agent_ids
        return [subscription for agent_id in wanted for subscription in self._agents[agent_id].subscriptions]

    def join(self, subscription: Subscription) -> None:
        """Add a subscription."""
        agent = self._agents.setdefault(subscription.agent_id, WatchedAgent(self._pages_read + 1))
        agent.subscriptions.append(subscription)

    def leave(self, subscription: Subscription) -> None:
        """Remove a subscription."""
        subscriptions = self._agents[subscription.agent_id].subscriptions
        subscriptions.remove(subscription)
        if not subscriptions:
            del self._agents[subscription.agent_id]

    def next_reads(self, now: float, get_rate: float) -> dict[Bucket, Read]:
        """
        Choose the agent that Get Agent shall show, and the page that List Agents shall show.

        :param get_rate: Gets a second that polling may send
        :return: the reads that are needed, by the endpoint
        """
        self.is_by_id = now < self._avoid_all_until or self._gets_suffice(get_rate)
        due = self._due(now)
        if not due:
            return {}
        if self.is_by_id:
            return {Bucket.GET: Read(frozenset({max(due, key=due.__getitem__)}))}
        expected = self._expect(due, with_statuses=now >= self._avoid_statuses_until)
        reads = {Bucket.GET: self._next_by_id(due, expected), Bucket.LIST: self._next_page(expected)}
        return {bucket: read for bucket, read in reads.items() if read is not None}

    def is_in_flight(self, agent_id: str) -> bool:
        """Return whether a request is in flight that may show an agent."""
        return self._pages_in_flight > 0 or agent_id in self._in_flight

    def may_be_on(self, read: Read) -> frozenset[str]:
        """
        Return the agents that a page was read for.

        :return: the agents that it showed last, and those that its listing has not shown yet
        """
        unlocated = (agent_id for agent_id, agent in self._agents.items() if read.status not in agent.pages)
        return read.agent_ids.union(unlocated)

    @contextmanager
    def in_flight(self, read: Read) -> Iterator[None]:
        """Choose nothing that a request shows while it is in flight."""
        pages = set() if read.page is None else self._scans[read.status].in_flight
        if read.page is not None:
            self._lateness += _SMOOTHING * (read.lateness - self._lateness)
            self._pages_in_flight += 1
            pages.add(read.page)
        self._in_flight.update(read.agent_ids)
        try:
            yield
        finally:
            self._in_flight -= Counter(read.agent_ids)
            if read.page is not None:
                self._pages_in_flight -= 1
                pages.discard(read.page)

    def avoid(self, read: Read, now: float, seconds: float) -> None:
        """
        Send no such requests for some time, because they fail.

        :param read: a page
        :param seconds: for how long
        """
        if read.status is None:
            self._avoid_all_until = now + seconds
        else:
            self._avoid_statuses_until = now + seconds

    def on_agent(self, agent_id: str, status: str) -> None:
        """Record what a response shows of an agent."""
        agent = self._agents.get(agent_id)
        if agent is None:
            return
        agent.is_missing = False
        if agent.status != status:
            if agent.status is not None:
                agent.pages.pop(agent.status, None)
            agent.status, agent.unplaced_since = status, self._pages_read + 1

    def on_page(self, read: Read, page: AgentPage) -> None:
        """Record a page; agents that left it may be on those that were read before."""
        self._pages_read += 1
        for agent in page:
            self.on_agent(agent.id, agent.status)
        scan, paging, number = self._scans[read.status], page.pagination, self._pages_read
        assert read.page is not None
        if scan.record_page(read.page, number, size=page.size, total=paging.total, has_more=paging.has_more):
            for watched in self._agents.values():
                watched.pages.pop(read.status, None)
            return
        shown = {agent.id for agent in page}
        for agent_id, watched in self._agents.items():
            last_page = watched.pages.get(read.status, -1)
            if agent_id in shown:
                if read.status in (None, watched.status):
                    watched.pages[read.status] = read.page
            elif last_page == read.page or last_page >= scan.pages:
                watched.pages.clear()
                watched.is_missing, watched.unplaced_since = True, number

    def _gets_suffice(self, get_rate: float) -> bool:
        load = 0.0
        for agent in self._agents.values():
            load += 1.0 / agent.interval
            if load > _MAX_GET_LOAD * get_rate:
                return False
        return True

    def _due(self, now: float) -> dict[str, float]:
        """Return the due agents that are not being read, with the seconds by which they are overdue."""
        overdue = ((agent_id, agent.overdue(now)) for agent_id, agent in self._agents.items())
        return {
            agent_id: seconds for agent_id, seconds in overdue if seconds and agent_id not in self._in_flight
        }

    def _expect(self, due: Mapping[str, float], *, with_statuses: bool) -> dict[str | None, DuePages]:
        """Sum up the due agents for each listing that may be read."""
        whole = DuePages(self._scans[None])
        expected: dict[str | None, DuePages] = {None: whole}
        known = Counter(agent.status for agent in self._agents.values() if agent.status)
        # Where every second agent is waited for, no page by status is worth more than one of the whole
        # listing.
        is_sparse = whole.scan.pages * PAGE > len(self._agents) / _BY_STATUS
        statuses = sorted({*AgentStatus, *known}) if with_statuses and is_sparse else []
        likely = {status: (known[status] + 1) / (known.total() + len(statuses)) for status in statuses}
        for status in statuses:
            length = known[status] + likely[status] * (len(self._agents) - known.total())
            scan = self._scans.setdefault(status, ListingScan(_OVERLAP))
            expected[status] = DuePages(scan, length)
        for agent_id, overdue in due.items():
            agent = self._agents[agent_id]
            since = agent.unplaced_since
            if agent.status in expected and agent.status in agent.pages:
                expected[agent.status].add(agent.pages[agent.status], since, overdue)
                continue
            whole.add(agent.pages.get(None), since, overdue)
            if agent.status is None:
                for status, part in likely.items():
                    expected[status].add(None, since, overdue * part, part)
            elif agent.status in expected and not agent.is_missing:
                expected[agent.status].add(None, since, overdue)
        for due_pages in expected.values():
            due_pages.spread()
        return expected

    def _next_by_id(self, due: Mapping[str, float], expected: Mapping[str | None, DuePages]) -> Read | None:
        most, chosen = 0.0, None
        for agent_id, overdue in due.items():
            if overdue > most and self._needs_a_get(self._agents[agent_id], overdue, expected):
                most, chosen = overdue, agent_id
        return None if chosen is None else Read(frozenset({chosen}))

    def _needs_a_get(
        self, agent: WatchedAgent, overdue: float, expected: Mapping[str | None, DuePages]
    ) -> bool:
        # The page of an agent that no page has shown comes within a round of all pages.
        get_after = self.get_after if agent.pages else max(self.get_after, agent.interval)
        if overdue > get_after * len(agent.subscriptions):
            return True
        if not self._scans[None].pages:
            # The first page tells how many there are.
            return False
        if agent.is_missing:
            listings: Iterable[str | None] = [None]
        else:
            listings = expected if agent.status is None else expected.keys() & {None, agent.status}
        return all(
            expected[listing].due_agents_beside(agent.pages.get(listing), is_missing=agent.is_missing)
            < _WORTH_A_PAGE
            for listing in listings
        )

    def _next_page(self, expected: Mapping[str | None, DuePages]) -> Read | None:
        most, chosen = 0.0, None
        for status, due_pages in expected.items():
            for page, agents, overdue in due_pages.pages():
                worth = overdue if status is None else overdue * _BY_STATUS
                if agents >= 1.0 and worth > most:
                    most, chosen = worth, (status, page, overdue / agents)
        if chosen is None:
            return None
        status, page, lateness = chosen
        scan = self._scans[status]
        showed = (agent_id for agent_id, agent in self._agents.items() if agent.pages.get(status) == page)
        return Read(frozenset(showed), page, status, page * scan.stride, lateness)
