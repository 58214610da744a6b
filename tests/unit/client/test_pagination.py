"""Listings that are read page by page while they shift."""

import json
import math
import re
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connix_provider.client import ConnixNotFoundError, ConnixResponseError, ConnixServerError
from connix_provider.client.endpoints import get_logs, list_agents
from connix_provider.client.models import AgentPage, LogPage, Pagination
from connix_provider.client.pagination import AgentPaginator, LogPaginator
from connix_provider.emulator import Fault


def agent_page(ids, offset, limit, total=True):
    part = ids[offset : offset + limit]
    return AgentPage.model_validate(
        {
            "agents": [{"id": str(one), "status": "running"} for one in part],
            "pagination": {"has_more": offset + limit < len(ids)} | ({"total": len(ids)} if total else {}),
        }
    )


def read_agents(listing, limit, change=lambda step: None, offset=0):
    pages = AgentPaginator(partial(list_agents, "p", limit=limit), offset)
    given_out = []
    step = 0
    while pages.next_call is not None:
        assert step < 5_000, "the listing makes no progress"
        at = int(pages.next_call.query.rpartition("=")[2])
        given_out += [int(agent.id) for agent in pages.take(agent_page(listing, at, limit))]
        change(step)
        step += 1
    return given_out, step


CHANGES = st.lists(st.tuples(st.booleans(), st.integers(0, 1_000)), max_size=25)


# A short last page is no page of one item: it must overlap, too.
@example(25, 12, [[], [(False, 0), (False, 0)]], False, 0)
@settings(max_examples=60)
@given(
    st.integers(0, 40),
    st.integers(1, 12),
    st.lists(CHANGES, max_size=25),
    st.booleans(),
    st.sampled_from([0, 3]),
)
def test_agents_that_stay_are_yielded_once(size, limit, changes, descending, offset):
    # Ids are the places in the order, as times of creation or names are: who comes later may come anywhere.
    listing = [1_000 * n for n in range(size)]
    throughout = set(listing[offset:])

    def change(step):
        # A page of one cannot overlap the one before it: what changes between the two reads cannot be seen.
        for insert, where in changes[step] if limit > 1 and step < len(changes) else ():
            if insert and where not in listing:
                listing.append(where * 37 + 1)
            elif not insert and len(listing) > offset:
                gone = listing.pop(offset + where % (len(listing) - offset))
                throughout.discard(gone)
        listing[:] = sorted(set(listing), reverse=descending)

    listing.sort(reverse=descending)
    throughout = set(listing[offset:])
    given_out, _ = read_agents(listing, limit, change, offset)
    assert len(given_out) == len(set(given_out))
    if not offset:
        assert throughout <= set(given_out)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7])
def test_an_unchanged_listing_is_yielded_in_order(size, limit):
    given_out, requests = read_agents(list(range(size)), limit)
    assert given_out == list(range(size))
    assert requests <= 3 * size + 1


@pytest.mark.parametrize(("size", "limit"), [(500, 100), (1_000, 50), (7, 3)])
def test_pages_that_overlap_spare_the_steps_back(size, limit):
    given_out, requests = read_agents(list(range(size)), limit)
    assert given_out == list(range(size))
    # Each page but the first brings one agent less than it holds, and none is read twice.
    assert requests == 1 + math.ceil((size - limit) / (limit - 1))


def test_hundreds_deleted_in_front_hide_no_agent():
    listing = list(range(1_000))
    gone = iter([list(range(90)), list(range(90, 180)), [*range(180, 270), 271]])

    def change(step):
        for one in next(gone, ()):
            listing.remove(one)

    given_out, requests = read_agents(listing, 100, change)
    assert set(listing) <= set(given_out)
    assert len(given_out) == len(set(given_out))
    assert requests < 40


def test_deleting_almost_all_ends_the_listing_soon():
    listing = list(range(500))

    def change(step):
        listing[:] = listing[-5:]

    given_out, requests = read_agents(listing, 100, change)
    assert given_out == [*range(100), *range(495, 500)]
    assert requests < 12


def test_a_doubled_agent_is_listed_once():
    pages = AgentPaginator(partial(list_agents, "p"))
    assert [agent.id for agent in pages.take(agent_page([1, 2, 1], 0, 9))] == ["1", "2"]


