"""Agents of task runs, real runs of Airflow in any state, and the task that deletes orphaned agents."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from connix_provider.client import Client
from connix_provider.operators._base.identity import IDENTITY_FIELD, TaskRunKey
from connix_provider.operators.fleet import ConnixDeleteOrphanedAgentsOperator

DAY = 86400.0


@pytest.fixture(autouse=True)
def deployment(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CONNIX__DEPLOYMENT_ID", "production")


@pytest.fixture
def clean_up(run):
    """Run the task; by default it deletes."""

    def run_task(**arguments):
        return run(ConnixDeleteOrphanedAgentsOperator, **{"older_than": 3600, "dry_run": False, **arguments})

    return run_task


@pytest.fixture
def task_run(run):
    """Make a task run of this deployment, in a state, and return its key."""

    def make(state="success", instance_state="success"):
        ran = run(ConnixDeleteOrphanedAgentsOperator)
        assert ran.state == "success", ran.log
        ti = ran.instance
        set_states(ti, state, instance_state)
        return TaskRunKey("production", ti.dag_id, ti.run_id, ti.task_id, ti.map_index)

    return make


def set_states(run, state, instance_state):
    """Put a run and its task instances into states; ``None`` deletes the run."""
    from airflow.models import DagRun, TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import delete, update

    def those(model):
        return (model.dag_id == run.dag_id, model.run_id == run.run_id)

    with create_session() as session:
        if state is None:
            for model in (TaskInstance, DagRun):
                session.execute(delete(model).where(*those(model)))
            return
        session.execute(update(DagRun).where(*those(DagRun)).values(state=state))
        session.execute(update(TaskInstance).where(*those(TaskInstance)).values(state=instance_state))


@pytest.fixture
def seed(emulator):
    """Add an agent of two days with a key."""

    # And some seconds, because the service tells its time in whole seconds.
    def add(key=None, *, age=2 * DAY + 5, **fields):
        metadata = fields.pop("metadata", {})
        if key is not None:
            metadata = {IDENTITY_FIELD: key if isinstance(key, int) else str(key), **metadata}
        created_at = emulator.clock.now() - timedelta(seconds=age)
        (agent_id,) = emulator.seed(metadata=metadata, created_at=created_at, **fields)
        return agent_id

    return add


@pytest.fixture
def deletes(emulator):
    """List the agents of delete requests; no other request may change anything."""

    def listed():
        entries = [entry for entry in emulator.journal.entries() if entry.method != "GET"]
        assert {entry.call for entry in entries} <= {"delete_agent"}
        return [entry.agent_id for entry in entries]

    return listed


@pytest.fixture
def before_get(monkeypatch):
    """Call something before each Get of an agent, after the listing."""
    perform, hooks = Client.perform, []

    def hooked(client, call):
        if call.method == "GET" and "agents/" in call.path and hooks:
            hooks.pop()()
        return perform(client, call)

    monkeypatch.setattr(Client, "perform", hooked)
    return hooks.append


def outcomes(ran):
    assert json.loads(json.dumps(ran.result)) == ran.result
    return {agent_id: agent["outcome"] for agent_id, agent in ran.result["agents"].items()}
