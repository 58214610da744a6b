"""Measure how long the restarts of many agents on one key take, with all tasks in one process."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import time
import types
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Self

from benchmarks.process import Child
from benchmarks.row import WINDOW, Begin, Line, Row, ratio
from benchmarks.service import Service, refused, seed, tally

if TYPE_CHECKING:
    from connix_provider.operators.agent import ConnixRestartAgentOperator

__all__ = ["ACTIONS", "Restarted", "RestartsRow", "Store", "context_of", "restart_task"]

#: Actions that a key may send in a window.
ACTIONS = 50
#: Tasks that run at a time, as many as one or two workers have slots.
_SLOTS = 32
#: Retries of a task with the HTTP provider, a window apart.
_RETRIES = 3


@dataclasses.dataclass(frozen=True)
class Restarted:
    """Executed restarts, requests for a restart, refused ones, and seconds until the last restart."""

    executed: int
    requests: int
    refused: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s for {self.executed:,}"

    @classmethod
    def at(cls, service: Service, seconds: float) -> Self:
        """Count the restarts of a service."""
        requests = service.run(tally)
        actions = {status: count for (call, status), count in requests.items() if call == "restart_agent"}
        return cls(actions.get(200, 0), sum(actions.values()), refused(requests), seconds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestartsRow(Row):
    """
    Compare restarts from one process.

    :param agents: how many agents are restarted
    :param window: seconds of a rate limit's window
    """

    agents: int
    window: float = WINDOW
    group: str = "waits"

    def quick(self) -> Self:
        """Return a row of two windows, of 3 s each."""
        return dataclasses.replace(self, agents=2 * ACTIONS, window=3.0)

    def measure(self, provider: str, begin: Begin) -> Restarted:
        """Restart each agent by a task, in a process of its own."""
        with Service(self.window) as service:
            agent_ids = service.run(seed, self.agents, "running")
            facts = (service.connections(), service.project_id, agent_ids, self.window)
            with Child(_restart_in_process, provider, *facts) as child:
                child.receive()
                begin()
                child.send("go")
                seconds: float = child.receive()
            return Restarted.at(service, seconds)

    def line(self, measured: Mapping[str, Sequence[Restarted]]) -> Line:
        """Judge the time, and that no restart was refused."""
        (ours,), (theirs,) = measured["connix"], measured["http"]
        windows = self.agents / ACTIONS
        floor = windows * self.window
        return Line(
            what=self.what,
            floor=f"{windows:g} windows ({floor:g} s)",
            aims=[
                (f"at most 1.1 x the floor ({1.1 * floor:.4g} s)", ours.seconds <= 1.1 * floor),
                ("0 refused", not ours.refused),
                ("0 failed", ours.executed == self.agents),
            ],
            ours=str(ours),
            theirs=str(theirs),
            to_floor=ratio(ours.seconds, floor),
            # Seconds for each executed restart, because the HTTP provider gives up most of them.
            to_theirs=ratio(ours.seconds * theirs.executed, theirs.seconds * ours.executed),
            refused=f"{ours.refused:,} of {ours.requests:,} / {theirs.refused:,} of {theirs.requests:,}",
            failed=f"{self.agents - ours.executed:,} / {self.agents - theirs.executed:,}",
        )


class Store(dict[str, Any]):
    """Airflow's ``task_state_store`` without its database."""

    set = dict.__setitem__
    delete = dict.pop


def restart_task(agent_id: str, *, deferrable: bool = False) -> ConnixRestartAgentOperator:
    """Return a task in a DAG of its own that restarts an agent and does not wait for it."""
    from airflow.sdk import DAG

    from connix_provider.operators.agent import ConnixRestartAgentOperator

    with DAG(f"dag_{agent_id}", schedule=None, start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC)):
        return ConnixRestartAgentOperator(
            task_id="task", agent_id=agent_id, wait_for_completion=False, deferrable=deferrable
        )


def context_of(task: ConnixRestartAgentOperator, store: Store) -> Any:
    """Return as much of Airflow's context as the operator reads, and let the task be executed."""
    from airflow.sdk.bases.operator import ExecutorSafeguard

    ExecutorSafeguard.tracker.set(task)
    ti = types.SimpleNamespace(
        dag_id=task.dag_id, run_id="run", task_id="task", map_index=-1, try_number=1, max_tries=0
    )
    return {"ti": ti, "task_state_store": store}


def _restart_in_process(
    pipe: Connection,
    provider: str,
    connections: Mapping[str, str],
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
            last = max((at - began for at in done if at is not None), default=last)
            left = [agent_id for agent_id, at in zip(left, done, strict=True) if at is None]
            if not left:
                break
            # A task that waits for its retry occupies no slot.
            time.sleep(window if retries_left else 0.0)
    pipe.send(last)


def _connix(project_id: str, agent_ids: Sequence[str]) -> Callable[[str], float | None]:
    from connix_provider.hooks.connix import ConnixHook

    # The first request includes all imports.
    ConnixHook().client.agents.get(project_id, agent_ids[0])
    # Not in the threads, because Airflow keeps the current DAG once for the whole process.
    tasks = {agent_id: restart_task(agent_id) for agent_id in agent_ids}

    def restart(agent_id: str) -> float | None:
        task = tasks[agent_id]
        task.execute(context_of(task, Store()))
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
