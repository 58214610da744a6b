"""The trigger alone: it yields one event, closes its client, and never blocks the loop."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

import pytest

from connix_provider.emulator import Durations, Emulator, Fault
from connix_provider.triggers.agent import ConnixAgentStatusTrigger


async def outcome(trigger):
    events = [event async for event in trigger.run()]
    assert len(events) == 1
    return events[0].payload


def trigger(emulator, agent_id, goal="sensor", **arguments):
    return ConnixAgentStatusTrigger(emulator.project_id, agent_id, goal, **{"poll_interval": 1, **arguments})


async def test_it_tells_of_success(emulator, connection, warp):
    (agent_id,) = emulator.seed(status="creating")
    emulator.script(agent_id, [(3, "running")])
    event = await outcome(trigger(emulator, agent_id))
    assert event == {
        "outcome": "done",
        "agent_id": agent_id,
        "status": "running",
        "message": f"Agent {agent_id}: it is running.",
        "error": None,
    }


@pytest.mark.parametrize(
    ("status", "expected"), [("error", "failed"), ("paused", "timeout"), ("hibernating", "timeout")]
)
async def test_it_tells_of_other_endings(status, expected, emulator, connection, warp):
    (agent_id,) = emulator.seed(status=status)
    event = await outcome(trigger(emulator, agent_id, deadline=warp.time() + 10))
    assert (event["outcome"], event["status"]) == (expected, status)


async def test_without_a_deadline_it_gives_up_after_an_hour(emulator, connection, warp):
    (agent_id,) = emulator.seed(status="paused")
    event = await outcome(trigger(emulator, agent_id, poll_interval=600))
    assert event["outcome"] == "timeout"
    assert warp.slept == pytest.approx(3600, abs=5)


async def test_a_deadline_that_has_passed_sends_nothing(emulator, connection, warp):
    (agent_id,) = emulator.seed()
    event = await outcome(trigger(emulator, agent_id, deadline=time.time() - 1))
    assert event["outcome"] == "timeout"
    assert not emulator.journal.entries()


async def test_it_looks_no_earlier_than_told(emulator, connection, warp):
    (agent_id,) = emulator.seed()
    await outcome(trigger(emulator, agent_id, poll_interval=30, first_look_at=warp.time() + 20))
    assert warp.slept == pytest.approx(20, abs=1)


async def test_it_backs_off_as_the_sensor_was_told(emulator, connection, warp):
    (agent_id,) = emulator.seed(status="creating")
    emulator.script(agent_id, [(60, "running")])
    await outcome(trigger(emulator, agent_id, exponential_backoff=True, max_wait=20))
    looks = [entry.at.timestamp() for entry in emulator.journal.entries("get_agent")]
    assert [round(b - a) for a, b in itertools.pairwise(looks)] == [1, 2, 4, 8, 16, 20, 20]


async def test_a_service_that_asks_to_be_left_alone_is(emulator, connection, warp):
    (agent_id,) = emulator.seed()
    emulator.faults.add(Fault.rate_limited(retry_after=45), on="get_agent", times=2)
    await outcome(trigger(emulator, agent_id))
    # Twice what was asked for, and some jitter on top, so that not everybody comes back at once.
    assert 90 <= warp.slept <= 100


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"password": None}, "there is no Connix API key"), ({"host": "nowhere"}, "the base URL must begin")],
)
async def test_a_connection_that_was_broken_meanwhile_is_told_to_the_task(
    changes, says, emulator, connection, warp
):
    connection(**changes)
    event = await outcome(trigger(emulator, "agent_1"))
    assert event["outcome"] == "refused"
    assert says in event["message"]


async def test_a_connection_that_was_deleted_is_told_to_the_task(emulator, warp, connection):
    event = await outcome(trigger(emulator, "agent_1", connix_conn_id="connix_deleted"))
    assert event["outcome"] == "refused"
    assert "connix_deleted" in event["message"]


async def test_a_cancelled_trigger_closes_its_client(connection):
    with Emulator(durations=Durations()) as emulator:
        connection(host=emulator.url, password=emulator.api_key)
        (agent_id,) = emulator.seed(status="creating")
        emulator.script(agent_id, [])
        emulator.faults.add(Fault.hang(), on="get_agent", after=1)
        waiting = asyncio.create_task(outcome(trigger(emulator, agent_id)))
        while len(emulator.journal.entries("get_agent")) < 1:  # noqa: ASYNC110 - it is another thread's
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    # An open client would raise a ResourceWarning, which is an error in this suite.


def test_its_repr_shows_no_secret(emulator):
    assert emulator.api_key not in repr(trigger(emulator, "agent_1"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"poll_interval": 0}, ["poll_interval", "more than 0"]),
        ({"poll_interval": None}, ["poll_interval", "None"]),
        ({"goal": "stroll"}, ["goal", "'stroll'", "restart"]),
        ({"target_statuses": ["runing"]}, ["target_statuses", "Did you mean 'running'?"]),
    ],
)
async def test_arguments_that_cannot_be_right_are_told_to_the_task(arguments, words, emulator, connection):
    event = await outcome(trigger(emulator, "agent_1", **arguments))
    assert event["outcome"] == "refused"
    assert all(word in event["message"] for word in words), event["message"]
    assert not emulator.journal.entries()


async def test_a_bad_trigger_is_no_others_trouble(emulator, connection, warp):
    (agent_id,) = emulator.seed(status="creating")
    emulator.script(agent_id, [(3, "running")])
    good, bad = await asyncio.gather(
        outcome(trigger(emulator, agent_id)), outcome(trigger(emulator, agent_id, poll_interval=0))
    )
    assert (good["outcome"], bad["outcome"]) == ("done", "refused")


async def test_the_first_trigger_of_a_process_imports_off_the_loop(emulator, connection):
    code = f"""
import asyncio, time
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

async def main():
    longest = 0.0

    run = asyncio.Handle._run

    def timed(handle):
        nonlocal longest
        began = time.thread_time()
        run(handle)
        longest = max(longest, time.thread_time() - began)

    asyncio.Handle._run = timed
    trigger = ConnixAgentStatusTrigger({emulator.project_id!r}, "agent_1", poll_interval=1)
    events = [event async for event in trigger.run()]
    import sys
    print(events[0].payload["outcome"], "httpx" in sys.modules, longest)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    gone, imported, longest = out.decode().splitlines()[-1].split()
    assert (gone, imported) == ("gone", "True"), err.decode()
    # Processor time, which no neighbour lengthens; the imports alone take a third of a second.
    assert float(longest) < 0.1
