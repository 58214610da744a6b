"""
Restart a team's agents every night, three at a time, and check their health.

At most three agents are away at the same time. If one does not run again, no further agent is restarted, and
the task names it; a clear goes on with those that are left. The check then waits until all are healthy.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, Param

from connix_provider.operators.fleet import ConnixFleetOperator
from connix_provider.sensors.health import ConnixAgentHealthSensor

with DAG(
    dag_id="connix_fleet_restart",
    description="Restart a team's agents three at a time every night",
    doc_md=__doc__,
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["connix", "example"],
    params={"agents": Param("*", type="string", description="The names of the agents.")},
):
    agents = {"name": "{{ params.agents }}"}
    restart = ConnixFleetOperator(
        task_id="restart", action="restart", agents=agents, max_unavailable=3, canary=1, deferrable=True
    )
    healthy = ConnixAgentHealthSensor(
        task_id="healthy",
        agents=agents,
        health={"statuses": "running", "max_error_logs": 0},
        poke_interval=30.0,
        timeout=1800.0,
        deferrable=True,
    )
    restart >> healthy
