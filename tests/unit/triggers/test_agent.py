"""The trigger alone: it yields one event, closes its client, and never blocks the loop."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import sys
import threading
import time

import pytest
from task_states import set_task_state, task_instance
from waiting import wait_until_async

from connix_provider.client.models import Agent
from connix_provider.client.ratelimit import Bucket
from connix_provider.emulator import Durations, Emulator, Fault
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.triggers.agent import ConnixAgentStatusTrigger
from connix_provider.triggers.rate_limit import ConnixRateLimitTrigger


async def outcome(trigger):
    events = [event async for event in trigger.run()]
    assert len(events) == 1
    return events[0].payload


def trigger(emulator, agent_id, goal="sensor", **arguments):
    return ConnixAgentStatusTrigger(emulator.project_id, agent_id, goal, **{"poll_interval": 1, **arguments})


async def test_the_event_of_a_success(emulator, connection, warp):
    (agent_id,) = emulator.seed(status="creating")
    emulator.script(agent_id, [(3, "running")])
    event = await outcome(trigger(emulator, agent_id))
    assert event == {
        "outcome": "done",
        "agent_id": agent_id,
        "agent_name": "agent-1",
        "project_id": emulator.project_id,
        "request_id": None,
        "status": "running",
        "message": f"Agent 'agent-1' ({agent_id}) is running (3 s waited).",
        "error": None,
        "deadline": None,
        "resume_with": {},
        "secrets_digest": None,
    }


@pytest.mark.parametrize(
    ("status", "expected"), [("error", "failed"), ("paused", "timeout"), ("hibernating", "timeout")]
)
async def test_the_events_of_other_ends(status, expected, emulator, connection, warp):
    (agent_id,) = emulator.seed(status=status)
    event = await outcome(trigger(emulator, agent_id, deadline=warp.time() + 10))
    assert (event["outcome"], event["status"]) == (expected, status)


async def test_a_trigger_without_deadline_ends_after_an_hour(emulator, connection, warp):
    (agent_id,) = emulator.seed(status="paused")
    event = await outcome(trigger(emulator, agent_id, poll_interval=600))
    assert event["outcome"] == "timeout"
    assert warp.slept == pytest.approx(3600, abs=5)


async def test_a_workers_fast_clock_delays_no_poll(emulator, connection, warp):
    (agent_id,) = emulator.seed()
    began, ahead = warp.time(), 5000.0
    await outcome(trigger(emulator, agent_id, poll_interval=30, first_poll_at=began + ahead))
    assert warp.time() - began == pytest.approx(30, abs=5)


async def test_a_deadline_that_has_passed_sends_nothing(emulator, connection, warp):
    (agent_id,) = emulator.seed()
    event = await outcome(trigger(emulator, agent_id, deadline=time.time() - 1))
    assert event["outcome"] == "timeout"
    assert not emulator.journal.entries()


async def test_a_timeout_names_the_last_status_and_time(emulator, connection, warp):
    (agent_id,) = emulator.seed(status="paused")
    event = await outcome(trigger(emulator, agent_id, deadline=warp.time() + 10))
    at = emulator.journal.entries("get_agent")[-1].at
    assert event["message"] == (
        f"Agent 'agent-1' ({agent_id}) was not running within the time allowed (10 s): it was last seen "
        f"paused at {at:%H:%M:%S} UTC. The agent was left as it is. An agent that is paused does not start "
        f"by itself: start it, then clear the task (project {emulator.project_id}, "
        f"https://console.connix.io/projects/{emulator.project_id}/agents/{agent_id})."
    )


@pytest.fixture
def told(monkeypatch, caplog):
    """Read what triggers log; where that goes differs from Airflow to Airflow."""
    monkeypatch.setattr(ConnixAgentStatusTrigger, "log", logging.getLogger("connix_provider.triggers"))
    caplog.set_level(logging.INFO, "connix_provider.triggers")
    return lambda: [record.getMessage() for record in caplog.records if record.name.endswith(".triggers")]


async def test_it_counts_from_where_the_worker_began(emulator, connection, warp, told):
    (agent_id,) = emulator.seed()
    await outcome(trigger(emulator, agent_id, began_at=warp.time() - 40, deadline=warp.time() + 20))
    assert told() == [f"Agent 'agent-1' ({agent_id}) is running (40 s waited, 20 s left)."]


@pytest.mark.parametrize("began", [0, None])
async def test_a_timeout_without_a_poll_says_so(began, emulator, connection, warp):
    (agent_id,) = emulator.seed()
    emulator.faults.add(Fault.status(503), times=None)
    event = await outcome(trigger(emulator, agent_id, began_at=began, deadline=warp.time() + 10))
    assert ": no recent poll succeeded; the last poll failed: " in event["message"]


async def test_each_start_of_stability_is_logged(emulator, connection, warp, told):
    (agent_id,) = emulator.seed(status="paused")
    emulator.script(agent_id, [(3, "running"), (5, "paused"), (5, "running")])
    await outcome(trigger(emulator, agent_id, stable_for=7))
    assert [line.partition(f"({agent_id}) ")[2].split(" (")[0] for line in told()] == [
        "is paused",
        "is running, was paused",
        "must keep this status for 7 s, counted from now.",
        "is paused, was running",
        "is running, was paused",
        "must keep this status for 7 s, counted from now.",
    ]


async def test_the_first_poll_waits_for_first_poll_at(emulator, connection, warp):
    (agent_id,) = emulator.seed()
    await outcome(trigger(emulator, agent_id, poll_interval=30, first_poll_at=warp.time() + 20))
    assert warp.slept == pytest.approx(20, abs=1)


async def test_it_backs_off_as_the_sensor_was_told(emulator, connection, warp):
    (agent_id,) = emulator.seed(status="creating")
    emulator.script(agent_id, [(60, "running")])
    await outcome(trigger(emulator, agent_id, exponential_backoff=True, max_wait=20))
    looks = [entry.at.timestamp() for entry in emulator.journal.entries("get_agent")]
    assert [round(b - a) for a, b in itertools.pairwise(looks)] == [1, 2, 4, 8, 16, 20, 20]


async def test_retry_after_delays_the_next_poll(emulator, connection, warp):
    (agent_id,) = emulator.seed()
    emulator.faults.add(Fault.rate_limited(retry_after=45), on="get_agent", times=2)
    await outcome(trigger(emulator, agent_id))
    # Twice what was asked for, and some jitter on top, so that not everybody comes back at once.
    assert 90 <= warp.slept <= 100


async def test_an_error_with_a_hint_is_left_alone(emulator, connection, warp):
    (agent_id,) = emulator.seed()
    emulator.faults.add(Fault.status(503, headers={"Retry-After": "45"}), on="get_agent", times=2)
    await outcome(trigger(emulator, agent_id))
    looks = [entry.at.timestamp() for entry in emulator.journal.entries("get_agent")]
    assert [round(b - a) for a, b in itertools.pairwise(looks)] == [45, 45]


@pytest.mark.parametrize(
    ("not_before", "refused_for", "deadline", "comes_after"),
    [(0, 0, 600, 0), (50, 0, 600, 50), (0, 30, 600, 30), (20, 30, 600, 30), (50, 0, 40, 40), (0, 30, 20, 20)],
)
async def test_a_task_resumes_by_its_deadline(
    not_before, refused_for, deadline, comes_after, emulator, connection, warp
):
    if refused_for:
        with ConnixHook().get_conn() as client, client.limiter.permit(Bucket.ACTION) as permit:
            assert permit.try_acquire() == 0
            permit.on_response({}, is_success=False, back_off=refused_for)
    began = warp.time()
    event = await outcome(ConnixRateLimitTrigger("action", began + not_before, began + deadline))
    has_permit = comes_after < deadline
    assert event == {
        "bucket": "action",
        "deadline": began + deadline,
        "resume_with": {},
        "has_permit": has_permit,
        "rate_limit": [],
    }
    # It asks anew now and then, so it may come some seconds after a deadline; the task says so then.
    assert comes_after <= warp.time() - began + 0.01 <= comes_after + 10
    assert not emulator.journal.entries()


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"password": None}, "there is no Connix API key"), ({"host": "nowhere"}, "the base URL must begin")],
)
async def test_a_connection_broken_meanwhile_fails_the_task(changes, says, emulator, connection, warp):
    connection(**changes)
    event = await outcome(trigger(emulator, "agent_1"))
    assert event["outcome"] == "refused"
    assert says in event["message"]


async def test_a_deleted_connection_fails_the_task(emulator, warp, connection):
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
        await wait_until_async("the first poll", lambda: emulator.journal.entries("get_agent"))
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
        ({"silent_fail": "maybe"}, ["silent_fail must be true or false", "'maybe'"]),
        ({"exponential_backoff": 2}, ["exponential_backoff must be true or false", "2"]),
        ({"target_statuses": ["runing"]}, ["target_statuses", "Did you mean 'running'?"]),
    ],
)
async def test_bad_trigger_arguments_fail_the_task(arguments, words, emulator, connection):
    event = await outcome(trigger(emulator, "agent_1", **arguments))
    assert event["outcome"] == "refused"
    assert all(word in event["message"] for word in words), event["message"]
    assert not emulator.journal.entries()


async def test_a_bad_trigger_disturbs_no_other_trigger(emulator, connection, warp):
    (agent_id,) = emulator.seed(status="creating")
    emulator.script(agent_id, [(3, "running")])
    good, bad = await asyncio.gather(
        outcome(trigger(emulator, agent_id)), outcome(trigger(emulator, agent_id, poll_interval=0))
    )
    assert (good["outcome"], bad["outcome"]) == ("done", "refused")


@pytest.mark.heavy
async def test_the_first_trigger_imports_off_the_loop(emulator, connection):
    code = f"""
