"""
Measure for how long the waits of a triggerer keep its event loop from other work.

Triggers wait for agents of a service that answers every tenth request with a fault. What counts is the
processor time of each step of the loop, because its duration depends on other work of the machine.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NamedTuple, Self

from benchmarks.process import Child
from benchmarks.row import Begin, Line, Row
from benchmarks.service import Service

if TYPE_CHECKING:
    from connix_provider.emulator import Emulator

__all__ = ["HeartbeatRow"]


class _Steps(NamedTuple):
    """The number of steps, the processor seconds of the longest, and how many waits failed."""

    steps: int
    longest: float
    failed: int

    def __str__(self) -> str:
        return f"longest of {self.steps:,} steps {1000 * self.longest:.0f} ms"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeartbeatRow(Row):
    """
    Measure the steps of the event loop.

    :param waits: how many waits
    :param first: seconds until the first agent changes; the last one takes twice as long
    """

    waits: int
    first: float = 10.0
    providers: Sequence[str] = ("connix",)

    def quick(self) -> Self:
        """Return a row of 20 waits."""
        return dataclasses.replace(self, waits=20, first=2.0)

    def measure(self, provider: str, begin: Begin) -> _Steps:
        """Let triggers wait in one event loop."""
        with Service(window=None) as service:
            agent_ids = service.run(_seed_with_faults, self.waits, self.first)
            begin()
            with Child(_wait_in_process, service.connections(), service.project_id, agent_ids) as client:
                steps: _Steps = client.receive()
        return steps

    def line(self, measured: Mapping[str, Sequence[_Steps]]) -> Line:
        """Judge the longest step."""
        (steps,) = measured["connix"]
        return Line(
            what=self.what,
            aims=[
                ("no step of the loop over 50 ms of processor time", steps.longest <= 0.05),
                ("0 failed", not steps.failed),
            ],
            ours=str(steps),
            failed=f"{steps.failed:,}",
        )


def _seed_with_faults(emulator: Emulator, waits: int, first: float) -> Sequence[str]:
    from connix_provider.emulator import Fault

    faults = (
        Fault.status(503),
        Fault.html_502(),
        Fault.rate_limited(retry_after=1),
        Fault.reset_before(),
        Fault.reset_after(),
        Fault.cut_body(),
        Fault.bad_json(),
    )
    agent_ids = emulator.seed(waits, status="creating")
    for number, agent_id in enumerate(agent_ids):
        emulator.script(agent_id, [(first * (1 + number / waits), "running")])
    for number in range(1000):
        fault = faults[number % len(faults)]
        emulator.faults.add(fault, on=["get_agent", "list_agents"], after=9 + 10 * number)
    return agent_ids


def _wait_in_process(
    pipe: Connection, connections: Mapping[str, str], project_id: str, agent_ids: Sequence[str]
) -> None:
    os.environ.update(connections)
    import connix_provider.triggers.agent  # noqa: F401 - a triggerer has imported it before the first wait

    gc.freeze()
    pipe.send(asyncio.run(_wait_for_all(project_id, agent_ids)))


async def _wait_for_all(project_id: str, agent_ids: Sequence[str]) -> _Steps:
    from connix_provider.triggers.agent import ConnixAgentStatusTrigger

    steps: list[float] = []
    run = asyncio.Handle._run  # noqa: SLF001 - asyncio has no public place that every step passes

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        steps.append(time.thread_time() - began)

    async def wait(agent_id: str) -> bool:
        trigger = ConnixAgentStatusTrigger(
            project_id, agent_id, poll_interval=1.0, deadline=time.time() + 120
        )
        (event,) = [event async for event in trigger.run()]
        return bool(event.payload["outcome"] == "done")

    asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]  # noqa: SLF001
    done = await asyncio.gather(*map(wait, agent_ids))
    asyncio.Handle._run = run  # type: ignore[method-assign]  # noqa: SLF001
    return _Steps(len(steps), max(steps), done.count(False))
