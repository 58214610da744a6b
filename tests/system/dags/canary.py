"""Everything that the provider does, with secrets that come from where users are told to keep them."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from connix_provider.client import ConnixError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

log = logging.getLogger(__name__)

#: Agents whose looks go wrong, each in its own way; the test plans the faults.
FAULTS = ["500", "401", "429", "reset", "redirect", "bad_json", "cut_body"]
CONFIG: dict[str, Any] = {
    "model": "gpt-4",
    "system_prompt": "{{ var.value.canary_prompt }}",
    "environment_variables": {
        "DATA_SOURCE": "{{ var.value.canary_data_source }}",
        "WAREHOUSE": "{{ conn.canary_warehouse.password }}",
    },
}
#: So long that Airflow stores it as text, cut off.
LONG = {**CONFIG, "environment_variables": {**CONFIG["environment_variables"], "LONG": "{{ 'long' * 2000 }}"}}


def tell(context: Any) -> None:
    """
    Say all that a user's callback may say of a failure, short of the configuration itself.

    Airflow masks that in the task's log, but not in the copy that goes to LocalExecutor's output.
    """
    failed = context["task"]
    log.error("%s %r %s %r", context["exception"], context["exception"], failed, context["ti"])


with DAG(
    "canary",
    # LocalExecutor sometimes loses a task that is resumed (apache/airflow #71580): a retry mends it.
    default_args={
        "retries": 2,
        "retry_delay": timedelta(seconds=1),
        "on_failure_callback": tell,
        "on_retry_callback": tell,
    },
):
    create = ConnixCreateAgentOperator(task_id="create", name="canary", config=CONFIG, poll_interval=1)
    agent: dict[str, Any] = {"agent_id": create.output, "poll_interval": 1}
    update = ConnixUpdateAgentOperator(task_id="update", config=CONFIG, deferrable=True, **agent)
    restart = ConnixRestartAgentOperator(task_id="restart", deferrable=True, **agent)
    pause = ConnixPauseAgentOperator(task_id="pause", **agent)
    start = ConnixStartAgentOperator(task_id="start", wait_for_completion=False, **agent)
    stop = ConnixStopAgentOperator(task_id="stop", **agent)
    delete = ConnixDeleteAgentOperator(task_id="delete", **agent)
    create >> update >> restart >> pause >> start >> stop >> delete

    mapped = ConnixCreateAgentOperator.partial(
        task_id="mapped", connix_conn_id="connix_oauth", poll_interval=1, deferrable=True
    ).expand_kwargs([{"name": "mapped", "config": CONFIG}, {"name": "long", "config": LONG}])
    ConnixDeleteAgentOperator.partial(task_id="unmapped", connix_conn_id="connix_oauth").expand(
        agent_id=mapped.output
    )
    # A whole configuration in one template: without render_template_as_native_obj it stays text, and fails.
    ConnixCreateAgentOperator(
        task_id="fails_text",
        name="text",
        config="{{ var.value.canary_config }}",
        connix_conn_id="connix_stored",
    )
    ConnixCreateAgentOperator(
        task_id="fails_template", name="fails", config={**CONFIG, "model": "{{ nope.nope.nope }}"}
    )
    ConnixUpdateAgentOperator(
        task_id="fails_in_prompt",
        agent_name="500",
        config={"system_prompt": "{{ var.value.canary_prompt }} {{ nope.nope.nope }}"},
    )
    for mode in ("poke", "reschedule", "deferred"):
        ConnixAgentStatusSensor.partial(
            task_id=f"sensor_{mode}",
            poke_interval=2,
            timeout=300,
            deferrable=mode == "deferred",
            mode="poke" if mode == "deferred" else mode,
        ).expand(agent_name=FAULTS)
    ConnixAgentStatusSensor(
        task_id="fails_renewal",
        agent_name="watched",
        target_statuses="stopped",
        poke_interval=2,
        deferrable=True,
        connix_conn_id="connix_twice",
    )
    # Both stay until the test kills them.
    ConnixAgentStatusSensor(
        task_id="killed_sensor", agent_name="watched", target_statuses="stopped", deferrable=True
    )
    ConnixStartAgentOperator(
        task_id="killed_start", agent_name="sleeping", deferrable=True, cancel_on_kill=True
    )

    @task(retries=0)
    def fails_with_hook(connix_conn_id: str) -> None:
        """Use a hook as users do, and say all that can be said of it."""
        hook = ConnixHook(connix_conn_id)
        with hook.get_conn() as client:
            log.info("%r %s %r %s", hook, hook, client, client)
            for seen in client.agents.iter(hook.project_id, status="paused"):
                whole = client.agents.get(hook.project_id, seen.id)
                log.info("%s %r", whole, whole.config)
            try:
                client.agents.get(hook.project_id, "nobody")
            except ConnixError:
                log.exception("That was to be expected.")
            client.agents.create(hook.project_id, {"name": ""})

    fails_with_hook.expand(
        connix_conn_id=["connix_default", "connix_environment", "connix_renewed", "connix_mistaken"]
    )