@pytest.mark.parametrize(("size", "pages"), [(1, 1001), (2, 501), (20, 51), (100, 11)])
@pytest.mark.parametrize("total", [None, 5])
@pytest.mark.parametrize("kind", [AgentPaginator, LogPaginator])
def test_a_listing_without_progress_is_an_error(kind, total, size, pages):
    page = (agent_page if kind is AgentPaginator else log_page)(list(range(size)), 0, size)
    page = page.model_copy(update={"pagination": Pagination(has_more=True, total=total)})
    paginator = kind(partial(get_logs, "p", "a"))
    given = paginator.take(page)
    # Entries of a log may look alike, so as many as the service counts are given.
    while kind is LogPaginator and total and len(given) < total:
        given += paginator.take(page)
    for _ in range(pages - 1):
        paginator.take(page)
        assert paginator.next_call
    with pytest.raises(ConnixResponseError, match=f"{pages} pages in a row .* the listing makes no progress"):
        paginator.take(page)


# Services that say less of their pages than the reference does


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
@pytest.mark.parametrize("size", [0, 1, 2, 7, 23])
@pytest.mark.parametrize("told", ["total", "nothing", "no pagination", "garbage"])
async def test_all_pages_are_read_without_pagination_fields(
    driver, raw_server, http_response, limit, size, told
):
    paging = {"total": {"total": size}, "nothing": {}, "garbage": {"has_more": "perhaps", "total": []}}

    def behave(connection, request):
        asked = dict(re.findall(rb"(limit|offset)=(\d+)", request.split(b"\r\n")[0]))
        at = int(asked[b"offset"])
        part = [{"id": f"a{n}", "status": "running"} for n in range(size)][at : at + int(asked[b"limit"])]
        lines = [{"message": entry["id"]} for entry in part]
        page = {"agents": part, "logs": lines}
        connection.sendall(http_response(page | ({"pagination": paging[told]} if told in paging else {})))

    client = driver.open("cx_" + 32 * "0", raw_server(behave).url)
    agents = await driver.collect(client, "iter", "p", limit=limit)
    assert [agent.id for agent in agents] == [f"a{n}" for n in range(size)]
    lines = await driver.collect(client, "iter_logs", "p", "a", limit=limit)
    assert [line.message for line in lines] == [f"a{n}" for n in range(size)]


@pytest.mark.parametrize(
    ("size", "paging", "asked", "has_more"),
    [
        (3, {}, {"limit": 3}, True),
        (2, {}, {"limit": 3}, False),
        (3, {"limit": 3}, {"limit": 100}, True),
        (20, None, {}, True),
        # A service that has no pages gives all there is.
        (30, None, {"limit": 20}, False),
        (3, {"total": 9}, {"limit": 3, "offset": 3}, True),
        (3, {"total": 9}, {"limit": 3, "offset": 6}, False),
        (3, {"total": 9, "has_more": False}, {"limit": 3}, False),
        (3, {"has_more": None}, {"limit": 3}, True),
        (0, {}, {"limit": 3}, False),
    ],
)
def test_whether_more_follows_is_worked_out(size, paging, asked, has_more):
    agents = [{"id": str(n), "status": "running"} for n in range(size)]
    body = json.dumps({"agents": agents, "pagination": paging}).encode()
    page = list_agents("p", **asked).read(body)
    assert page.pagination.has_more is has_more


def test_a_service_without_pages_is_asked_twice():
    agents = AgentPaginator(partial(list_agents, "p", limit=2))
    logs = LogPaginator(partial(get_logs, "p", "a", limit=2))
    body = b'{"agents": [{"id": "1", "status": "running"}], "logs": [{"message": "one"}]}'
    for pages, page in (
        (agents, list_agents("p", limit=2).read(body)),
        (logs, get_logs("p", "a", limit=2).read(body)),
    ):
        assert [len(pages.take(page)), pages.next_call is None] == [1, False]
        assert [len(pages.take(page)), pages.next_call is None] == [0, True]


