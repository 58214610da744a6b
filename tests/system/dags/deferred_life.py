"""An agent's life in which every way of waiting occurs."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

with DAG(
    "deferred_life",
    # LocalExecutor sometimes loses a task that is resumed at once (apache/airflow #71580): a retry mends it.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
) as dag:
    create = ConnixCreateAgentOperator(
        task_id="create", name="Deferred agent", config={"model": "gpt-4"}, poll_interval=2, deferrable=True
    )
    agent = {"agent_id": create.output}
    stable = ConnixAgentStatusSensor(
        task_id="stable", stable_for=4, poke_interval=1, timeout=120, deferrable=True, **agent
    )
    poked = ConnixAgentStatusSensor(task_id="poked", poke_interval=1, timeout=120, **agent)
    restart = ConnixRestartAgentOperator(task_id="restart", poll_interval=2, deferrable=True, **agent)
    pause = ConnixPauseAgentOperator(task_id="pause", poll_interval=2, **agent)
    paused = ConnixAgentStatusSensor(
        task_id="paused", target_statuses="paused", mode="reschedule", poke_interval=5, timeout=120, **agent
    )
    delete = ConnixDeleteAgentOperator(task_id="delete", poll_interval=2, deferrable=True, **agent)
    create >> [stable, poked] >> restart >> pause >> paused >> delete
