"""Which request shows the most overdue agents next."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from connix_provider.client.models import AgentPage
from connix_provider.client.ratelimit.buckets import Bucket
from connix_provider.polling.watching.listing_scan import PAGE
from connix_provider.polling.watching.read_scheduler import Read, ReadScheduler

#: Gets a second, as the reference has them.
GET_RATE = 200 / 60


class FakeSubscription:
    """Wait for a poll of one agent, all the time."""

    is_waiting = True

    def __init__(self, agent_id: str, due: float = 0.0, interval: float = 5.0) -> None:
        self.agent_id, self.due, self.interval = agent_id, due, interval

    def is_nearly_due(self, now: float) -> bool:
        return self.due <= now + self.interval / 2


class Project:
    """
    Give pages of agents as the service would, and carry out what the scheduler chooses.

    :param agents: status by number; default: 0 to 999 are being created
    """

    size = PAGE
    has_total = True

    def __init__(self, agents: dict[int, str] | None = None) -> None:
        self.agents = dict.fromkeys(range(1000), "creating") if agents is None else agents
        self.scheduler = ReadScheduler()
        self.waiting: dict[str, FakeSubscription] = {}
        self.now = 0.0
        self.read: list[Read] = []

    def wait_for(self, *numbers: int, interval: float = 5.0) -> None:
        for number in numbers:
            self.waiting[f"agent_{number}"] = FakeSubscription(f"agent_{number}", self.now, interval)
            self.scheduler.join(self.waiting[f"agent_{number}"])

    def leave(self, *numbers: int) -> None:
        for number in numbers:
            self.scheduler.leave(self.waiting.pop(f"agent_{number}"))

    def next(self) -> tuple[Read | None, Read | None]:
        reads = self.scheduler.next_reads(self.now, GET_RATE)
        return reads.get(Bucket.GET), reads.get(Bucket.LIST)

    def page(self, read: Read) -> AgentPage:
        listed = [number for number, status in self.agents.items() if read.status in (None, status)]
        numbers = listed[read.offset :][: self.size]
        paging = {"has_more": read.offset + len(numbers) < len(listed)}
        if self.has_total:
            paging["total"] = len(listed)
        return AgentPage.read(json.dumps({"agents": self.entries(numbers), "pagination": paging}).encode())

    def entries(self, numbers: list[int]) -> list[dict[str, object]]:
        return [
            {"id": f"agent_{n}", "name": f"agent {n}", "project_id": "p", "status": self.agents[n]}
            for n in numbers
        ]

    def carry_out(self, read: Read) -> set[str]:
        """Send a read; return the agents that it shows."""
        self.read.append(read)
        with self.scheduler.in_flight(read):
            shown = self.response(read)
        for agent_id in shown & self.waiting.keys():
            self.waiting[agent_id].due = self.now + self.waiting[agent_id].interval
        return shown

    def response(self, read: Read) -> set[str]:
        """Give the scheduler the response; return the agents that it shows."""
        if read.page is None:
            (agent_id,) = read.agent_ids
            self.scheduler.on_agent(agent_id, self.agents[int(agent_id.removeprefix("agent_"))])
            shown = {agent_id}
        else:
            page = self.page(read)
            self.scheduler.on_page(read, page)
            shown = {agent.id for agent in page}
        return shown

    def go_on(self, seconds: float, *, gets: bool = True, pages: bool = True) -> list[Read]:
        """Let time pass with a permit for a page each 0.6 s and two for Gets; return what was read."""
        before, end = len(self.read), self.now + seconds
        while self.now < end:
            if gets:
                for _ in range(2):
                    if by_id := self.next()[0]:
                        self.carry_out(by_id)
            if pages and (page := self.next()[1]):
                self.carry_out(page)
            self.now += 0.6
        return self.read[before:]


def pages(reads: list[Read]) -> list[tuple[str | None, int]]:
    return [(read.status, read.offset) for read in reads if read.page is not None]


def gets(reads: list[Read]) -> set[str]:
    return {agent_id for read in reads if read.page is None for agent_id in read.agent_ids}


@pytest.mark.parametrize(
    ("waits", "interval", "by_id"),
    [
        pytest.param(10, 5.0, True, id="ten"),
        pytest.param(13, 5.0, False, id="more than Gets are enough for"),
        pytest.param(130, 60.0, True, id="many without a hurry"),
        pytest.param(1000, 60.0, False, id="a thousand without a hurry"),
    ],
)
def test_few_waits_use_gets(waits, interval, by_id):
    project = Project()
    project.wait_for(*range(waits), interval=interval)
    get, page = project.next()
    assert (get is not None, page is not None) == (by_id, not by_id)


def test_a_thousand_waits_read_ten_pages_in_turns():
    project = Project()
    project.wait_for(*range(1000))
    offsets = pages(project.go_on(18))
    assert offsets == [(None, offset) for offset in range(0, 1000, PAGE)] * 3
    assert gets(project.read) == set()


def test_waits_that_begin_later_cost_no_page():
    project = Project()
    project.wait_for(*range(0, 1000, 2))
    project.go_on(3)
    project.wait_for(*range(1, 1000, 2))
    assert len(pages(project.go_on(27))) == 45
    counts = [sum(read.offset == offset for read in project.read) for offset in range(0, 1000, PAGE)]
    assert max(counts) - min(counts) <= 2


def test_nothing_is_read_before_it_is_due():
    project = Project()
    project.wait_for(*range(200))
    reads = project.go_on(60)
    assert len(pages(reads)) <= 2 * (60 / 5 + 1)
    project = Project()
    project.wait_for(*range(200), interval=30.0)
    assert len(pages(project.go_on(60))) <= 2 * (60 / 30 + 1)


def test_a_page_with_more_overdue_agents_goes_first():
    project = Project()
    project.wait_for(*range(50), *range(100, 200))
    project.go_on(3)
    project.now = 10.0
    assert project.next()[1].offset == 100


def test_only_pages_with_waited_agents_are_read():
    project = Project(dict.fromkeys(range(5000), "creating"))
    project.wait_for(*range(2050, 2200))
    project.go_on(60)
    assert {offset for _, offset in pages(project.go_on(60))} == {2000, 2100}


def test_a_missing_agent_is_read_by_id():
    project = Project()
    project.wait_for(*range(500))
    project.go_on(10)
    del project.agents[250]
    project.agents[250] = "running"  # it stands at the end now, where no page is read
    assert gets(project.go_on(12)) == {"agent_250"}


def test_an_agent_moved_to_another_page_is_found():
    project = Project()
    project.wait_for(*range(300, 600))
    project.go_on(10)
    for number in range(300):
        del project.agents[number]
    reads = project.go_on(10)
    assert len(gets(reads)) < 40, "pages show a hundred at a time"
    assert {offset for _, offset in pages(project.go_on(10))} == {0, 100, 200}


def sparse(total, every, status="creating"):
    """Make a project in which each so-many-th agent is being created."""
    return {n: "running" if n % every else status for n in range(total)}


def test_a_large_project_is_read_by_status():
    project = Project(sparse(30_000, 50))
    project.wait_for(*range(0, 30_000, 50))
    project.go_on(20)
    reads = project.go_on(20)
    assert {status for status, _ in pages(reads)} == {"creating"}
    assert {offset for _, offset in pages(reads)} == set(range(0, 600, 95))
    assert len(gets(reads)) < 20


@pytest.mark.parametrize("status", ["creating", "hibernating"])
def test_an_agent_missing_in_its_listing_is_read(status):
    project = Project(sparse(20_000, 50, status))
    project.wait_for(*range(0, 20_000, 50))
    project.go_on(60)
    project.agents[5000] = "running"
    reads = project.go_on(5)
    assert "agent_5000" in gets(reads)
    assert len(gets(reads)) < 10


def test_many_changed_agents_are_found_on_pages():
    project = Project(sparse(3000, 10))
    project.wait_for(*range(0, 3000, 10))
    project.go_on(30)
    project.agents = dict.fromkeys(range(3000), "running")
    reads = project.go_on(24)
    assert len(gets(reads)) < 100, "there are three hundred"
    assert Bucket.GET not in project.scheduler.next_reads(project.now, GET_RATE)


def test_a_dense_project_is_not_read_by_status():
    project = Project({n: "creating" if n % 2 else "running" for n in range(1000)})
    project.wait_for(*range(1, 1000, 2))
    assert {status for status, _ in pages(project.go_on(30))} == {None}


def test_scattered_agents_are_read_by_id():
    project = Project(dict.fromkeys(range(50_000), "running"))
    project.wait_for(*range(0, 50_000, 2000))
    project.go_on(20)
    reads = project.go_on(30)
    # A page that is read anyway may show one of them.
    assert len(gets(reads)) >= 24


def test_no_agent_is_passed_over_for_fuller_pages():
    project = Project(dict.fromkeys(range(1001), "creating"))
    project.wait_for(*range(1001))
    project.go_on(12)
    longest = 0.0
    for _ in range(100):
        project.go_on(0.6)
        longest = max(longest, *(project.now - each.due for each in project.waiting.values()))
    assert longest < 6.0, "a page with one of them is overdue the least in sum"


def test_agents_without_a_listing_are_read_by_id():
    project = Project()
    project.wait_for(*range(100))
    project.scheduler.avoid(project.next()[1], project.now, 300)
    assert project.next()[1] is None
    reads = project.go_on(60)
    assert pages(reads) == []
    assert gets(reads) == project.waiting.keys()
    project.now += 300
    assert project.next()[1] is not None, "it is tried again"


def test_a_refused_status_filter_lists_all_agents():
    project = Project(sparse(5000, 25))
    project.wait_for(*range(0, 5000, 25))
    project.carry_out(project.next()[1])
    read = project.next()[1]
    assert read.status is not None
    project.scheduler.avoid(read, project.now, 300)
    assert {status for status, _ in pages(project.go_on(60))} == {None}


class Uncounted(Project):
    """Say that more follows, but not how much."""

    has_total = False


def test_a_listing_of_unknown_length_is_given_up():
    project = Uncounted(dict.fromkeys(range(20_000), "running"))
    project.wait_for(*range(19_950, 20_000))
    project.go_on(90)
    assert len(pages(project.read)) < 100, "there are two hundred"
    assert gets(project.go_on(30)) == project.waiting.keys()


class Repeated(Project):
    """Take no notice of the offset."""

    def page(self, read: Read) -> AgentPage:
        whole = super().page(Read(read.agent_ids, 0, read.status))
        whole.pagination.has_more = True
        return whole


def test_an_ignored_offset_ends_the_listing():
    project = Repeated(dict.fromkeys(range(2000), "running"))
    project.wait_for(*range(150))
    project.go_on(30)
    assert gets(project.go_on(60)) >= {f"agent_{n}" for n in range(100, 150)}


class SmallPages(Project):
    size = 20


def test_the_services_own_page_size_is_kept():
    project = SmallPages(dict.fromkeys(range(100), "creating"))
    project.wait_for(*range(100))
    project.go_on(4)
    assert {offset for _, offset in pages(project.go_on(12))} == {0, 20, 40, 60, 80}


class Unreadable(Project):
    """Give entries that cannot be read among the others."""

    def entries(self, numbers: list[int]) -> list[dict[str, object]]:
        return [
            each if n % 3 else {"id": None} for n, each in zip(numbers, super().entries(numbers), strict=True)
        ]


def test_entries_that_cannot_be_read_shift_no_page():
    project = Unreadable(dict.fromkeys(range(500), "creating"))
    project.wait_for(*(n for n in range(500) if n % 3))
    assert {offset for _, offset in pages(project.go_on(30))} == set(range(0, 500, PAGE))
    assert gets(project.read) == set()


def test_nothing_is_read_twice_at_a_time():
    project = Project()
    project.wait_for(*range(1000))
    project.go_on(6)
    project.now = 12.0
    with ExitStack() as requests:
        for _ in range(10):
            project.read.append(project.next()[1])
            requests.enter_context(project.scheduler.in_flight(project.read[-1]))
        assert project.next() == (None, None)
    assert len(set(pages(project.read[-10:]))) == 10
    assert project.next() != (None, None)


def test_an_ended_subscription_causes_no_reads():
    project = Project(dict.fromkeys(range(300), "creating"))
    project.wait_for(*range(300))
    project.go_on(6)
    project.leave(*range(150, 300))
    project.now += 5
    assert {offset for _, offset in pages(project.go_on(20))} == {0, 100}


def test_a_page_error_reaches_its_subscribers():
    project = Project(dict.fromkeys(range(200), "creating"))
    project.wait_for(*range(200))
    first = project.next()[1]
    assert project.scheduler.may_be_on(first) == project.waiting.keys()
    project.go_on(6)
    project.now += 5
    read = project.next()[1]
    assert project.scheduler.may_be_on(read) == {f"agent_{n}" for n in range(100)}