def test_unreadable_entries_hide_no_agent_behind_them():
    entries = [{"id": f"a{n}", "status": "running"} if n % 7 < 2 else {"id": n} for n in range(40)]
    pages = AgentPaginator(partial(list_agents, "p", limit=3))
    given_out, requests = [], 0
    while (call := pages.next_call) is not None:
        at = int(call.query.rpartition("=")[2])
        body = {"agents": entries[at : at + 3], "pagination": {"has_more": at + 3 < 40}}
        given_out += [agent.id for agent in pages.take(call.read(json.dumps(body).encode()))]
        requests += 1
    assert given_out == [f"a{n}" for n in range(40) if n % 7 < 2]
    assert requests < 30


@pytest.mark.parametrize("agents", [[], None])
@pytest.mark.parametrize(
    ("pagination", "is_complete"),
    [
        (None, True),
        ({"total": 0, "has_more": False}, True),
        ({"total": 0}, True),
        ({"has_more": True}, False),
        ({"total": 3}, False),
        ({"total": 3, "has_more": True}, False),
        ({"total": 3, "has_more": False}, False),
    ],
)
def test_an_empty_page_of_more_agents_is_refused(pagination, is_complete, agents):
    pages = AgentPaginator(partial(list_agents, "p"))
    page = pages.next_call.read(json.dumps({"agents": agents, "pagination": pagination}).encode())
    if is_complete:
        assert pages.take(page) == []
        assert pages.next_call is None
    else:
        with pytest.raises(ConnixResponseError, match="the listing is incomplete"):
            pages.take(page)


def test_agents_gone_during_a_listing_end_it():
    pages = AgentPaginator(partial(list_agents, "p", limit=3))
    agents = [{"id": f"a{n}", "status": "running"} for n in range(3)]
    full = {"agents": agents, "pagination": {"total": 6, "has_more": True}}
    assert len(pages.take(pages.next_call.read(json.dumps(full).encode()))) == 3
    assert pages.take(pages.next_call.read(b'{"agents": [], "pagination": {"total": 2}}')) == []
    # Agents may have moved up, so the paginator steps back.
    assert pages.take(pages.next_call.read(json.dumps(full | {"pagination": {"total": 2}}).encode())) == []
    assert pages.next_call is None


@pytest.mark.parametrize("entry", [None, "text", {"name": "a"}, {"id": "a", "status": None}])
def test_an_entry_left_out_makes_a_listing_incomplete(entry):
    pages = AgentPaginator(partial(list_agents, "p"))
    page = pages.next_call.read(json.dumps({"agents": [entry, {"id": "b", "status": "running"}]}).encode())
    assert [agent.id for agent in pages.take(page)] == ["b"]
    with pytest.raises(ConnixResponseError, match="The listing has agents that cannot be read"):
        pages.check_complete()


# Logs: newest first, no ids


def log_page(lines, offset, limit, total=True):
    part = lines[offset : offset + limit]
    return LogPage.model_validate(
        {
            "logs": [
                {"timestamp": "2024-01-15T10:00:00Z", "message": str(one), "context": {"n": [one]}}
                for one in part
            ],
            "pagination": {"has_more": offset + limit < len(lines)}
            | ({"total": len(lines)} if total else {}),
        }
    )


def read_log(log, limit, grow, total):
    pages = LogPaginator(partial(get_logs, "p", "a", limit=limit))
    given_out = []
    step = 0
    while (call := pages.next_call) is not None:
        assert step < 5_000, "the log does not end"
        at = int(call.query.rpartition("=")[2])
        given_out += [int(entry.message) for entry in pages.take(log_page(log, at, limit, total))]
        grow(step)
        step += 1
    return given_out


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 12), st.booleans())
def test_equal_entries_are_all_returned(lines, limit, total):
    # As the times of entries are: those that look alike stand together.
    lines = sorted(lines, reverse=True)
    assert read_log(lines, limit, lambda step: None, total) == lines


@given(st.integers(0, 200), st.integers(2, 12), st.lists(st.integers(0, 30), max_size=6), st.booleans())
def test_no_entry_is_lost_while_a_log_grows(size, limit, news, total):
    log = list(range(size, 0, -1))
    newest = iter(range(size + 1, 10_000))

    def grow(step):
        for _ in range(news[step] if step < len(news) else 0):
            log.insert(0, next(newest))

    given_out = read_log(log, limit, grow, total)
    assert set(range(1, size + 1)) <= set(given_out)
    assert len(given_out) <= size + sum(news) + limit


# Over the service itself


