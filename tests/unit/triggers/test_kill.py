"""Airflow's own runner of triggers cancels one that a user killed, and one that it shuts down."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.triggers.base import BaseTrigger
from asgiref.sync import sync_to_async
from task_states import set_task_state, task_instance
from waiting import wait_until_async

from connix_provider.compat import get_async_connection
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not hasattr(BaseTrigger, "on_kill"), reason="Airflow tells triggers of a kill since 3.3"
    ),
]


@pytest.fixture
def waiting(emulator):
    """Return a trigger that waits for a new agent and deletes it when it is killed."""
    (agent_id,) = emulator.seed(status="creating")
    emulator.script(agent_id, [(600, "running")])
    trigger = ConnixAgentStatusTrigger(
        emulator.project_id, agent_id, "create", deadline=time.time() + 600, undo_on_kill="delete"
    )
    trigger.task_instance = task_instance()
    vars(trigger.task_instance).update(id="ti", try_number=1, context_carrier=None)
    return trigger


class Runner:
    """Run one trigger as Airflow does."""

    def __init__(self, trigger):
        self._airflow = TriggerRunner()
        self._airflow.triggers[1] = {"name": "trigger", "events": 0, "is_watcher": False}
        self.task = asyncio.create_task(self._airflow.run_trigger(1, trigger))
        self._airflow.triggers[1]["task"] = self.task

    async def cancel(self, times, pause=0.0):
        """Cancel it because of what a user did, and again as long as it has not ended."""
        for _ in range(times):
            self._airflow.to_cancel.append(1)
            await self._airflow.cancel_triggers()
            await asyncio.sleep(pause)

    async def ended(self):
        with pytest.raises(asyncio.CancelledError):
            await self.task


@pytest.mark.parametrize("pause", [0.0, 0.01])
@pytest.mark.parametrize("times", [1, 2, 5, 20])
async def test_a_repeated_cancellation_undoes_once(times, pause, waiting, emulator, connection, monkeypatch):
    set_task_state(monkeypatch, "failed")
    runner = Runner(waiting)
    await wait_until_async("the first poll", lambda: emulator.journal.entries("get_agent"))
    await runner.cancel(times, pause)
    await runner.ended()
    assert len(emulator.journal.executed("delete_agent")) == 1


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("state", ["deferred", "success", None])
async def test_only_a_failed_task_is_undone(state, times, waiting, emulator, connection, monkeypatch):
    set_task_state(monkeypatch, state)
    runner = Runner(waiting)
    await wait_until_async("the first poll", lambda: emulator.journal.entries("get_agent"))
    await runner.cancel(times)
    await runner.ended()
    assert not emulator.journal.entries("delete_agent")


@pytest.mark.parametrize("times", [1, 5])
async def test_a_shutdown_undoes_nothing(times, waiting, emulator, connection, monkeypatch):
    set_task_state(monkeypatch, "failed")
    runner = Runner(waiting)
    await wait_until_async("the first poll", lambda: emulator.journal.entries("get_agent"))
    for _ in range(times):
        runner.task.cancel()
        await asyncio.sleep(0)
    await runner.ended()
    assert not emulator.journal.entries("delete_agent")


@pytest.mark.parametrize("times", [1, 5])
async def test_a_kill_during_a_slow_read_undoes(times, waiting, emulator, connection, monkeypatch):
    """A secrets backend that is read in a thread loses the reason of a cancellation."""
    set_task_state(monkeypatch, "failed")
    reading, killed = threading.Event(), threading.Event()

    def read_slowly():
        reading.set()
        killed.wait()

    async def read_in_thread(conn_id):
        if not reading.is_set():
            await sync_to_async(read_slowly)()
        return await get_async_connection(conn_id)

    monkeypatch.setattr("connix_provider.hooks.connix.get_async_connection", read_in_thread)
    runner = Runner(waiting)
    await wait_until_async("the connection is read", reading.is_set)
    await runner.cancel(times)
    killed.set()
    await runner.ended()
    assert len(emulator.journal.executed("delete_agent")) == 1
