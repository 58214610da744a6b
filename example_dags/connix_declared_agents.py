"""
Keep three agents as `connix_agents.yaml` beside this file declares them.

Every hour the agents are compared with the file. What is missing is created, what drifted is corrected, and
an agent that the file no longer names is deleted, if this DAG created it. If nothing differs, no change is
sent.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG

from connix_provider.operators.apply import ConnixApplyAgentsOperator

with DAG(
    dag_id="connix_declared_agents",
    description="Three agents, kept as in a YAML file",
    doc_md=__doc__,
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["connix", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
):
    ConnixApplyAgentsOperator(
        task_id="apply",
        spec=str(Path(__file__).with_name("connix_agents.yaml")),
        owner="connix_declared_agents",
        prune=True,
    )
