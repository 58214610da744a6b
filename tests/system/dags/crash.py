"""Tasks whose worker, triggerer or service goes away while they are at it."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

# The retries are what brings back a task whose worker was killed. They are also for LocalExecutor, which
# sometimes loses a task that is resumed (apache/airflow #71580): what a retry sends shows in the journal.
AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=1)}
AGENT = "{{ dag_run.conf.agent }}"

with DAG("crash_create", default_args=AGAIN):
    ConnixCreateAgentOperator(task_id="task", name=AGENT, config={"model": "gpt-4"}, poll_interval=1)

with DAG("crash_restart", default_args=AGAIN):
    ConnixRestartAgentOperator(task_id="task", agent_name=AGENT, poll_interval=1)

with DAG("crash_triggerer", default_args={**AGAIN, "deferrable": True}):
    # Told to take back what they did when they are killed: a triggerer that dies must not count as that.
    for operator in (ConnixStartAgentOperator, ConnixStopAgentOperator, ConnixDeleteAgentOperator):
        name = operator.__name__.removeprefix("Connix").removesuffix("AgentOperator").lower()
        operator.partial(task_id=name, poll_interval=2, cancel_on_kill=True).expand(
            agent_name=[f"{name}-{n}" for n in range(1, 14)]
        )
    ConnixAgentStatusSensor.partial(task_id="sensor", target_statuses="paused", poke_interval=2).expand(
        agent_name=[f"sensor-{n}" for n in range(1, 12)]
    )

with DAG("crash_service", default_args=AGAIN):
    for deferrable in (False, True):
        where = "deferred" if deferrable else "worker"
        ConnixCreateAgentOperator(
            task_id=f"create_{where}", name=f"outage-{where}", poll_interval=2, deferrable=deferrable
        )
        ConnixStopAgentOperator(
            task_id=f"stop_{where}", agent_name=f"stop-{where}", poll_interval=2, deferrable=deferrable
        )
        ConnixAgentStatusSensor(
            task_id=f"sensor_{where}",
            agent_name="watched",
            target_statuses="paused",
            poke_interval=2,
            deferrable=deferrable,
        )
