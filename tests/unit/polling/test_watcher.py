"""Many waits in one event loop: few requests, and each wait for itself."""

from __future__ import annotations

import asyncio
import contextvars

import httpx
import pytest
from received import received_calls

from connix_provider.client.ratelimit import Bucket
from connix_provider.emulator import Fault
from connix_provider.hooks.connix import ConnixHook


def counted(emulator, since, until):
    """Count the requests of a time; before and after it waits come and go."""
    return sum(since < entry.at.timestamp() < until for entry in emulator.journal.entries())


async def together(wait, agent_ids, **arguments):
    return await asyncio.gather(*(wait(agent_id, **arguments) for agent_id in agent_ids))


async def test_few_agents_are_read_by_id(emulator, wait):
    emulator.seed(990, status="creating")
    agent_ids = emulator.seed(10, status="creating")
    for agent_id in agent_ids:
        emulator.script(agent_id, [(18, "running")])
    events = await together(wait, agent_ids)
    assert {event["outcome"] for event in events} == {"done"}
    assert received_calls(emulator) == ["get_agent"] * 10 * 5


async def test_many_share_the_listing(emulator, wait):
    agent_ids = emulator.seed(500, status="creating")
    for number, agent_id in enumerate(agent_ids):
        emulator.script(agent_id, [(1 + number % 40, "running" if number % 10 else "error")])
    events = await together(wait, agent_ids)
    assert [event["outcome"] for event in events] == ["done" if n % 10 else "failed" for n in range(500)]
    # Five pages each five seconds, for some forty of them; the last few agents are read by id.
    assert len(emulator.journal.entries("list_agents")) <= 5 * 12
    assert len(emulator.journal.entries("get_agent")) <= 30


@pytest.mark.heavy
async def test_only_pages_with_waited_agents_are_read(emulator, wait, warp):
    began = warp.time()
    emulator.seed(2000, status="creating")
    agent_ids = emulator.seed(150, status="creating")
    emulator.seed(2000, status="creating")
    events = await together(
        wait, agent_ids, deadline=None, poll_interval=60, target_statuses="creating", stable_for=600
    )
    assert {event["outcome"] for event in events} == {"done"}
    # The first two minutes find the places. From then on two or three of the 42 pages show all agents.
    assert counted(emulator, began + 130, began + 570) <= 8 * 3


def _scattered(emulator, count, among):
    """Put agents that are being created into a project, each behind so many others that run."""
    found = []
    for _ in range(count):
        emulator.seed(among, status="running")
        found += emulator.seed(1, status="creating")
    return found


@pytest.mark.heavy
async def test_a_large_project_is_read_by_status(emulator, wait, warp):
    agent_ids = _scattered(emulator, 300, among=9)
    began = warp.time()
    for number, agent_id in enumerate(agent_ids):
        emulator.script(agent_id, [(120 + number % 60, "running")])
    events = await together(wait, agent_ids)
    assert {event["outcome"] for event in events} == {"done"}
    # Three of its 30 pages, or four that overlap, are of that status, and are read each five seconds.
    assert counted(emulator, began + 30, began + 115) <= 4 * 18
    told = {entry.agent_id for entry in emulator.journal.entries("get_agent")}
    assert told <= set(agent_ids)


@pytest.mark.heavy
async def test_a_large_project_is_not_read_whole(emulator, wait, warp):
    # Reading all of it takes two minutes, asking for each a minute and a half.
    agent_ids = _scattered(emulator, 300, among=66)
    began, told = warp.time(), []

    async def note(agent_id):
        # All of them are there before the first look.
        event = await wait(agent_id, deadline=began + 60, first_poll_at=began + 2)
        if event["outcome"] == "done":
            told.append(warp.time() - began)

    for agent_id in agent_ids[::60]:
        emulator.script(agent_id, [(15, "running")])
    await asyncio.gather(*map(note, agent_ids))
    assert len(told) == 5
    assert max(told) < 15 + 12


@pytest.mark.heavy
async def test_many_that_change_together_are_found_on_pages(emulator, wait, warp, asked):
    agent_ids = _scattered(emulator, 300, among=9)
    waiting = [asyncio.create_task(wait(agent_id)) for agent_id in agent_ids]
    await asked(60)
    changed, so_far = warp.time(), len(emulator.journal.entries())
    for agent_id in agent_ids:
        emulator.set_status(agent_id, "running")
    events = await asyncio.gather(*waiting)
    assert {event["outcome"] for event in events} == {"done"}
    assert warp.time() - changed < 60, "three hundred Gets take a minute and a half"
    assert len(emulator.journal.entries()) - so_far < 120


