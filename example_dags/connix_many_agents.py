"""
Do the same to many agents: pause them all, each in a task of its own.

`expand` makes a task for each name, so one agent that fails stops no other, is tried again alone, and is
found by its name in the grid. `max_active_tis_per_dagrun` keeps worker slots free for others. With an empty
list of names the DAG takes every running agent of the project.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators.agent import ConnixPauseAgentOperator, ConnixStartAgentOperator

with DAG(
    dag_id="connix_many_agents",
    description="Pause and start many agents, each in a task of its own",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["connix", "example"],
    params={
        "agent_names": Param(
            ["Translator", "Researcher", "Proofreader"],
            type="array",
            items={"type": "string"},
            description="The agents; none: every running agent of the project.",
        )
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
):

    @task
    def choose_agents(params: dict[str, Any] | None = None) -> list[str]:
        """Return the names that were asked for, or those of all running agents."""
        names: list[str] = (params or {}).get("agent_names") or []
        if names:
            return names
        hook = ConnixHook()
        with hook.get_conn() as client:
            return [agent.name for agent in client.agents.iter(hook.project_id, status="running")]

    names = choose_agents()
    pause = ConnixPauseAgentOperator.partial(
        task_id="pause",
        poll_interval=2.0,
        max_active_tis_per_dagrun=4,
        map_index_template="{{ task.agent_name }}",
    ).expand(agent_name=names)
    start = ConnixStartAgentOperator.partial(
        task_id="start",
        poll_interval=2.0,
        max_active_tis_per_dagrun=4,
        map_index_template="{{ task.agent_name }}",
    ).expand(agent_name=names)
    pause >> start
