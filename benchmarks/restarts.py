"""Measure how long it takes to restart many agents on one key."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import time
import types
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.process import Begin, Child, at_once
from benchmarks.service import Service, refusals

__all__ = ["Restarted", "measure"]

#: Tasks that run at a time, as many as a worker or two have slots.
_SLOTS = 32
#: What users give the HTTP provider's tasks, so that a refusal is not the end: Airflow tries them again.
_RETRIES = 3


@dataclasses.dataclass(frozen=True)
class Restarted:
    """
    Hold what came of it.

    :param agents: how many agents were to be restarted
    :param executed: how many restarts the service carried out
    :param refused: how many requests it refused for the rate limit
    :param seconds: from the first request to the last restart
    """

    agents: int
    executed: int
    refused: int
    seconds: float


def measure(provider: str, agents: int, *, window: float, begin: Begin = at_once) -> Restarted:
    """
    Restart agents by tasks of a provider, one for each.

    :param provider: ``connix``, or ``http`` for the HTTP provider's hook with Airflow's retries
    :param agents: how many
    :param window: seconds of the rate limits' windows
    :param begin: called when all is prepared
    :return: what came of it
    """
    with Service(window=window) as service:
        agent_ids = service.plant(agents, "running")
        facts = (service.connections(), service.project_id, agent_ids, window)
        with Child(_restart_in_a_process, provider, *facts) as child:
            child.receive()
            begin()
            child.send("go")
            seconds: float = child.receive()
        tally = service.tally()
    executed = sum(
        count for (call, status), count in tally.items() if call == "restart_agent" and status == 200
    )
    return Restarted(agents, executed, refusals(tally), seconds)


def _restart_in_a_process(
    pipe: Connection,
    provider: str,
    connections: dict[str, str],
    project_id: str,
    agent_ids: Sequence[str],
    window: float,
) -> None:
    os.environ.update(connections)
    restart = {"connix": _connix, "http": _http}[provider](project_id, agent_ids)
    pipe.send("ready")
    pipe.recv()
    left, last = list(agent_ids), 0.0
    began = time.monotonic()
    with ThreadPoolExecutor(_SLOTS) as slots:
        for retries_left in range(_RETRIES, -1, -1):
            done = list(slots.map(restart, left))
            last = max((moment - began for moment in done if moment is not None), default=last)
            left = [agent_id for agent_id, moment in zip(left, done, strict=True) if moment is None]
            if not left:
                break
            # A task that waits for its retry holds no slot.
            time.sleep(window if retries_left else 0.0)
    pipe.send(last)


def _connix(project_id: str, agent_ids: Sequence[str]) -> Callable[[str], float | None]:
    from airflow.sdk import DAG
    from airflow.sdk.bases.operator import ExecutorSafeguard

    from connix_provider.hooks.connix import ConnixHook
    from connix_provider.operators.agent import ConnixRestartAgentOperator

    # What the first request of all loads is not what is measured.
    ConnixHook().client.agents.get(project_id, agent_ids[0])

    def make(agent_id: str) -> ConnixRestartAgentOperator:
        with DAG(f"dag_{agent_id}", schedule=None, start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC)):
            return ConnixRestartAgentOperator(task_id="task", agent_id=agent_id, wait_for_completion=False)

    # Here, not in the threads: which DAG is the current one is kept once for the whole process.
    tasks = {agent_id: make(agent_id) for agent_id in agent_ids}

    class Store(dict[str, Any]):
        """Stand in for Airflow's ``task_state_store``, which needs a database."""

        set = dict.__setitem__
        delete = dict.pop

    def restart(agent_id: str) -> float | None:
        task = tasks[agent_id]
        ti = types.SimpleNamespace(
            dag_id=task.dag_id, run_id="run", task_id="task", map_index=-1, try_number=1, max_tries=0
        )
        ExecutorSafeguard.tracker.set(task)
        task.execute({"ti": ti, "task_state_store": Store()})  # type: ignore[typeddict-item]  # all it reads
        return time.monotonic()

    return restart


def _http(project_id: str, agent_ids: Sequence[str]) -> Callable[[str], float | None]:
    from airflow.providers.common.compat.sdk import AirflowException
    from airflow.providers.http.hooks.http import HttpHook

    HttpHook(method="GET").run(f"api/v1/projects/{project_id}/agents/{agent_ids[0]}")

    def restart(agent_id: str) -> float | None:
        try:
            HttpHook(method="POST").run(f"api/v1/projects/{project_id}/agents/{agent_id}/restart")
        except AirflowException:
            return None
        return time.monotonic()

    return restart
