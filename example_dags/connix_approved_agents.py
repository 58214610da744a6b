"""
Change agents only after a person has approved the plan.

The plan is a dry run: it says what would be created, updated and deleted, and changes nothing. The person
sees it in Airflow and approves it or not. Then exactly that plan is carried out. If the file or an agent
changed meanwhile, nothing is done. Airflow before 3.1 has no operator that asks a person; there, start the
DAG again with the parameter `approved` once you have read the plan in the log.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowSkipException, Param, task

from connix_provider.operators.apply import ConnixApplyAgentsOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowException):
    ApprovalOperator = None


@task
def approve_by_parameter(params: Any = None) -> None:
    """Stand for the approval where Airflow has no operator for it."""
    if not params["approved"]:
        raise AirflowSkipException("The plan is not approved.")


with DAG(
    dag_id="connix_approved_agents",
    description="Plan, human approval, apply",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["connix", "example"],
    params={"approved": Param(False, type="boolean", description="Read before Airflow 3.1 only.")},
):
    spec = str(Path(__file__).with_name("connix_agents.yaml"))
    declared: dict[str, Any] = {"spec": spec, "owner": "connix_approved_agents", "prune": True}
    plan = ConnixApplyAgentsOperator(task_id="plan", dry_run=True, **declared)
    if ApprovalOperator is None:
        approve = approve_by_parameter()
    else:
        diff = "{{ ti.xcom_pull(task_ids='plan')['diff'] }}"
        approve = ApprovalOperator(task_id="approve", subject="Change these agents?", body=diff)
    plan >> approve >> ConnixApplyAgentsOperator(task_id="apply", plan=plan.output, **declared)
