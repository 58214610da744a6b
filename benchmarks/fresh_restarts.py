"""
Measure restarts on one key of which each runs in a process of its own, as with Celery or the LocalExecutor.

A new process knows nothing of the key's limits. A deferred task ends its process; its trigger runs in the one
triggerer, and the task is resumed in another new process.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import multiprocessing
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from benchmarks.process import Child
from benchmarks.restarts import ACTIONS, Restarted, Store, context_of, restart_task
from benchmarks.row import WINDOW, Begin, Line, Row, ratio
from benchmarks.service import Service, seed

__all__ = ["FreshRestartsRow"]


@dataclasses.dataclass(frozen=True)
class _Step:
    """A task to begin, or to resume with the trigger's event."""

    agent_id: str
    store: Store = dataclasses.field(default_factory=Store)
    method: str | None = None
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreshRestartsRow(Row):
    """
    Measure the refused part of restarts from short-lived processes.

    :param agents: how many agents are restarted
    :param processes: how many processes run at a time
    :param refused_at_most: aim for the refused part of the restart requests
    :param window: seconds of a rate limit's window
    """

    agents: int
    processes: int
    refused_at_most: float
    window: float = WINDOW
    providers: Sequence[str] = ("connix",)

    def quick(self) -> Self:
        """Return a row of a bit more than a window, of 6 s."""
        return dataclasses.replace(self, agents=ACTIONS + 10, window=6.0)

    def measure(self, provider: str, begin: Begin) -> Restarted:
        """Restart each agent by a deferrable task."""
        with Service(self.window) as service:
            agent_ids = service.run(seed, self.agents, "running")
            with (
                Child(_run_triggers, service.connections()) as triggerer,
                Child(_run_tasks, service.connections(), agent_ids, self.processes, triggerer.pipe) as worker,
            ):
                worker.receive()
                begin()
                worker.send("go")
                seconds: float = worker.receive()
            return Restarted.at(service, seconds)

    def line(self, measured: Mapping[str, Sequence[Restarted]]) -> Line:
        """Judge the refused part."""
        (ours,) = measured["connix"]
        windows = self.agents / ACTIONS
        floor = windows * self.window
        return Line(
            what=self.what,
            floor=f"{windows:g} windows ({floor:g} s)",
            aims=[
                (
                    f"refused at most {self.refused_at_most:.0%}",
                    ours.refused <= self.refused_at_most * ours.requests,
                ),
                ("0 failed", ours.executed == self.agents),
            ],
            ours=str(ours),
            to_floor=ratio(ours.seconds, floor),
            refused=f"{ours.refused:,} of {ours.requests:,}",
            failed=f"{self.agents - ours.executed:,}",
        )


def _run_tasks(
    pipe: Connection,
    connections: Mapping[str, str],
    agent_ids: Sequence[str],
    processes: int,
    triggerer: Connection,
) -> None:
    """Run each step in a forked process, and hand triggers to the triggerer."""
    os.environ.update(connections)
    # A worker has imported Airflow and the operators; clients are first opened in the forks.
    import connix_provider.operators.agent  # noqa: F401

    ready = collections.deque(_Step(agent_id) for agent_id in agent_ids)
    running: dict[Any, int] = {}
    deferred: dict[str, _Step] = {}
    pipe.send("ready")
    pipe.recv()
    began = last = time.monotonic()
    while ready or running or deferred:
        while ready and len(running) < processes:
            ours, theirs = multiprocessing.Pipe()
            step = ready.popleft()
            # Not a Process, because multiprocessing allows daemons no children.
            if not (pid := os.fork()):
                try:
                    _run_step(theirs, step)
                except Exception:
                    traceback.print_exc()
                finally:
                    os._exit(0)
            theirs.close()
            running[ours] = pid
        source: Any
        for source in wait([*running, triggerer]):
            if source is triggerer:
                agent_id, event = triggerer.recv()
                step = deferred.pop(agent_id)
                ready.append(dataclasses.replace(step, kwargs={**step.kwargs, "event": event}))
                continue
            with suppress(EOFError):  # The task failed; its process has printed why.
                resumed, trigger = source.recv()
                if resumed:
                    deferred[resumed.agent_id] = resumed
                    triggerer.send((resumed.agent_id, trigger))
            os.waitpid(running.pop(source), 0)
            last = time.monotonic()
    pipe.send(last - began)


def _run_step(pipe: Connection, step: _Step) -> None:
    """Send the step to resume and its trigger, where the task is deferred, or else ``None`` twice."""
    from airflow.providers.common.compat.sdk import TaskDeferred

    task = restart_task(step.agent_id, deferrable=True)
    context = context_of(task, step.store)
    try:
        if step.method:
            task.resume_execution(step.method, dict(step.kwargs), context)
        else:
            task.execute(context)
    except TaskDeferred as deferral:
        resumed = dataclasses.replace(step, method=deferral.method_name, kwargs=deferral.kwargs or {})
        pipe.send((resumed, deferral.trigger.serialize()))
    else:
        pipe.send((None, None))


def _run_triggers(pipe: Connection, connections: Mapping[str, str]) -> None:
    os.environ.update(connections)
    asyncio.run(_serve_triggers(pipe))


async def _serve_triggers(pipe: Connection) -> None:
    """Run each trigger that arrives, and send its event."""
    from airflow.providers.common.compat.module_loading import import_string

    async def run(agent_id: str, path: str, kwargs: dict[str, Any]) -> None:
        async for event in import_string(path)(**kwargs).run():
            pipe.send((agent_id, event.payload))
            return

    tasks = set()
    while True:
        try:
            agent_id, (path, kwargs) = await asyncio.to_thread(pipe.recv)
        except (EOFError, OSError):
            return
        tasks.add(asyncio.create_task(run(agent_id, path, kwargs)))