async def step_through(driver, collect, each):
    seen = []
    if driver.is_async:
        async for item in collect:
            seen.append(item)
            each(len(seen))
    else:
        for item in collect:
            seen.append(item)
            each(len(seen))
    return seen


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "name", "-name", None])
async def test_iter_while_agents_come_and_go(driver, emulator, project, sort):
    ids = emulator.seed(60, project_id=project)
    doomed = ids[:40:2]
    collect = driver.to(emulator).agents.iter(project, sort=sort, limit=7)

    def each(seen):
        if seen % 5 == 0:
            if doomed:
                emulator.remove(doomed.pop())
            emulator.seed(1, name=f"late-{seen}-{{n}}", project_id=project)

    seen = [agent.id for agent in await step_through(driver, collect, each)]
    assert len(seen) == len(set(seen))
    stayed = [agent_id for agent_id in ids if agent_id not in ids[:40:2]]
    assert set(stayed) <= set(seen)


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_iter_passes_its_filter_on(driver, emulator, project, limit):
    emulator.seed(4, "running", "run-{n}", project)
    emulator.seed(3, "stopped", "stop-{n}", project)
    client = driver.to(emulator)
    agents = await driver.collect(client, "iter", project, status="stopped", sort="-name", limit=limit)
    assert [agent.name for agent in agents] == ["stop-3", "stop-2", "stop-1"]
    agents = await driver.collect(client, "iter", project, sort="name", limit=limit, offset=5)
    assert [agent.name for agent in agents] == ["stop-2", "stop-3"]


async def test_iter_logs_while_lines_come_in(driver, emulator, project):
    (agent_id,) = emulator.seed(1, "stopped", project_id=project)
    emulator.add_logs(agent_id, 50, "error")
    collect = driver.to(emulator).agents.iter_logs(project, agent_id, level="error", limit=8)

    def each(seen):
        if seen % 10 == 0:
            emulator.clock.advance(1)
            emulator.add_logs(agent_id, 3, "error")

    seen = await step_through(driver, collect, each)
    first = dict.fromkeys((entry.message, entry.context["of"]) for entry in seen)
    assert list(first) == [(f"Line {n}", 50) for n in range(50, 0, -1)]


async def test_iter_logs_passes_its_filter_on(driver, emulator, project):
    (agent_id,) = emulator.seed(1, "stopped", project_id=project)
    emulator.add_logs(agent_id, 5, "warn")
    emulator.add_logs(agent_id, 2, "error")
    client, now = driver.to(emulator), emulator.clock.now()
    bounds = {"start_time": now, "end_time": now}
    lines = await driver.collect(
        client, "iter_logs", project, agent_id, level="warn", limit=2, offset=1, **bounds
    )
    assert [line.message for line in lines] == ["Line 4", "Line 3", "Line 2", "Line 1"]


async def test_shifting_pages_of_one_miss_no_agent(driver, emulator, project):
    ids = emulator.seed(8, project_id=project)
    collect = driver.to(emulator).agents.iter(project, sort="created_at", limit=1)

    def each(seen):
        if seen in {2, 4}:
            emulator.remove(ids[seen - 2])

    seen = [agent.id for agent in await step_through(driver, collect, each)]
    assert set(ids) - {ids[0], ids[2]} <= set(seen)
    assert len(seen) == len(set(seen))


async def test_iter_fails_as_a_call_does(driver, emulator):
    with pytest.raises(ConnixNotFoundError):
        await driver.collect(driver.to(emulator), "iter", "proj_none")


async def test_a_page_is_fetched_once_it_is_wanted(driver, emulator, project):
    emulator.seed(30, project_id=project)
    emulator.faults.add(Fault.status(500), on="list_agents", after=1)
    agents = driver.to(emulator, max_attempts=1).agents.iter(project, limit=10)
    for _ in range(10):
        assert await anext(agents) if driver.is_async else next(agents)
        assert len(emulator.journal.entries()) == 1
    with pytest.raises(ConnixServerError):
        assert await anext(agents) if driver.is_async else next(agents)


async def test_bad_arguments_are_refused_before_the_first_item(driver, emulator, project):
    with pytest.raises(ValueError, match="limit"):
        driver.to(emulator).agents.iter(project, limit=0)
    with pytest.raises(ValueError, match="limit"):
        driver.to(emulator).agents.iter_logs(project, "agent_1", limit=1001)
