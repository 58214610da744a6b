"""Fleets and health gates whose worker or triggerer is killed."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from connix_provider.operators.fleet import ConnixFleetOperator
from connix_provider.sensors.health import ConnixAgentHealthSensor

# The retries bring back a task whose worker was killed, and one that LocalExecutor loses when it is resumed
# (apache/airflow #71580).
AGAIN = {"retries": 6, "retry_delay": timedelta(seconds=1)}
AGENTS = {"name": "{{ dag_run.conf.fleet }}-*"}


def hold(context: Any, result: Any) -> None:
    """Keep the first process that has done a task's work running, where its run names a file to note that."""
    held = context["dag_run"].conf.get("held")
    if held and not Path(held).exists():
        Path(held).touch()
        time.sleep(600.0)


for mode, times in itertools.product(("worker", "deferred"), ("", "once_")):
    with DAG(f"fleet_{times}{mode}", default_args={} if times else AGAIN):
        ConnixFleetOperator(
            task_id="task",
            action="restart",
            agents=AGENTS,
            max_unavailable=3,
            canary=2,
            poll_interval=1,
            deferrable=mode == "deferred",
            post_execute=hold,
        )

for mode in ("reschedule", "deferred"):
    with DAG(f"fleet_gate_{mode}", default_args=AGAIN):
        ConnixAgentHealthSensor(
            task_id="task",
            health={"statuses": ["running"], "min_success_rate": 0.9, "min_completed_tasks": 1},
            agents=AGENTS,
            at_least="80%",
            poke_interval=2,
            mode="reschedule",
            deferrable=mode == "deferred",
        )
