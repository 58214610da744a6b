"""A killed trigger undoes the action of a failed task, within its time."""

from __future__ import annotations

import asyncio
import logging

import pytest
from task_states import make_trigger, set_task_state

from connix_provider.emulator import Fault
from connix_provider.hooks.connix import ConnixHook
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

pytestmark = pytest.mark.heavy


@pytest.fixture(autouse=True)
def failed(monkeypatch):
    """Have a user mark the killed task as failed, unless the test says otherwise."""
    set_task_state(monkeypatch, "failed")


@pytest.mark.parametrize(("undo", "call"), [("delete", "delete_agent"), ("stop", "stop_agent"), (None, None)])
async def test_a_trigger_that_is_killed(undo, call, emulator, connection, warp):
    (agent_id,) = emulator.seed(status="running")
    trigger = make_trigger(emulator.project_id, agent_id, "start", undo_on_kill=undo)
    await trigger.on_kill()
    assert [entry.call for entry in emulator.journal.executed() if entry.method != "GET"] == (
        [call] if call else []
    )


def started(emulator, **how):
    """Make a trigger for an agent that has just been asked to start, or was meant to be."""
    (agent_id,) = emulator.seed(status="stopped")
    agent = emulator.agent(agent_id)
    return agent_id, make_trigger(
        emulator.project_id,
        agent_id,
        "start",
        poll_state={"before": {"status": agent["status"], "updated_at": agent["updated_at"]}},
        undo_on_kill="stop",
        **how,
    )


async def test_a_killed_trigger_stops_a_late_starting_agent(emulator, connection, warp):
    agent_id, trigger = started(emulator)
    async with await ConnixHook().get_async_conn() as client:
        await client.agents.start(emulator.project_id, agent_id)
    await trigger.on_kill()
    assert [entry.status for entry in emulator.journal.entries("stop_agent")] == [409, 200]
    emulator.clock.advance(60)
    assert emulator.agent(agent_id)["status"] == "stopped"


@pytest.mark.parametrize("became", [None, "stopped", "error"])
async def test_an_agent_that_never_starts_gets_few_stops(became, emulator, connection, warp):
    agent_id, trigger = started(emulator)
    emulator.faults.add(Fault.status(409, code="conflict"), on="stop_agent", times=None)
    if became:
        emulator.clock.advance(60)
        emulator.set_status(agent_id, became)
    began = emulator.clock.timestamp()
    await trigger.on_kill()
    assert [entry.status for entry in emulator.journal.entries("stop_agent")] == [409]
    assert emulator.clock.timestamp() - began <= (20 if became is None else 10)


@pytest.mark.parametrize(("undo", "became"), [("delete", None), ("stop", "stopped")])
async def test_an_undo_ends_before_the_next_try(undo, became, emulator, connection, warp):
    (agent_id,) = emulator.seed(status="running")
    await make_trigger(emulator.project_id, agent_id, "start", undo_on_kill=undo).on_kill()
    if became is None:
        with pytest.raises(KeyError):
            emulator.agent(agent_id)
    else:
        assert emulator.agent(agent_id)["status"] == became
    assert len([entry for entry in emulator.journal.entries() if entry.method != "GET"]) == 1


async def test_a_stop_is_repeated_once_the_agent_runs(emulator, connection, warp):
    agent_id, trigger = started(emulator)
    emulator.script(agent_id, [(3, "running")])
    emulator.faults.add(Fault.status(200), on="stop_agent")
    await trigger.on_kill()
    assert [entry.status for entry in emulator.journal.entries("stop_agent")] == [200, 200]
    assert emulator.agent(agent_id)["status"] == "stopped"


async def test_an_agent_of_unknown_status_is_stopped_later(emulator, connection, warp):
    agent_id, trigger = started(emulator)
    emulator.script(agent_id, [(2, "booting"), (2, "running")])
    await trigger.on_kill()
    assert emulator.agent(agent_id)["status"] == "stopped"


