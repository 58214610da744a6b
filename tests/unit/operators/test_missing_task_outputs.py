"""What another task returned is nothing: the task fails, says so, and sends nothing."""

from __future__ import annotations

import itertools
import os

import pendulum
import pytest
from dag_store import store

from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixStartAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

pytestmark = pytest.mark.heavy

CREATE, UPDATE, START = ConnixCreateAgentOperator, ConnixUpdateAgentOperator, ConnixStartAgentOperator
SENSOR = ConnixAgentStatusSensor
AGENT = {"agent_id": "agent_1"}
_numbers = itertools.count()


@pytest.fixture
def run_after(connection, exceptions_reach_callbacks):
    """Run a task that takes a field from another task, and return the errors of its task instances."""

    def run(make, field, returned, *, mapped=False, native=False, **others):
        from airflow.providers.common.compat.sdk import DAG, task

        errors = []
        with DAG(
            f"after_{os.getpid()}_{next(_numbers)}",
            schedule=None,
            start_date=pendulum.datetime(2024, 1, 1),
            render_template_as_native_obj=native,
        ) as dag:

            @task(task_id="before")
            def before():
                return returned

            common = {
                "task_id": "task",
                "on_failure_callback": lambda context: errors.append(context["exception"]),
                **others,
            }
            if mapped:
                make.partial(**common).expand(**{field: before()})
            else:
                make(**common, **{field: before()})
        store(dag)
        dag_run = dag.test()
        states = {str(ti.state) for ti in dag_run.get_task_instances() if ti.task_id == "task"}
        return states, errors

    return run


CASES = [
    (CREATE, {}, "name"),
    (CREATE, {"name": "a"}, "config"),
    (UPDATE, {**AGENT, "description": "d"}, "name"),
    (UPDATE, AGENT, "description"),
    (START, {}, "agent_id"),
    (START, {"deferrable": True}, "agent_name"),
    (ConnixDeleteAgentOperator, AGENT, "project_id"),
    (ConnixDeleteAgentOperator, {"agent_name": "a", "ignore_if_missing": True}, "agent_id"),
    (START, AGENT, "connix_conn_id"),
    (SENSOR, {}, "agent_id"),
    (SENSOR, {"deferrable": True}, "agent_name"),
]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("make", "others", "field"), CASES)
def test_nothing_from_a_task_is_refused(make, others, field, native, emulator, run_after, warp):
    states, errors = run_after(make, field, None, native=native, **others)
    assert states == {"failed"}
    assert [type(error) for error in errors] == [ValueError]
    assert f"{field} must be" in str(errors[0])
    assert "it came from a template or another task that returned no value" in str(errors[0])
    assert not emulator.journal.entries()


MAPPED = [
    (CREATE, {}, "name", [None]),
    (CREATE, {}, "name", ["None"]),
    (CREATE, {"deferrable": True}, "name", [""]),
    (UPDATE, {**AGENT, "description": "d"}, "name", ["null"]),
    (START, {}, "agent_id", [None]),
    (START, {"deferrable": True}, "agent_name", [None]),
    (START, {}, "agent_name", ["nan"]),
    (SENSOR, {}, "agent_id", [None]),
]


@pytest.mark.parametrize(("make", "others", "field", "returned"), MAPPED)
def test_nothing_in_a_mapped_list_is_refused(make, others, field, returned, emulator, run_after, warp):
    states, errors = run_after(make, field, returned, mapped=True, **others)
    assert states == {"failed"}
    assert [type(error) for error in errors] == [ValueError]
    assert field in str(errors[0])
    assert "neither" not in str(errors[0])
    assert "that returned no value" in str(errors[0])
    assert not emulator.journal.entries()


def test_mapped_text_is_not_rendered_again(emulator, run_after, warp):
    states, errors = run_after(CREATE, "name", ["{{ 1 + 1 }}", "123_456"], mapped=True, native=True)
    assert states == {"success"}, errors
    with ConnixHook().get_conn() as client:
        names = {agent.name for agent in client.agents.iter(emulator.project_id)}
    assert names == {"{{ 1 + 1 }}", "123_456"}


@pytest.mark.parametrize("native", [False, True])
def test_a_mapping_from_a_task_is_sent_unchanged(native, emulator, run_after, warp):
    config = {"model": "{{ 1 }}", "max_tokens": 5, "environment_variables": {"A": "3", "B": "None"}}
    states, errors = run_after(CREATE, "config", config, native=native, name="whole")
    assert states == {"success"}, errors
    with ConnixHook().get_conn() as client:
        (agent,) = client.agents.iter(emulator.project_id)
    assert emulator.agent(agent.id)["config"] == config
