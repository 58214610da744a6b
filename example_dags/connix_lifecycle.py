"""
Show the whole life of an agent: create, check, pause, start, stop, start, restart, update, delete.

Every operator of this provider does its work once, and waits until Connix shows that it is done. Each task
returns the agent's id and the next one takes it from there; that alone puts them in order. The gate after
`create` asks for more than `running`: the agent has to stay so for some seconds.

The agent's name holds the id of the DAG run. Two runs never meet in one agent, and a task that is tried again
finds the agent of its own run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

with DAG(
    dag_id="connix_lifecycle",
    description="The whole life of an agent, from create to delete",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["connix", "example"],
    params={
        "agent_name": Param("Lifecycle example", type="string", description="The agent's name begins so."),
        "model": Param("gpt-4", type="string", description="The model that the agent runs on."),
    },
    # An agent changes within seconds here: looking every two seconds is soon enough, and spares the key.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10), "poll_interval": 2.0, "timeout": 300.0},
):
    create = ConnixCreateAgentOperator(
        task_id="create",
        name="{{ params.agent_name }}, {{ run_id }}",
        description="Created by the example DAG connix_lifecycle",
        config={"model": "{{ params.model }}", "temperature": 0.3, "tools": ["web_search"]},
        metadata={"team": "data-platform"},
    )
    is_healthy = ConnixAgentStatusSensor(
        task_id="is_healthy", agent_id=create.output, stable_for=3.0, poke_interval=1.0
    )
    pause = ConnixPauseAgentOperator(task_id="pause", agent_id=is_healthy.output)
    resume = ConnixStartAgentOperator(task_id="resume", agent_id=pause.output)
    stop = ConnixStopAgentOperator(task_id="stop", agent_id=resume.output)
    start = ConnixStartAgentOperator(task_id="start", agent_id=stop.output)
    restart = ConnixRestartAgentOperator(task_id="restart", agent_id=start.output)
    update = ConnixUpdateAgentOperator(
        task_id="update", agent_id=restart.output, config={"temperature": 0.7, "max_tokens": 2048}
    )
    ConnixDeleteAgentOperator(task_id="delete", agent_id=update.output)
