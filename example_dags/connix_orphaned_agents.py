"""
Delete agents that ended runs left behind, every night.

A run that is killed may leave the agent that it created. The task deletes agents whose run has ended and that
are older than two days, and touches no others. It begins as a dry run: read the reports of the first nights,
then set the parameter `dry_run` to false here.

An agent that is to outlive its run must be left out by `agents`, the pattern of the names.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from connix_provider.operators.fleet import ConnixDeleteOrphanedAgentsOperator

with DAG(
    dag_id="connix_orphaned_agents",
    description="Delete the agents that ended runs left behind",
    doc_md=__doc__,
    schedule="0 4 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["connix", "example"],
    params={
        "agents": Param("Report writer *", type="string", description="The names of the agents."),
        "dry_run": Param(True, type="boolean", description="Report only, and delete nothing."),
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
):
    ConnixDeleteOrphanedAgentsOperator(
        task_id="clean_up",
        agents={"name": "{{ params.agents }}", "allow_empty": True},
        older_than=timedelta(days=2),
        dry_run="{{ params.dry_run }}",
    )
