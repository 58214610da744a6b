"""
Restart an agent every night, and check that it stays running.

The task finds the agent by its name, so a new agent of the same name is restarted, too. The restart ends when
the agent runs *again*: a response with `running` from before the restart does not end it. If the agent fails
right after its restart, the gate behind it fails during the night.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from connix_provider.operators.agent import ConnixRestartAgentOperator
from connix_provider.sensors.agent import ConnixAgentStatusSensor

with DAG(
    dag_id="connix_nightly_restart",
    description="Restart an agent every night at three",
    doc_md=__doc__,
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    # A missed night needs no restart later, and two restarts at once would disturb each other.
    catchup=False,
    max_active_runs=1,
    tags=["connix", "example"],
    params={"agent_name": Param("Support agent", type="string", description="The agent to restart.")},
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
):
    restart = ConnixRestartAgentOperator(
        task_id="restart", agent_name="{{ params.agent_name }}", poll_interval=5.0, timeout=900.0
    )
    stays_up = ConnixAgentStatusSensor(
        task_id="stays_up",
        agent_id=restart.output,
        failure_statuses=["error", "stopped"],
        stable_for=10.0,
        poke_interval=5.0,
        timeout=900.0,
    )
    restart >> stays_up
