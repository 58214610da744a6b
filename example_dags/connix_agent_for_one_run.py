"""
Create an agent for one run of a pipeline and delete it afterwards, whatever becomes of the run.

`create` is a setup task and `delete` its teardown. Airflow runs the teardown when the work failed, too, and a
run that is cleared gets a new agent. The run counts as failed if the work did: the teardown does not hide it.

Airflow does not run a teardown whose setup failed. So `create` cleans up after itself: with
`on_failure="delete"` it deletes the agent that it created where that agent does not come to run. An agent is
left behind where the task's process is killed in its last try, or where Connix refuses the delete;
`connix_orphaned_agents` deletes it later.

`ignore_if_missing` makes the delete a success if the agent was deleted before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param, task

from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators.agent import ConnixCreateAgentOperator, ConnixDeleteAgentOperator

with DAG(
    dag_id="connix_agent_for_one_run",
    description="An agent that lives as long as the run that needs it",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["connix", "example"],
    params={"model": Param("gpt-4", type="string", description="The model that the agent runs on.")},
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
):
    create = ConnixCreateAgentOperator(
        task_id="create_agent",
        name="Report writer for {{ run_id }}",
        config={"model": "{{ params.model }}", "temperature": 0.2},
        on_failure="delete",
        poll_interval=2.0,
        timeout=600.0,
    ).as_setup()

    @task
    def read_log(agent_id: str) -> int:
        """Stand for the work: read what the agent logged since it was created."""
        hook = ConnixHook()
        with hook.client:
            return sum(1 for _ in hook.iter_logs(agent_id))

    delete = ConnixDeleteAgentOperator(
        task_id="delete_agent",
        agent_id=create.output,
        ignore_if_missing=True,
        poll_interval=2.0,
        timeout=600.0,
    ).as_teardown(setups=create)

    read_log(create.output) >> delete
