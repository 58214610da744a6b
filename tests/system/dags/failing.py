"""Tasks that fail, each for one reason; the run's configuration names their agents."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from connix_provider.operators.agent import ConnixRestartAgentOperator, ConnixStartAgentOperator
from connix_provider.sensors.agent import ConnixAgentStatusSensor

#: Airflow's own limit of a task, far below the task's ``timeout``.
LIMIT = timedelta(seconds=40)


def agent(name: str) -> dict[str, Any]:
    return {"agent_id": "{{ dag_run.conf['%s'] }}" % name}  # noqa: UP031 - braces of two languages


with DAG("failing", max_active_tasks=8) as dag:
    deferred = {"deferrable": True, "execution_timeout": LIMIT}
    ConnixStartAgentOperator(task_id="wrong_key", connix_conn_id="wrong_key", **agent("paused"))
    ConnixStartAgentOperator(task_id="wrong_host", connix_conn_id="wrong_host", **agent("paused"))
    ConnixStartAgentOperator(task_id="undefined", connix_conn_id="undefined", **agent("paused"))
    ConnixStartAgentOperator(task_id="forbidden", **agent("forbidden"))
    ConnixStartAgentOperator(task_id="limited", timeout=20, **agent("limited"))
    ConnixStartAgentOperator(task_id="slow_start", poll_interval=5, timeout=25, **agent("slow"))
    ConnixStartAgentOperator(task_id="slow_start_deferred", poll_interval=5, **deferred, **agent("slow"))
    ConnixRestartAgentOperator(task_id="error_deferred", poll_interval=5, deferrable=True, **agent("broken"))
    ConnixAgentStatusSensor(task_id="poke", poke_interval=5, timeout=20, **agent("paused"))
    ConnixAgentStatusSensor(
        task_id="reschedule", mode="reschedule", poke_interval=10, timeout=25, **agent("paused")
    )
    ConnixAgentStatusSensor(task_id="sensor_deferred", poke_interval=5, **deferred, **agent("paused"))
    ConnixAgentStatusSensor(task_id="gone_deferred", poke_interval=5, deferrable=True, **agent("leaving"))