@pytest.mark.heavy
async def test_without_status_filter_the_whole_listing_is_read(emulator, wait, warp):
    agent_ids = _scattered(emulator, 100, among=40)
    for agent_id in agent_ids:
        emulator.script(agent_id, [(300, "running")])
    # All pages are read once to see where the agents stand, then one of their status.
    emulator.faults.add(Fault.status(400), on="list_agents", after=41, times=1)
    events = await together(wait, agent_ids)
    assert {event["outcome"] for event in events} == {"done"}
    listed = [entry.status for entry in emulator.journal.entries("list_agents")]
    assert (listed.index(400), listed.count(400)) == (41, 1)
    assert len(listed) > 80, "it was not listed any more"


async def test_many_deleted_in_front_cost_few_gets(emulator, wait, asked):
    others = emulator.seed(300, status="creating")
    agent_ids = emulator.seed(300, status="creating")
    waiting = [asyncio.create_task(wait(agent_id)) for agent_id in agent_ids]
    await asked(12)
    for agent_id in others:
        emulator.remove(agent_id)
    await asked(len(emulator.journal.entries()) + 12)
    assert len(emulator.journal.entries("get_agent")) < 60
    for agent_id in agent_ids:
        emulator.set_status(agent_id, "running")
    assert {event["outcome"] for event in await asyncio.gather(*waiting)} == {"done"}


@pytest.mark.heavy
async def test_one_more_wait_costs_no_request(emulator, wait, warp):
    agent_ids = emulator.seed(300, status="creating")
    counts = []
    for waits in (299, 300):
        began = warp.time()
        await together(wait, agent_ids[:waits], deadline=began + 57)
        counts.append(counted(emulator, began + 12, began + 52))
    assert counts == [8 * 3, 8 * 3]


@pytest.mark.heavy
async def test_a_new_wait_shares_the_others_polls(emulator, wait, warp, asked):
    agent_ids = emulator.seed(300, status="creating")
    deadline = warp.time() + 60
    waiting = [asyncio.create_task(wait(agent_id, deadline=deadline)) for agent_id in agent_ids[1:]]
    await asked(12)
    emulator.set_status(agent_ids[0], "running")
    assert (await wait(agent_ids[0], deadline=deadline))["outcome"] == "done"
    assert {event["outcome"] for event in await asyncio.gather(*waiting)} == {"timeout"}
    # Where a newcomer stands in the listing is not known yet.
    assert {entry.agent_id for entry in emulator.journal.entries("get_agent")} <= {agent_ids[0]}


async def test_a_wait_that_leaves_disturbs_no_other(emulator, wait, asked):
    agent_ids = emulator.seed(60, status="creating")
    for agent_id in agent_ids:
        emulator.script(agent_id, [(30, "running")])
    waiting = [asyncio.create_task(wait(agent_id)) for agent_id in agent_ids]
    await asked(1)
    for task in waiting[::2]:
        task.cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended[::2])
    assert {end["outcome"] for end in ended[1::2]} == {"done"}


async def test_agents_missing_from_listings_are_read_by_id(emulator, wait, asked):
    agent_ids = emulator.seed(250, status="creating")
    for number, agent_id in enumerate(agent_ids):
        emulator.script(agent_id, [(12, "running")] if number % 25 else [])
    waiting = [asyncio.create_task(wait(agent_id)) for agent_id in agent_ids]
    await asked(3)
    for agent_id in agent_ids[::25]:
        emulator.remove(agent_id)
    events = await asyncio.gather(*waiting)
    assert [event["outcome"] for event in events] == ["done" if n % 25 else "gone" for n in range(250)]
    asked = {entry.agent_id for entry in emulator.journal.entries("get_agent")}
    # The agents behind a deleted one have moved forward; few of them were missed by that.
    assert set(agent_ids[::25]) <= asked
    assert len(asked) < 30


async def test_many_deletes_are_noticed(emulator, wait, asked):
    agent_ids = emulator.seed(150, status="running")
    waiting = [asyncio.create_task(wait(agent_id, goal="delete")) for agent_id in agent_ids]
    await asked(2)
    for agent_id in agent_ids:
        emulator.remove(agent_id)
    assert {event["outcome"] for event in await asyncio.gather(*waiting)} == {"done"}


@pytest.mark.heavy
async def test_a_restart_is_noticed_by_updated_at(emulator, wait):
    agent_ids = emulator.seed(200, status="running")
    before = {agent_id: emulator.agent(agent_id)["updated_at"] for agent_id in agent_ids}
    emulator.clock.advance(10)
    for number, agent_id in enumerate(agent_ids):
        emulator.script(agent_id, [(20, "stopped"), (4, "running")] if number % 2 else [])
    events = await asyncio.gather(
        *(
            wait(
                agent_id,
                goal="restart",
                poll_state={
                    "before": {"status": "running", "updated_at": before[agent_id]},
                    "accepted_at": emulator.clock.timestamp(),
                },
            )
            for agent_id in agent_ids
        )
    )
    assert [event["outcome"] for event in events] == ["done" if n % 2 else "timeout" for n in range(200)]


