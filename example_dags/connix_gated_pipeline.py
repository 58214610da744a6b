"""
Run a pipeline only while the agent that it needs is well.

The gate is deferrable: it may wait for hours in the triggerer and holds no worker slot meanwhile. It opens
once the agent was `running` at every look for ten seconds, so an agent that comes up and falls over again
does not let the pipeline through. A gate that runs out of time skips the pipeline instead of failing it
(`soft_fail`); an agent in `error` fails it at once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param, task

from connix_provider.hooks.connix import ConnixHook
from connix_provider.sensors.agent import ConnixAgentStatusSensor

with DAG(
    dag_id="connix_gated_pipeline",
    description="A pipeline behind a gate that waits for a healthy agent",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["connix", "example"],
    params={"agent_name": Param("Support agent", type="string", description="The agent to wait for.")},
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
):
    gate = ConnixAgentStatusSensor(
        task_id="agent_is_healthy",
        agent_name="{{ params.agent_name }}",
        stable_for=10.0,
        poke_interval=5.0,
        timeout=6 * 3600.0,
        soft_fail=True,
        deferrable=True,
    )

    @task
    def read_statistics(agent_id: str) -> dict[str, float]:
        """Ask the agent's counters, through the same connection as the gate."""
        hook = ConnixHook()
        with hook.get_conn() as client:
            stats = client.agents.get(hook.project_id, agent_id).stats
        return {"tasks": stats.total_tasks or 0, "success_rate": stats.success_rate or 0.0} if stats else {}

    @task
    def report(statistics: dict[str, float]) -> str:
        """Put the counters into a sentence."""
        return f"{statistics.get('tasks', 0)} tasks, {statistics.get('success_rate', 0.0):.1%} of them good"

    report(read_statistics(gate.output))