import asyncio, sys, threading
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

slow = "connix_provider.client.models"
threads = []

def note(event, arguments):
    if event == "import" and arguments[0] == slow:
        threads.append(threading.current_thread() is threading.main_thread())

async def main():
    sys.addaudithook(note)
    trigger = ConnixAgentStatusTrigger({emulator.project_id!r}, "agent_1", poll_interval=1)
    events = [event async for event in trigger.run()]
    print(events[0].payload["outcome"], threads)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert out.decode().splitlines()[-1] == "gone [False]", err.decode()


@pytest.fixture
def opened(monkeypatch):
    """Keep the clients that are opened."""
    open_one, clients = ConnixHook.get_async_conn, []

    async def keep(self):
        clients.append(await open_one(self))
        return clients[-1]

    monkeypatch.setattr(ConnixHook, "get_async_conn", keep)
    return clients


@pytest.mark.parametrize("how", ["done", "cancelled", "killed"])
async def test_every_client_is_closed(how, emulator, connection, opened, monkeypatch):
    (agent_id,) = emulator.seed(status="running" if how == "done" else "paused")
    waits = trigger(emulator, agent_id, deadline=time.time() + 600, undo_on_kill="stop")
    if how == "killed":
        set_task_state(monkeypatch, "failed")
        waits.task_instance = task_instance()
        await waits.on_kill()
    else:
        waiting = asyncio.create_task(outcome(waits))
        await wait_until_async("the first poll", lambda: emulator.journal.entries("get_agent"))
        if how == "cancelled":
            waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled() == (how == "cancelled")
    assert len(opened) == 1
    assert opened[0]._http.is_closed