@pytest.mark.heavy
@pytest.mark.parametrize(
    "fault", [Fault.status(503), Fault.reset_after(), Fault.bad_json(), Fault.rate_limited()]
)
async def test_failed_listings_are_retried_at_the_interval(fault, emulator, wait, warp):
    agent_ids = emulator.seed(150, status="creating")
    emulator.faults.add(fault, on="list_agents", times=5)
    for agent_id in agent_ids:
        emulator.script(agent_id, [(15, "running")])
    began = warp.time()
    events = await together(wait, agent_ids)
    assert {event["outcome"] for event in events} == {"done"}
    assert len(emulator.journal.entries("list_agents")) <= 5 + 2 * (1 + (warp.time() - began) / 5)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "fault", [Fault.status(500), Fault.html_502(), Fault.bad_json(), Fault.rate_limited(60)]
)
async def test_a_listing_that_fails_for_good_is_replaced(fault, emulator, wait):
    agent_ids = emulator.seed(60, status="creating")
    emulator.faults.add(fault, on="list_agents", times=None)
    for agent_id in agent_ids:
        emulator.script(agent_id, [(30, "running")])
    assert {event["outcome"] for event in await together(wait, agent_ids)} == {"done"}
    assert emulator.journal.executed("get_agent")


@pytest.mark.parametrize("status", [403, 404])
async def test_a_refused_listing_reads_agents_by_id(status, emulator, wait):
    agent_ids = emulator.seed(60, status="creating")
    emulator.faults.add(Fault.status(status), on="list_agents", times=None)
    for agent_id in agent_ids:
        emulator.script(agent_id, [(30, "running")])
    assert {event["outcome"] for event in await together(wait, agent_ids)} == {"done"}
    assert len(emulator.journal.entries("list_agents")) == 1


async def test_a_failed_agent_ends_no_other_wait(emulator, wait, connection):
    connection(extra={"timeout": 0.1})
    agent_ids = emulator.seed(8, status="creating")
    for agent_id in agent_ids:
        emulator.script(agent_id, [(30, "running")])
    emulator.faults.add(Fault.status(403), on="get_agent", agent_id=agent_ids[3], times=None)
    emulator.faults.add(Fault.hang(), on="get_agent", agent_id=agent_ids[4], times=1)
    events = await together(wait, agent_ids)
    assert [event["outcome"] for event in events] == ["done"] * 3 + ["refused"] + ["done"] * 4


async def test_waits_for_one_agent_share_its_polls(emulator, wait):
    (agent_id,) = emulator.seed(status="creating")
    emulator.script(agent_id, [(18, "running")])
    assert {event["outcome"] for event in await together(wait, [agent_id] * 50)} == {"done"}
    # The first may have looked before the last had come.
    assert 5 <= len(received_calls(emulator)) <= 10


async def test_nothing_is_left_running(emulator, wait):
    agent_ids = emulator.seed(150, status="running")
    await together(wait, agent_ids)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_requests_run_in_an_empty_context(emulator, wait, monkeypatch):
    owner = contextvars.ContextVar("owner", default="nobody")
    seen = set()
    send = httpx.AsyncHTTPTransport.handle_async_request

    def spy(*args, **kwargs):
        seen.add(owner.get())
        return send(*args, **kwargs)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", spy)
    owner.set("the first task")
    await together(wait, emulator.seed(40))
    assert seen == {"nobody"}


async def test_polls_leave_the_reserve_to_actions(emulator, wait, warp):
    (agent_id,) = emulator.seed()
    with ConnixHook().get_conn() as client, client.limiter.permit(Bucket.GET) as permit:
        assert permit.try_acquire() == 0
        permit.on_response({"x-ratelimit-limit": "200", "x-ratelimit-remaining": "10"})
    assert (await wait(agent_id, deadline=warp.time() + 20))["outcome"] == "timeout"
    assert not emulator.journal.entries()


async def test_no_read_follows_the_deadline(emulator, wait, warp):
    hurried, patient = emulator.seed(2, status="creating")
    # The refusal of one keeps both away, for longer than the other has time.
    emulator.faults.add(Fault.rate_limited(retry_after=40), on="get_agent", agent_id=patient)
    emulator.script(patient, [(60, "running")])
    began = warp.time()

    async def hurry():
        return await wait(hurried, first_poll_at=began + 5, deadline=began + 20), warp.time()

    (timeout, at), done = await asyncio.gather(hurry(), wait(patient, deadline=began + 600))
    assert (timeout["outcome"], done["outcome"]) == ("timeout", "done")
    assert at - began <= 21
    assert not [entry for entry in emulator.journal.entries() if entry.agent_id == hurried]
