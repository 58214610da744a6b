"""Tasks that undo what they did when they are killed, and that are killed, cleared, moved and run again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
)

# LocalExecutor sometimes loses a task that is resumed (apache/airflow #71580): a retry mends it.
AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=1), "connix_conn_id": "connix_stored"}
CONFIG: dict[str, Any] = {
    "model": "gpt-4",
    "system_prompt": "{{ var.value.kill_prompt }}",
    "environment_variables": {"DATA_SOURCE": "{{ var.value.kill_data_source }}"},
}

with DAG(
    "kill_stall", default_args={**AGAIN, "deferrable": True, "cancel_on_kill": True, "poll_interval": 1}
):
    ConnixCreateAgentOperator.partial(task_id="create", config=CONFIG).expand(
        name=[f"stall-{n}" for n in range(3)]
    )
    ConnixStartAgentOperator.partial(task_id="start").expand(agent_name=[f"stopped-{n}" for n in (1, 2, 3)])

with DAG("kill_marked", default_args={**AGAIN, "cancel_on_kill": True, "poll_interval": 10}):
    for how in ("cleared", "failed", "succeeded"):
        for deferrable in (False, True):
            name = f"{how}_{'deferred' if deferrable else 'worker'}"
            ConnixCreateAgentOperator(task_id=name, name=name, config=CONFIG, deferrable=deferrable)

with DAG("kill_again", default_args={**AGAIN, "poll_interval": 1}):
    ConnixRestartAgentOperator(task_id="restart", agent_name="again")
