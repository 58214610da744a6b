"""Airflow's own end of a deferral, as the installed version raises it, in the words of this provider."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from dag_store import airflow_version

from connix_provider.exceptions import ConnixAgentTimeoutError, ConnixSensorTimeoutError
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixStartAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor


def given_up() -> dict[str, str]:
    """What the scheduler stores for a task whose trigger did not fire in time."""
    if airflow_version() < (3,):
        return {"error": "Trigger/execution timeout"}
    return {"error": "Trigger timeout"}


def test_an_operator_explains_a_missing_triggerer():
    task = ConnixStartAgentOperator(task_id="task", agent_id="agent_1", timeout=60)
    with pytest.raises(ConnixAgentTimeoutError, match=r"No triggerer ran the trigger .* capacity"):
        task.resume_execution("__fail__", given_up(), {})


@pytest.mark.parametrize(
    ("make", "arguments", "named"),
    [
        (ConnixCreateAgentOperator, {"name": "alpha", "config": {}}, "'alpha'"),
        (ConnixUpdateAgentOperator, {"agent_id": "agent_1", "name": "beta"}, "agent_1"),
        (ConnixDeleteAgentOperator, {"agent_name": "alpha"}, "'alpha'"),
        (ConnixAgentStatusSensor, {"agent_name": "alpha"}, "'alpha'"),
        (ConnixAgentStatusSensor, {"agent_id": "agent_1"}, "agent_1"),
    ],
)
def test_the_agent_is_named(make, arguments, named):
    task = make(task_id="task", timeout=60, project_id="p_1", **arguments)
    with pytest.raises(
        ConnixAgentTimeoutError, match=f"No triggerer ran the trigger for agent {named} "
    ) as caught:
        task.resume_execution("__fail__", given_up(), {})
    assert caught.value.project_id == "p_1"
    assert named.strip("'") in {caught.value.agent_id, caught.value.agent_name}


def test_a_sensor_explains_a_missing_triggerer():
    task = ConnixAgentStatusSensor(
        task_id="task", agent_id="agent_1", timeout=600, execution_timeout=timedelta(seconds=60)
    )
    with pytest.raises(ConnixSensorTimeoutError, match=r"agent_1 within 54 s.* capacity") as caught:
        task.resume_execution("__fail__", given_up(), {})
    assert caught.value.agent_id == "agent_1"


def test_soft_fail_skips_it():
    task = ConnixAgentStatusSensor(task_id="task", agent_id="agent_1", soft_fail=True)
    with pytest.raises(AirflowSkipException, match="No triggerer ran the trigger"):
        task.resume_execution("__fail__", given_up(), {})


def test_soft_fail_does_not_skip_trigger_failures():
    task = ConnixAgentStatusSensor(task_id="task", agent_id="agent_1", soft_fail=True)
    with pytest.raises(Exception, match="Trigger failure") as caught:
        task.resume_execution("__fail__", {"error": "Trigger failure"}, {})
    assert not isinstance(caught.value, AirflowSkipException)
