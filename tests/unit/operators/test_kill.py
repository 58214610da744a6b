"""Killing a task touches nothing, unless the task was told to take back what it did."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
import time

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred, get_current_context
from task_states import MISSING, REFUSED, make_trigger, set_task_state, task_instance

from connix_provider.emulator import Fault
from connix_provider.operators._base import busy_agent
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.operators._once import create_once as once
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
)
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

pytestmark = pytest.mark.heavy


@pytest.fixture(autouse=True)
def failed(monkeypatch):
    """Have a user mark the killed task as failed, unless the test says otherwise."""
    set_task_state(monkeypatch, "failed")


class KilledError(Exception):
    """Stands for the signal that ends a task while it waits."""


CASES = [
    (ConnixCreateAgentOperator, None, "delete_agent"),
    (ConnixStartAgentOperator, "stopped", "stop_agent"),
    (ConnixRestartAgentOperator, "running", None),
    (ConnixPauseAgentOperator, "running", None),
    (ConnixStopAgentOperator, "running", None),
]


@pytest.mark.parametrize("cancel_on_kill", [False, True], ids=["left", "cancelled"])
@pytest.mark.parametrize(("operator", "status", "undone_by"), CASES)
def test_a_worker_that_is_killed(
    operator, status, undone_by, cancel_on_kill, emulator, run, warp, monkeypatch
):
    which = {"agent_id": emulator.seed(status=status)[0]} if status else {"name": "new"}

    def kill(polling_session, project_id, wait):
        get_current_context()["ti"].task.on_kill()
        raise KilledError

    monkeypatch.setattr("connix_provider.polling.worker_loop.poll_until_done", kill)
    emulator.clock.advance(60)
    ran = run(operator, cancel_on_kill=cancel_on_kill, **which)
    assert isinstance(ran.error, KilledError)
    changed = [
        entry.call for entry in emulator.journal.entries() if entry.method != "GET" and entry.status != 409
    ]
    assert changed[1:] == ([undone_by] if cancel_on_kill and undone_by else [])
    if operator is ConnixStartAgentOperator:
        # It was killed while the agent still showed its old status and could not be stopped.
        emulator.clock.advance(60)
        agent = emulator.agent(which["agent_id"])
        assert agent["status"] == ("stopped" if cancel_on_kill else "running")


def test_a_killed_worker_undoes_nothing_by_default(emulator, connection):
    (agent_id,) = emulator.seed(status="running")
    task = ConnixStartAgentOperator(task_id="a", agent_id=agent_id)
    task.before_act(emulator.project_id, {"ti": task_instance()})
    task._sent_action = SentAction(agent_id, undo="stop")
    task.on_kill()
    assert not emulator.journal.entries()


def test_a_task_without_an_action_undoes_nothing(emulator, connection):
    ConnixCreateAgentOperator(task_id="a", name="new", cancel_on_kill=True).on_kill()
    assert not emulator.journal.entries()


@pytest.mark.parametrize("host", ["ftp://nowhere", None], ids=["broken", "missing"])
def test_a_broken_connection_breaks_no_signal_handler(host, emulator, connection, monkeypatch):
    task = ConnixStartAgentOperator(task_id="a", agent_id="agent", cancel_on_kill=True)
    task.before_act(emulator.project_id, {"ti": task_instance()})
    task._sent_action = SentAction("agent", undo="stop")
    if host:
        connection(host=host)
    else:
        monkeypatch.delenv("AIRFLOW_CONN_CONNIX_DEFAULT")
    task.on_kill()
    assert not emulator.journal.entries()


@pytest.mark.parametrize("cancel_on_kill", [False, True], ids=["left", "cancelled"])
@pytest.mark.parametrize(
    "operator", [ConnixRestartAgentOperator, ConnixStopAgentOperator, ConnixPauseAgentOperator]
)
def test_a_task_killed_while_waiting_sends_nothing(
    operator, cancel_on_kill, emulator, run, warp, monkeypatch
):
    (agent_id,) = emulator.seed(status="creating")
    emulator.script(agent_id, [(20, "running")])

    def killed(*args, **kwargs):
        get_current_context()["ti"].task.on_kill()
        return True

    monkeypatch.setattr(busy_agent, "await_settled", killed)
    ran = run(operator, agent_id=agent_id, cancel_on_kill=cancel_on_kill)
    assert "killed before" in str(ran.error)
    assert [entry.status for entry in emulator.journal.entries() if entry.method != "GET"] == [409]


def test_a_task_killed_early_sends_nothing(emulator, run, warp, monkeypatch):
    before_act = ConnixCreateAgentOperator.before_act

    def killed(task, project_id, context):
        task.on_kill()
        before_act(task, project_id, context)

    monkeypatch.setattr(ConnixCreateAgentOperator, "before_act", killed)
    ran = run(ConnixCreateAgentOperator, cancel_on_kill=True, name="new")
    assert "killed before" in str(ran.error)
    assert not emulator.journal.entries("create_agent")


@pytest.mark.parametrize("cancel_on_kill", [False, True], ids=["left", "cancelled"])
def test_the_trigger_undoes_a_killed_deferred_task(cancel_on_kill, emulator, connection):
    (agent_id,) = emulator.seed(status="stopped")
    task = ConnixStartAgentOperator(
        task_id="a", agent_id=agent_id, deferrable=True, cancel_on_kill=cancel_on_kill
    )
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    _, arguments = deferred.value.trigger.serialize()
    emulator.clock.advance(60)
    asyncio.run(make_trigger(**arguments).on_kill())
    assert len(emulator.journal.executed("stop_agent")) == cancel_on_kill


def test_an_action_that_cannot_be_undone_is_left(emulator, connection, caplog):
    (agent_id,) = emulator.seed(status="running")
    emulator.faults.add(Fault.status(403, code="insufficient_permissions"), on="stop_agent")
    task = ConnixStartAgentOperator(task_id="a", agent_id=agent_id, cancel_on_kill=True)
    task.before_act(emulator.project_id, {"ti": task_instance()})
    task._sent_action = SentAction(agent_id, undo="stop")
    task.on_kill()
    assert len(emulator.journal.entries("stop_agent")) == 1
    assert emulator.agent(agent_id)["status"] == "running"


def test_an_agent_that_cannot_be_found_is_left(emulator, connection):
    emulator.faults.add(Fault.status(403, code="insufficient_permissions"), on="list_agents")
    task = ConnixCreateAgentOperator(task_id="a", name="new", cancel_on_kill=True)
    task.before_act(emulator.project_id, {"ti": task_instance()})
    task.on_kill()
    assert [entry.call for entry in emulator.journal.entries()] == ["list_agents"]


@pytest.mark.parametrize("cancel_on_kill", [False, True], ids=["left", "cancelled"])
@pytest.mark.parametrize("goes_on", [False, True], ids=["Airflow 2 ends it", "Airflow 3 lets it run on"])
def test_a_worker_killed_during_a_create_undoes_it(goes_on, cancel_on_kill, emulator, run, warp, monkeypatch):
    create_once = once.create_once

    def killed(*args, **kwargs):
        created = create_once(*args, **kwargs)
        get_current_context()["ti"].task.on_kill()
        if goes_on:
            return created
        raise KilledError

    monkeypatch.setattr(once, "create_once", killed)
    run(ConnixCreateAgentOperator, cancel_on_kill=cancel_on_kill, name="new")
    assert len(emulator.journal.executed("create_agent")) == 1
    assert len(emulator.journal.executed("delete_agent")) == cancel_on_kill
    assert len(emulator.journal.entries("delete_agent")) == cancel_on_kill


def test_a_create_sent_after_the_kill_is_undone(emulator, run, warp, monkeypatch):
    create_once = once.create_once

    def killed(*args, **kwargs):
        get_current_context()["ti"].task.on_kill()
        return create_once(*args, **kwargs)

    monkeypatch.setattr(once, "create_once", killed)
    run(ConnixCreateAgentOperator, cancel_on_kill=True, name="new")
    assert len(emulator.journal.executed("create_agent")) == 1
    assert len(emulator.journal.executed("delete_agent")) == 1


def test_a_failed_undo_leaves_the_killed_task_quiet(emulator, run, warp, monkeypatch):
    emulator.faults.add(Fault.status(403, code="insufficient_permissions"), on="delete_agent")
    create_once = once.create_once

    def killed(*args, **kwargs):
        get_current_context()["ti"].task.on_kill()
        return create_once(*args, **kwargs)

    monkeypatch.setattr(once, "create_once", killed)
    ran = run(ConnixCreateAgentOperator, cancel_on_kill=True, name="new")
    assert ran.error is None
    assert len(emulator.journal.entries("delete_agent")) == 1
    assert emulator.agent(ran.result)["status"] == "running"


#: Every state in which ``on_kill`` may find its task, besides failed.
OTHER_STATES = [
    *(None, "scheduled", "queued", "running", "restarting", "success", "skipped", "removed"),
    *("upstream_failed", "up_for_retry", "up_for_reschedule", "deferred", MISSING, REFUSED),
]


@pytest.mark.parametrize("undo", ["delete", "stop"])
@pytest.mark.parametrize("state", OTHER_STATES, ids=str)
@pytest.mark.parametrize("mode", ["worker", "triggerer"])
def test_only_a_failed_task_undoes(mode, state, undo, emulator, connection, monkeypatch, caplog):
    set_task_state(monkeypatch, state)
    for module in ("connix_provider.triggers", "connix_provider.operators"):
        caplog.set_level(logging.INFO, module)
    (agent_id,) = emulator.seed(status="running")
    if mode == "worker":
        task = ConnixCreateAgentOperator(task_id="a", name="new", cancel_on_kill=True)
        monkeypatch.setattr(type(task), "log", logging.getLogger("connix_provider.operators"))
        task.before_act(emulator.project_id, {"ti": task_instance()})
        task._sent_action = SentAction(agent_id, undo=undo)
        task.on_kill()
    else:
        monkeypatch.setattr(ConnixAgentStatusTrigger, "log", logging.getLogger("connix_provider.triggers"))
        asyncio.run(make_trigger(emulator.project_id, agent_id, "create", undo_on_kill=undo).on_kill())
    assert not emulator.journal.entries()
    told = f"this task is {state or 'cleared'}"
    if state in {MISSING, REFUSED}:
        told = "Airflow did not return the state of the task"
    assert f"Agent {agent_id} is left as it is: " in caplog.text
    assert told in caplog.text


@pytest.mark.parametrize(("map_index", "undoes"), [(2, True), (1, False), (0, False), (-1, False)])
@pytest.mark.parametrize("mode", ["worker", "triggerer"])
def test_a_mapped_task_asks_for_its_own_state(mode, map_index, undoes, emulator, connection, monkeypatch):
    set_task_state(monkeypatch, "failed", map_index=2)
    (agent_id,) = emulator.seed(status="running")
    if mode == "worker":
        task = ConnixStartAgentOperator(task_id="a", agent_id=agent_id, cancel_on_kill=True)
        task.before_act(emulator.project_id, {"ti": task_instance(map_index)})
        task._sent_action = SentAction(agent_id, undo="stop")
        task.on_kill()
    else:
        trigger = make_trigger(
            emulator.project_id, agent_id, "start", undo_on_kill="stop", map_index=map_index
        )
        asyncio.run(trigger.on_kill())
    assert len(emulator.journal.executed("stop_agent")) == undoes


def test_a_trigger_without_task_instance_leaves_the_agent(emulator, connection):
    (agent_id,) = emulator.seed(status="running")
    trigger = ConnixAgentStatusTrigger(emulator.project_id, agent_id, "start", undo_on_kill="stop")
    asyncio.run(trigger.on_kill())
    assert not emulator.journal.entries()


@pytest.mark.parametrize("mode", ["worker", "triggerer"])
def test_a_missing_task_state_is_not_awaited(mode, emulator, connection, monkeypatch):
    has_returned, answered_first = threading.Event(), []

    def answer_late(ti):
        answered_first.append(not has_returned.wait(60))
        return "failed"

    async def kill_trigger():
        await make_trigger(emulator.project_id, agent_id, "start", undo_on_kill="stop").on_kill()
        # Here, because the loop waits for its threads when it ends.
        has_returned.set()

    monkeypatch.setattr("connix_provider.polling.task_kill._state_of", answer_late)
    monkeypatch.setattr("connix_provider.polling.task_kill._STATE_TIMEOUT", 0.2)
    monkeypatch.setattr("connix_provider.polling.task_kill._STATE_TIMEOUT_ASYNC", 0.2)
    (agent_id,) = emulator.seed(status="running")
    if mode == "worker":
        task = ConnixStartAgentOperator(task_id="a", agent_id=agent_id, cancel_on_kill=True)
        task.before_act(emulator.project_id, {"ti": task_instance()})
        task._sent_action = SentAction(agent_id, undo="stop")
        task.on_kill()
        has_returned.set()
    else:
        asyncio.run(kill_trigger())
    assert not any(answered_first)
    assert not emulator.journal.entries()


#: A task of Airflow 3 by the part that matters here: its handler of SIGTERM returns.
KILLED = """
import signal, sys, time
from connix_provider.polling.task_kill import exit_on_sigterm

def on_term(signum, frame):
    print("on_kill", flush=True)

on_term.__module__ = sys.argv[1]
signal.signal(signal.SIGTERM, on_term)
with exit_on_sigterm():
    print("waits", flush=True)
    time.sleep(3)
assert signal.getsignal(signal.SIGTERM) is on_term
print("went on", flush=True)
"""


@pytest.mark.parametrize("where", ["in", "outside"])
def test_a_killed_task_of_airflow_ends_at_once(where):
    module = "airflow.sdk.execution_time.task_runner" if where == "in" else "a_program_of_a_user"
    command = [sys.executable, "-c", KILLED, module]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as task:
        assert task.stdout.readline() == "waits\n"
        began = time.monotonic()
        task.send_signal(signal.SIGTERM)
        said, error = task.communicate(timeout=30)
    assert not error
    if where == "in":
        assert (said, task.returncode) == ("on_kill\n", -signal.SIGTERM)
        assert time.monotonic() - began < 1
    else:
        assert (said, task.returncode) == ("on_kill\nwent on\n", 0)