async def test_nothing_runs_on_when_a_trigger_is_cancelled(emulator, connection):
    (agent_id,) = emulator.seed(status="paused")
    emulator.faults.add(Fault.hang(), on="get_agent")
    waiting = asyncio.create_task(outcome(trigger(emulator, agent_id, deadline=time.time() + 600)))
    await wait_until_async("the hang of a poll", lambda: not emulator.faults.active())
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def wakeful_loop(monkeypatch):
    """Fail on a sleep in the thread of the event loop that blocks the loop."""
    sleep, here = time.sleep, threading.get_ident()

    def sleep_elsewhere(seconds):
        assert threading.get_ident() != here, "the event loop was put to sleep"
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep_elsewhere)


async def test_the_event_loop_is_never_put_to_sleep(emulator, connection, wakeful_loop):
    (agent_id,) = emulator.seed(status="running")
    event = await outcome(trigger(emulator, agent_id, first_poll_at=time.time() + 0.2))
    assert event["outcome"] == "done"


async def test_a_rate_limit_never_blocks_the_event_loop(emulator, connection, wakeful_loop):
    with ConnixHook().get_conn() as client, client.limiter.permit(Bucket.ACTION) as permit:
        assert permit.try_acquire() == 0
        permit.on_response({}, is_success=False, back_off=0.2)
    deadline = time.time() + 600
    event = await outcome(ConnixRateLimitTrigger("action", not_before=0.0, deadline=deadline))
    assert (event["bucket"], event["has_permit"], event["rate_limit"]) == ("action", True, [])


async def test_a_missing_connection_never_blocks_the_event_loop(emulator, connection, wakeful_loop):
    event = await outcome(
        trigger(emulator, "agent_1", connix_conn_id="connix_deleted", deadline=time.time() + 0.3)
    )
    assert event["outcome"] == "timeout"


async def test_a_deadline_that_has_passed_reads_no_connection(emulator, connection):
    event = await outcome(
        trigger(emulator, "agent_1", connix_conn_id="connix_deleted", deadline=time.time() - 1)
    )
    assert event["outcome"] == "timeout"


@pytest.mark.parametrize("undo", ["delete", "stop"])
async def test_a_cancelled_trigger_takes_nothing_back(undo, emulator, connection):
    (agent_id,) = emulator.seed(status="paused")
    waits = trigger(emulator, agent_id, deadline=time.time() + 600, undo_on_kill=undo)
    waiting = asyncio.create_task(outcome(waits))
    await wait_until_async("the first poll", lambda: emulator.journal.entries("get_agent"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await waits.cleanup()
    assert {entry.method for entry in emulator.journal.entries()} == {"GET"}


def test_the_stored_state_of_an_agent_is_bounded():
    agent = Agent.model_validate(
        {"id": "a", "name": "n" * 200_000, "status": "s" * 200_000, "updated_at": "t" * 200_000}
    )
    sent = SentAction.of(agent, "update", before=agent.snapshot())
    assert len(json.dumps(sent.poll_state().to_json())) + len(str(sent.agent_name)) < 2_000


def test_attributes_of_triggers_share_their_keys():
    # Python shares the names of at most 30 attributes; with more, each wait costs 1.5 KiB.
    trigger = ConnixAgentStatusTrigger("proj_1", "agent_1")
    assert trigger.log
    assert len(vars(trigger)) < 30