@pytest.mark.parametrize("undo", ["delete", "stop"])
async def test_a_refused_undo_is_sent_a_few_times(undo, emulator, connection, warp):
    emulator.faults.add(Fault.status(409, code="conflict"), on=f"{undo}_agent", times=None)
    (agent_id,) = emulator.seed(status="running")
    began = emulator.clock.timestamp()
    await make_trigger(emulator.project_id, agent_id, "start", undo_on_kill=undo).on_kill()
    assert 2 <= len(emulator.journal.entries(f"{undo}_agent")) <= 5
    assert emulator.clock.timestamp() - began <= 20


@pytest.mark.parametrize("undo", ["delete", "stop"])
@pytest.mark.parametrize(("code", "is_gone"), [("agent_not_found", True), ("project_not_found", False)])
async def test_a_missing_agent_is_reported_as_gone(
    undo, code, is_gone, emulator, connection, warp, monkeypatch, caplog
):
    emulator.faults.add(Fault.status(404, code=code), on=f"{undo}_agent")
    trigger = make_trigger(emulator.project_id, "agent", "start", undo_on_kill=undo)
    monkeypatch.setattr(ConnixAgentStatusTrigger, "log", logging.getLogger("connix_provider.triggers"))
    await trigger.on_kill()
    assert len(emulator.journal.entries()) == 1
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert bool(warned) != is_gone


async def test_an_early_undo_sends_one_stop(emulator, connection, warp):
    _, trigger = started(emulator)
    emulator.faults.add(Fault.status(200), on="stop_agent")
    began = emulator.clock.timestamp()
    await trigger.on_kill()
    assert len(emulator.journal.entries("stop_agent")) == 1
    assert emulator.clock.timestamp() - began <= 20


async def test_cleanup_of_a_trigger_sends_no_request(emulator, connection):
    (agent_id,) = emulator.seed(status="running")
    trigger = make_trigger(emulator.project_id, agent_id, "start", undo_on_kill="delete")
    await trigger.cleanup()
    assert not emulator.journal.entries()


async def test_a_trigger_leaves_an_action_it_cannot_undo(emulator, connection):
    emulator.faults.add(Fault.status(403, code="insufficient_permissions"), on="stop_agent")
    (agent_id,) = emulator.seed(status="running")
    trigger = make_trigger(emulator.project_id, agent_id, "start", undo_on_kill="stop")
    await trigger.on_kill()
    assert emulator.agent(agent_id)["status"] == "running"


@pytest.mark.parametrize("undo", ["delete", "stop"])
async def test_further_cancellations_do_not_interrupt_an_undo(undo, emulator, connection):
    """Airflow 3.3.2 cancels a killed trigger again each second, until it has ended."""
    emulator.faults.add(Fault.hang(0.5, executed=True), on=f"{undo}_agent")
    (agent_id,) = emulator.seed(status="running")
    killed = asyncio.create_task(
        make_trigger(emulator.project_id, agent_id, "start", undo_on_kill=undo).on_kill()
    )
    for _ in range(30):
        await asyncio.sleep(0.02)
        killed.cancel()
    await killed
    changed = [entry.call for entry in emulator.journal.executed() if entry.method != "GET"]
    assert changed[:1] == [f"{undo}_agent"]
    assert emulator.journal.entries("get_agent"), "the undo was cut off before its end was seen"


@pytest.mark.parametrize("undo", ["delete", "stop"])
async def test_a_hanging_service_holds_a_killed_trigger_briefly(undo, emulator, connection, warp):
    emulator.faults.add(Fault.status(503), on=f"{undo}_agent", times=None)
    (agent_id,) = emulator.seed(status="running")
    began = emulator.clock.timestamp()
    await make_trigger(emulator.project_id, agent_id, "start", undo_on_kill=undo).on_kill()
    assert emulator.clock.timestamp() - began <= 20


@pytest.mark.parametrize("host", ["ftp://nowhere", None], ids=["broken", "missing"])
async def test_a_killed_trigger_never_raises(host, emulator, connection, monkeypatch, caplog):
    trigger = make_trigger(emulator.project_id, "agent", "start", undo_on_kill="stop")
    monkeypatch.setattr(ConnixAgentStatusTrigger, "log", logging.getLogger("connix_provider.triggers"))
    if host:
        connection(host=host)
    else:
        monkeypatch.delenv("AIRFLOW_CONN_CONNIX_DEFAULT")
    await trigger.on_kill()
    assert "the stop of agent agent failed" in caplog.text
