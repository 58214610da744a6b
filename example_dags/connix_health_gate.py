"""
Run a pipeline only while the agents that it needs are healthy.

The gate waits in the triggerer until every selected agent is `running`, was active within the last hour and
succeeds in 90 % of its tasks. The report of one agent is taken once more at the end, for an alert or a table:
`fail_on=None` makes every report a success.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, Param, task

from connix_provider.operators.health import ConnixCheckAgentHealthOperator
from connix_provider.sensors.health import ConnixAgentHealthSensor

with DAG(
    dag_id="connix_health_gate",
    description="A pipeline behind a gate that waits for healthy agents",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["connix", "example"],
    params={"agents": Param("Support *", type="string", description="The names of the agents.")},
):
    health = {"statuses": "running", "max_silence": 3600, "min_success_rate": 0.9}
    gate = ConnixAgentHealthSensor(
        task_id="agents_are_healthy", agents={"name": "{{ params.agents }}"}, health=health, deferrable=True
    )

    @task
    def use_the_agents() -> str:
        """Stand for the pipeline."""
        return "the agents were used"

    report = ConnixCheckAgentHealthOperator(
        task_id="report", agent_name="Support agent", health=health, fail_on=None
    )
    gate >> use_the_agents() >> report
